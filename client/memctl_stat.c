/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `memctl stat`: the daemon's counters in, tables out. */
#include <stdio.h>

#include "client/memctl_json.h"
#include "client/memctl_table.h"
#include "client/memctl_verbs.h"
#include "lib/size.h"

#define IO_COLUMNS ">READS >BYTES >P50 >P99 >WRITES >BYTES >P50 >P99 >TRIMS >ERRORS"

static const char *bytes(struct json_object *o, const char *key, char *buf)
{
	return member(o, key) ? size_format(number(o, key), buf, SIZE_FORMAT_MAX)
			      : "none";
}

static void print_doors(struct json_object *doors)
{
	struct json_object *o;

	for (size_t i = 0; (o = element(doors, i)); i++) {
		printf("door %s on %s", text(o, "front"), text(o, "address"));
		if (number(o, "refused"))
			printf(", %llu refused",
			       (unsigned long long)number(o, "refused"));
		putchar('\n');
	}
}

/* Nothing where there are none. */
static void print_limits(struct json_object *o, const char *what)
{
	char a[SIZE_FORMAT_MAX];

	if (!member(o, "bandwidth") && !member(o, "iops"))
		return;
	printf("%s%s/s, ", what, bytes(o, "bandwidth", a));
	if (member(o, "iops"))
		printf("%llu requests/s\n", (unsigned long long)number(o, "iops"));
	else
		puts("any number of requests");
}

/* Who holds how much; nothing without a quota, `stat NAME` says whose an export is. */
static void print_holders(struct json_object *stat)
{
	struct json_object *held = member(stat, "client_memory"), *o;
	struct json_object *limits = member(stat, "client_limits");
	char a[SIZE_FORMAT_MAX];

	if (!member(limits, "quota"))
		return;
	printf("each client may hold %s of memory\n", bytes(limits, "quota", a));
	for (size_t i = 0; (o = element(held, i)); i++)
		printf("client %s holds %s\n", text(o, "client"), bytes(o, "held", a));
}

static void print_server(struct json_object *stat)
{
	struct json_object *pool = member(stat, "pool");
	char a[SIZE_FORMAT_MAX], b[SIZE_FORMAT_MAX], c[SIZE_FORMAT_MAX];
	char up[MEMCTL_FORMAT_MAX];

	printf("up %s, %llu of %llu connections%s\n",
	       memctl_format_seconds(number(stat, "uptime_s"), up, sizeof(up)),
	       (unsigned long long)number(stat, "connections"),
	       (unsigned long long)number(stat, "max_connections"),
	       truth(stat, "memory_locked") ? "" : ", MEMORY NOT LOCKED");
	printf("pool %s: %s stored, limit %s, reserve %s%s%s\n", text(pool, "path"),
	       bytes(pool, "used", a), bytes(pool, "limit", b),
	       bytes(pool, "reserve", c), truth(pool, "noswap") ? ", noswap" : "",
	       truth(pool, "short") ? ", HOST SHORT OF MEMORY: no new pages" : "");
	print_limits(member(stat, "client_limits"), "each client may take ");
	print_holders(stat);
	print_doors(member(stat, "doors"));
	if (number(stat, "log_lines_dropped"))
		printf("%llu log lines dropped\n",
		       (unsigned long long)number(stat, "log_lines_dropped"));
	putchar('\n');
}

static void op_cells(struct memctl_table *t, struct json_object *o, const char *op)
{
	struct json_object *io = member(member(o, "io"), op);

	memctl_table_count(t, number(io, "ops"));
	memctl_table_bytes(t, number(io, "bytes"));
	memctl_table_ns(t, number(member(io, "latency_ns"), "p50"));
	memctl_table_ns(t, number(member(io, "latency_ns"), "p99"));
}

static void io_cells(struct memctl_table *t, struct json_object *o)
{
	op_cells(t, o, "read");
	op_cells(t, o, "write");
	memctl_table_count(t, number(member(member(o, "io"), "trim"), "ops"));
	memctl_table_count(t, number(o, "errors"));
}

static void print_all(struct json_object *stat)
{
	struct memctl_table *t =
		memctl_table_new("NAME >SIZE >STORED >USERS " IO_COLUMNS);
	struct json_object *o;

	print_server(stat);
	for (size_t i = 0; (o = element(member(stat, "exports"), i)); i++) {
		memctl_table_cell(t, "%s", text(o, "name"));
		memctl_table_bytes(t, number(o, "size"));
		memctl_table_bytes(t, number(o, "resident"));
		memctl_table_count(t, number(o, "users"));
		io_cells(t, o);
	}
	memctl_table_end(t, stdout);
}

/* ---- one export ---- */

static void print_ops(struct json_object *all)
{
	struct memctl_table *t = memctl_table_new("OP >OPS >BYTES >P50 >P90 >P99 >MAX");
	static const char *const each[] = { "p50", "p90", "p99", "max" };

	json_object_object_foreach(all, op, io)
	{
		memctl_table_cell(t, "%s", op);
		memctl_table_count(t, number(io, "ops"));
		memctl_table_bytes(t, number(io, "bytes"));
		for (size_t i = 0; i < 4; i++)
			memctl_table_ns(t, number(member(io, "latency_ns"), each[i]));
	}
	memctl_table_end(t, stdout);
}

static void print_clients(struct json_object *clients)
{
	struct memctl_table *t = memctl_table_new(">CONNS " IO_COLUMNS " CLIENT");
	struct json_object *o;

	for (size_t i = 0; (o = element(clients, i)); i++) {
		memctl_table_count(t, number(o, "connections"));
		io_cells(t, o);
		memctl_table_cell(t, "%s", text(o, "client"));
	}
	memctl_table_end(t, stdout);
}

static void print_one(struct json_object *stat)
{
	struct json_object *o = element(member(stat, "exports"), 0);
	char a[SIZE_FORMAT_MAX], b[SIZE_FORMAT_MAX], c[SIZE_FORMAT_MAX];
	char waited[MEMCTL_FORMAT_MAX];

	printf("export %s: size %s, quota %s, stored %s, %llu users\n", text(o, "name"),
	       bytes(o, "size", a), bytes(o, "quota", b), bytes(o, "resident", c),
	       (unsigned long long)number(o, "users"));
	print_limits(o, "limits: ");
	if (number(o, "pauses"))
		printf("connections waited %llu times for a limit, %s together\n",
		       (unsigned long long)number(o, "pauses"),
		       memctl_format_ns(number(o, "paused_ns"), waited,
					sizeof(waited)));
	printf("UUID %s, generation %s, NSID %llu\n"
	       "%llu errors, %llu writes refused for lack of space\n\n",
	       text(o, "uuid"), text(o, "generation"),
	       (unsigned long long)number(o, "nsid"),
	       (unsigned long long)number(o, "errors"),
	       (unsigned long long)number(o, "no_space"));
	if (member(o, "io"))
		print_ops(member(o, "io"));
	putchar('\n');
	print_clients(member(o, "clients"));
}

int memctl_stat(struct memctl *m)
{
	struct json_object *req = memctl_request("stat");

	if (!m->nr_args)
		return memctl_show_result(m, req, print_all);
	json_object_object_add(req, "name", json_object_new_string(m->args[0]));
	return memctl_show_result(m, req, print_one);
}
