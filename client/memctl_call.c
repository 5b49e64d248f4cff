/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests of the verbs in, results or complaints out. */
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "client/memctl_verbs.h"
#include "lib/ctl_client.h"

#define TIMEOUT_MS 30000

struct json_object *memctl_request(const char *cmd)
{
	struct json_object *req = json_object_new_object();

	json_object_object_add(req, "cmd", json_object_new_string(cmd));
	return req;
}

int memctl_call(struct memctl *m, struct json_object *req,
		struct json_object **ret_result)
{
	char error[CTL_ERROR_MAX];
	int r = 0;

	if (!m->client && m->host)
		r = memctl_connect(m, error);
	else if (!m->client)
		r = ctl_client_open(
			m->socket, "memserver",
			"start one (systemctl start memserver, or memserver "
			"--export 4G), or say where it is with -s PATH",
			TIMEOUT_MS, &m->client, error);
	if (!r)
		r = ctl_client_call(m->client, req, ret_result, error);
	json_object_put(req);
	if (r < 0)
		fprintf(stderr, "memctl: %s\n", error);
	return r < 0 ? MEMCTL_FAILED : MEMCTL_DONE;
}

void memctl_print_json(struct json_object *result)
{
	puts(json_object_to_json_string_ext(
		result, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

int memctl_show_result(struct memctl *m, struct json_object *req,
		       void (*print)(struct json_object *result))
{
	struct json_object *result = NULL;
	int r = memctl_call(m, req, &result);

	if (!r && m->json)
		memctl_print_json(result);
	else if (!r && print)
		print(result);
	json_object_put(result);
	return r;
}

int memctl_usage(const struct memctl *m, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "memctl %s: ", m->verb);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return MEMCTL_USAGE;
}
