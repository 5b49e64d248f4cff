/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines in, checked JSON out; any thread. */
#include "lib/ctl.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/size.h"

/* One JSON object, all of the line. NULL and a reason if it is anything else. */
static struct json_object *parse_object(const char *line, size_t len,
					const char **ret_why)
{
	struct json_tokener *tok;
	struct json_object *o;

	*ret_why = "not JSON";
	/* json-c takes a NUL for the end, and an int for a length. */
	if (len > CTL_REPLY_MAX || memchr(line, '\0', len))
		return NULL;
	tok = json_tokener_new_ex(CTL_DEPTH_MAX);
	if (!tok)
		return NULL;
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(tok, line, (int)len);
	if (json_tokener_get_error(tok) == json_tokener_continue && !o)
		*ret_why = "an unfinished line";
	else if (json_tokener_get_error(tok) != json_tokener_success)
		*ret_why = json_tokener_error_desc(json_tokener_get_error(tok));
	else if (json_object_is_type(o, json_type_object))
		*ret_why = NULL;
	else
		*ret_why = "not a JSON object";
	json_tokener_free(tok);
	if (*ret_why) {
		json_object_put(o);
		o = NULL;
	}
	return o;
}

int ctl_parse_request(const char *line, size_t len, struct json_object **ret_req,
		      const char **ret_cmd, const char **ret_why)
{
	struct json_object *o;

	if (len > CTL_REQUEST_MAX) {
		*ret_why = "longer than 64 KiB";
		return -EPROTO;
	}
	o = parse_object(line, len, ret_why);
	if (!o)
		return -EPROTO;
	if (ctl_arg_string(o, "cmd", ret_cmd) < 0) {
		json_object_put(o);
		*ret_why = "no \"cmd\" in it";
		return -EPROTO;
	}
	*ret_req = o;
	return 0;
}

int ctl_parse_reply(const char *line, size_t len, struct json_object **ret_result,
		    char *error, size_t error_len)
{
	struct json_object *result = NULL;
	const char *text;
	uint64_t number;
	bool ok;
	struct json_object *o = parse_object(line, len, &text);
	int r = -EPROTO;

	if (!o || ctl_arg_bool(o, "ok", &ok) < 0) {
		snprintf(error, error_len, "the answer makes no sense");
	} else if (ok) {
		json_object_object_get_ex(o, "result", &result);
		*ret_result = json_object_get(result);
		r = 0;
	} else {
		if (!ctl_arg_u64(o, "errno", &number) && number && number < 4096)
			r = -(int)number;
		if (ctl_arg_string(o, "error", &text) < 0)
			text = "refused without a reason";
		snprintf(error, error_len, "%s", text);
	}
	json_object_put(o);
	return r;
}

/* The member `key`, or NULL. */
static struct json_object *member(struct json_object *req, const char *key)
{
	struct json_object *o = NULL;

	json_object_object_get_ex(req, key, &o);
	return o;
}

int ctl_arg_string(struct json_object *req, const char *key, const char **ret)
{
	struct json_object *o = member(req, key);

	if (!o)
		return -ENOENT;
	if (!json_object_is_type(o, json_type_string) ||
	    strlen(json_object_get_string(o)) != (size_t)json_object_get_string_len(o))
		return -EINVAL;
	*ret = json_object_get_string(o);
	return 0;
}

int ctl_arg_u64(struct json_object *req, const char *key, uint64_t *ret)
{
	struct json_object *o = member(req, key);
	int64_t n;

	if (!o)
		return -ENOENT;
	if (!json_object_is_type(o, json_type_int))
		return -EINVAL;
	n = json_object_get_int64(o);
	if (n < 0 || n == INT64_MAX) /* json-c clamps what is larger */
		return -EINVAL;
	*ret = (uint64_t)n;
	return 0;
}

int ctl_arg_size(struct json_object *req, const char *key, uint64_t *ret)
{
	const char *text;
	int r = ctl_arg_u64(req, key, ret);

	if (r != -EINVAL || ctl_arg_string(req, key, &text) < 0)
		return r;
	return size_parse(text, ret) < 0 ? -EINVAL : 0;
}

int ctl_arg_bool(struct json_object *req, const char *key, bool *ret)
{
	struct json_object *o = member(req, key);

	if (!o)
		return -ENOENT;
	if (!json_object_is_type(o, json_type_boolean))
		return -EINVAL;
	*ret = json_object_get_boolean(o);
	return 0;
}

void ctl_default_path(const char *program, char *buf, size_t len)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0)
		snprintf(buf, len, "/run/%s/control", program);
	else if (xdg && *xdg == '/')
		snprintf(buf, len, "%s/%s/control", xdg, program);
	else
		snprintf(buf, len, "/tmp/%s-%u/control", program, geteuid());
}
