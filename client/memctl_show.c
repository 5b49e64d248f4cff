/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The other verbs that look: list, who, show config, version. */
#include <stdio.h>
#include <string.h>

#include "client/memctl_json.h"
#include "client/memctl_table.h"
#include "client/memctl_verbs.h"

static void print_list(struct json_object *list)
{
	struct memctl_table *t =
		memctl_table_new("NAME >SIZE >QUOTA >STORED >USERS GENERATION");
	struct json_object *o;

	for (size_t i = 0; (o = element(list, i)); i++) {
		memctl_table_cell(t, "%s", text(o, "name"));
		memctl_table_bytes(t, number(o, "size"));
		if (member(o, "quota"))
			memctl_table_bytes(t, number(o, "quota"));
		else
			memctl_table_cell(t, "-");
		memctl_table_bytes(t, number(o, "resident"));
		memctl_table_count(t, number(o, "users"));
		memctl_table_cell(t, "%s", text(o, "generation"));
	}
	memctl_table_end(t, stdout);
}

int memctl_list(struct memctl *m)
{
	return memctl_show_result(m, memctl_request("list"), print_list);
}

/* ---- who ---- */

static uint64_t all_ops(struct json_object *io_of_all)
{
	uint64_t n = 0;

	json_object_object_foreach(io_of_all, op, io)
	{
		(void)op;
		n += number(io, "ops");
	}
	return n;
}

static void print_who(struct json_object *list)
{
	struct memctl_table *t = memctl_table_new(
		">ID FRONT EXPORT PEER >SINCE >OPS >READ >WRITTEN >ERRORS TLS CLIENT");
	struct json_object *o;

	for (size_t i = 0; (o = element(list, i)); i++) {
		const char *export = text(o, "export"), *client = text(o, "client"),
			   *tls = text(o, "tls");
		struct json_object *io = member(o, "io");

		memctl_table_count(t, number(o, "id"));
		memctl_table_cell(t, "%s", text(o, "front"));
		memctl_table_cell(t, "%s", *export ? export : "-");
		memctl_table_cell(t, "%s", text(o, "peer"));
		memctl_table_seconds(t, number(o, "seconds"));
		memctl_table_count(t, io ? all_ops(io) : 0);
		memctl_table_bytes(t, number(member(io, "read"), "bytes"));
		memctl_table_bytes(t, number(member(io, "write"), "bytes"));
		memctl_table_count(t, number(o, "errors"));
		memctl_table_cell(t, "%.*s", *tls ? (int)strcspn(tls, " ") : 1,
				  *tls ? tls : "-");
		memctl_table_cell(t, "%s", *client ? client : "-");
	}
	memctl_table_end(t, stdout);
}

/* The daemon tells a page at a time, by id: gathers them in `all`. */
static int gather(struct memctl *m, struct json_object *all)
{
	uint64_t after = 0;
	bool more = true;
	int r = MEMCTL_DONE;

	while (more && !r) {
		struct json_object *req = memctl_request("who"), *page = NULL, *o;

		json_object_object_add(req, "after", json_object_new_uint64(after));
		r = memctl_call(m, req, &page);
		more = false;
		for (size_t i = 0; (o = element(page, i)); i++) {
			/* Ids only go up; anything else would never end. */
			more = number(o, "id") > after;
			after = number(o, "id");
			json_object_array_add(all, json_object_get(o));
		}
		json_object_put(page);
	}
	return r;
}

int memctl_who(struct memctl *m)
{
	struct json_object *all = json_object_new_array();
	int r = gather(m, all);

	if (!r && m->json)
		memctl_print_json(all);
	else if (!r)
		print_who(all);
	json_object_put(all);
	return r;
}

/* ---- show config, version ---- */

/* As a configuration file has it. */
static void print_config(struct json_object *list)
{
	struct json_object *o;

	for (size_t i = 0; (o = element(list, i)); i++)
		printf("%s = %s\n", text(o, "key"), text(o, "value"));
}

int memctl_show(struct memctl *m)
{
	if (strcmp(m->args[0], "config") != 0)
		return memctl_usage(m, "there is no '%s' to show; say show config",
				    m->args[0]);
	return memctl_show_result(m, memctl_request("show-config"), print_config);
}

static void print_version(struct json_object *o)
{
	char up[MEMCTL_FORMAT_MAX];

	printf("memserver %s, process %llu, up %s\n", text(o, "version"),
	       (unsigned long long)number(o, "pid"),
	       memctl_format_seconds(number(o, "uptime_s"), up, sizeof(up)));
}

int memctl_version(struct memctl *m)
{
	return memctl_show_result(m, memctl_request("version"), print_version);
}
