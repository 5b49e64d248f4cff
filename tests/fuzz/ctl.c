/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as a control request and as a reply: an object or a reason, no crash. */
#include <json-c/json.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/ctl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const char *line = (const char *)data;
	struct json_object *o = NULL;
	const char *cmd, *text, *why;
	char error[32];
	uint64_t n;
	bool b;

	if (!ctl_parse_request(line, len, &o, &cmd, &why)) {
		ctl_arg_string(o, "name", &text);
		ctl_arg_size(o, "size", &n);
		ctl_arg_u64(o, "id", &n);
		ctl_arg_bool(o, "force", &b);
		json_object_put(o);
	}
	o = NULL;
	ctl_parse_reply(line, len, &o, error, sizeof(error));
	json_object_put(o);
	return 0;
}
