/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The verbs that change a memserver: arguments in, one request out. */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/memctl_table.h"
#include "client/memctl_verbs.h"
#include "lib/size.h"

static void put_text(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, json_object_new_string(text));
}

static int parse_size(const struct memctl *m, const char *what, const char *text,
		      uint64_t *ret)
{
	if (!size_parse(text, ret))
		return MEMCTL_DONE;
	return memctl_usage(m, "%s '%s' is not a size; say it as 512M or 4G", what,
			    text);
}

int memctl_create(struct memctl *m)
{
	struct json_object *req;
	uint64_t size, quota = 0;
	int r = parse_size(m, "SIZE", m->args[1], &size);

	if (!r && m->quota)
		r = parse_size(m, "--quota", m->quota, &quota);
	if (r)
		return r;
	req = memctl_request(m->verb);
	put_text(req, "name", m->args[0]);
	json_object_object_add(req, "size", json_object_new_uint64(size));
	if (m->quota)
		json_object_object_add(req, "quota", json_object_new_uint64(quota));
	if (m->tls)
		json_object_object_add(req, "tls", json_object_new_boolean(true));
	return memctl_show_result(m, req, NULL);
}

/* "none", or a number of which `parse` is the judge. */
static bool is_none(const char *text)
{
	return !strcmp(text, "none");
}

static int put_limits(struct memctl *m, struct json_object *req)
{
	uint64_t bytes = 0, quota = 0;
	long long ops = 0;
	char *end = "";

	if (m->bandwidth && !is_none(m->bandwidth) &&
	    parse_size(m, "--bandwidth", m->bandwidth, &bytes))
		return MEMCTL_USAGE;
	if (m->quota && !is_none(m->quota) &&
	    parse_size(m, "--quota", m->quota, &quota))
		return MEMCTL_USAGE;
	if (m->quota)
		json_object_object_add(req, "quota", json_object_new_uint64(quota));
	errno = 0;
	if (m->iops && !is_none(m->iops))
		ops = strtoll(m->iops, &end, 10);
	if (errno || *end || ops < 0)
		return memctl_usage(m, "--iops '%s' is neither a number nor none",
				    m->iops);
	if (m->bandwidth)
		json_object_object_add(req, "bandwidth", json_object_new_uint64(bytes));
	if (m->iops)
		json_object_object_add(req, "iops", json_object_new_int64(ops));
	return MEMCTL_DONE;
}

int memctl_limit(struct memctl *m)
{
	struct json_object *req;

	if (m->clients == (m->nr_args == 1) || (!m->bandwidth && !m->iops && !m->quota))
		return memctl_usage(m,
				    "say whose limits, NAME or --clients, and which: "
				    "--bandwidth SIZE, --iops N, with --clients "
				    "--quota SIZE, or none");
	req = memctl_request("limit");
	if (m->clients)
		json_object_object_add(req, "clients", json_object_new_boolean(true));
	else
		put_text(req, "name", m->args[0]);
	if (put_limits(m, req)) {
		json_object_put(req);
		return MEMCTL_USAGE;
	}
	return memctl_show_result(m, req, NULL);
}

int memctl_drop(struct memctl *m)
{
	struct json_object *req = memctl_request("drop");

	put_text(req, "name", m->args[0]);
	json_object_object_add(req, "force", json_object_new_boolean(m->force));
	return memctl_show_result(m, req, NULL);
}

int memctl_kick(struct memctl *m)
{
	struct json_object *req;
	char *end;
	long long id;

	errno = 0;
	id = strtoll(m->args[0], &end, 10);
	if (errno || *end || id <= 0)
		return memctl_usage(m, "'%s' is not a connection's ID; see memctl who",
				    m->args[0]);
	req = memctl_request("kick");
	json_object_object_add(req, "id", json_object_new_int64(id));
	return memctl_show_result(m, req, NULL);
}

int memctl_reload(struct memctl *m)
{
	return memctl_show_result(m, memctl_request("reload"), NULL);
}

static void print_level(struct json_object *level)
{
	puts(json_object_get_string(level));
}

int memctl_log_level(struct memctl *m)
{
	struct json_object *req = memctl_request("log-level");

	if (m->nr_args)
		put_text(req, "level", m->args[0]);
	return memctl_show_result(m, req, m->nr_args ? NULL : print_level);
}

static void print_faults(struct json_object *array)
{
	static const char *const keys[] = { "name", "error", "passes", "fired" };
	struct memctl_table *t = memctl_table_new("POINT ERROR >PASSES >FIRED");

	for (size_t i = 0; i < json_object_array_length(array); i++)
		for (size_t k = 0; k < 4; k++) {
			struct json_object *o = json_object_array_get_idx(array, i), *v;

			json_object_object_get_ex(o, keys[k], &v);
			memctl_table_cell(t, "%s", v ? json_object_get_string(v) : "-");
		}
	memctl_table_end(t, stdout);
}

int memctl_fault(struct memctl *m)
{
	struct json_object *req = memctl_request("fault");

	if (m->nr_args)
		put_text(req, "set", m->args[0]);
	return memctl_show_result(m, req, print_faults);
}
