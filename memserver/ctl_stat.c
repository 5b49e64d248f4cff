/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state of exports, clients and pool in, JSON out; main thread. */
#include "memserver/ctl_stat.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/ctl_server.h"
#include "lib/log.h"
#include "memserver/front.h"
#include "memserver/iscsi/iscsi.h"
#include "memserver/server.h"
#include "memserver/stats.h"

#define WHO_MAX     1000 /* connections in one answer; the client asks for more */
#define CLIENTS_MAX 256  /* told apart in one export; the rest are summed */

static void put_u64(struct json_object *o, const char *key, uint64_t n)
{
	json_object_object_add(o, key, json_object_new_uint64(n));
}

/* A limit that may be none: null. */
static void put_limit(struct json_object *o, const char *key, uint64_t n)
{
	json_object_object_add(o, key,
			       n == UINT64_MAX ? NULL : json_object_new_uint64(n));
}

static void put_caps(struct json_object *o, struct caps_cfg caps)
{
	put_limit(o, "bandwidth", caps.bytes_per_s ? caps.bytes_per_s : UINT64_MAX);
	put_limit(o, "iops", caps.ops_per_s ? caps.ops_per_s : UINT64_MAX);
}

static void put_text(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, json_object_new_string(text));
}

static void put_bool(struct json_object *o, const char *key, bool b)
{
	json_object_object_add(o, key, json_object_new_boolean(b));
}

/* ---- exports ---- */

static struct json_object *describe_export(struct server *s, struct export *e)
{
	const struct export_id *id = export_id(e);
	struct json_object *o = json_object_new_object();
	const uint8_t *u = id->uuid;
	char uuid[37], owner[ACCOUNT_NAME_MAX + 1];

	snprintf(uuid, sizeof(uuid),
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10],
		 u[11], u[12], u[13], u[14], u[15]);
	put_text(o, "name", export_name(e));
	put_u64(o, "size", export_size(e));
	put_limit(o, "quota", export_quota(e));
	put_caps(o, caps_get(export_caps(e)));
	export_settle(e);
	put_u64(o, "resident", export_resident(e));
	put_u64(o, "users", export_users(e) + iscsi_sessions(s->iscsi, e));
	put_text(o, "uuid", uuid);
	put_text(o, "generation", id->generation);
	put_u64(o, "nsid", id->nsid);
	put_bool(o, "tls", export_needs_tls(e));
	export_owner(e, owner, sizeof(owner));
	put_text(o, "owner", owner);
	return o;
}

struct list_arg {
	struct server *s;
	struct json_object *array;
};

static int list_one(struct export *e, void *arg)
{
	struct list_arg *a = arg;

	json_object_array_add(a->array, describe_export(a->s, e));
	return 0;
}

int ctl_list(struct ctl_call *call, void *arg)
{
	struct server *s = arg;

	struct list_arg a = { s, json_object_new_array() };

	iscsi_look(s->iscsi);
	call->result = a.array;
	exports_each(s->exports, list_one, &a);
	return 0;
}

/* ---- counters ---- */

static struct json_object *describe_latency(const struct hist *h)
{
	struct json_object *o = json_object_new_object();

	put_u64(o, "p50", hist_percentile(h, 50));
	put_u64(o, "p90", hist_percentile(h, 90));
	put_u64(o, "p99", hist_percentile(h, 99));
	put_u64(o, "max", h->max);
	return o;
}

/* Adds "io", "errors" and "no_space" to `o`. */
static void put_stats(struct json_object *o, const struct io_stats *st, bool latency)
{
	struct json_object *io = json_object_new_object();

	for (int op = 0; op < IO_OP_NR; op++) {
		struct json_object *one = json_object_new_object();

		put_u64(one, "ops", st->ops[op]);
		put_u64(one, "bytes", st->bytes[op]);
		if (latency && op <= IO_ZERO)
			json_object_object_add(one, "latency_ns",
					       describe_latency(&st->latency[op]));
		json_object_object_add(io, io_op_names[op], one);
	}
	json_object_object_add(o, "io", io);
	put_u64(o, "errors", st->errors);
	put_u64(o, "no_space", st->no_space);
	put_u64(o, "pauses", st->pauses);
	put_u64(o, "paused_ns", st->paused_ns);
}

/* One host that uses an export, over however many connections. */
struct client_sum {
	char name[224];
	unsigned int nr_conns;
	struct io_stats stats;
};

struct client_sums {
	const char *export; /* whose */
	struct client_sum *list;
	size_t nr;
};

/* Who a connection belongs to: its NQN, else its address without the port. */
static void client_name(const struct conn_info *info, char *buf, size_t len)
{
	const char *colon = strrchr(info->peer, ':');
	size_t n = colon && strncmp(info->peer, "unix:", 5)
			   ? (size_t)(colon - info->peer)
			   : strlen(info->peer);

	if (*info->client)
		snprintf(buf, len, "%s", info->client);
	else
		snprintf(buf, len, "%.*s", (int)n, info->peer);
}

static int gather_client(const struct conn_info *info, void *arg)
{
	struct client_sums *cs = arg;
	char name[sizeof(cs->list->name)];
	size_t i;

	if (strcmp(info->export, cs->export) != 0)
		return 0;
	client_name(info, name, sizeof(name));
	for (i = 0; i < cs->nr && strcmp(cs->list[i].name, name) != 0; i++)
		;
	if (i == CLIENTS_MAX)
		strcpy(cs->list[--i].name, "(others)");
	if (i == cs->nr)
		strcpy(cs->list[cs->nr++].name, name);
	cs->list[i].nr_conns++;
	stats_add(&cs->list[i].stats, &info->stats);
	return 0;
}

/* tgtd tells reads and writes of a session, no latencies. */
static void stats_of_session(const struct tgt_counters *c, struct io_stats *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->ops[IO_READ] = c->read_ops;
	ret->bytes[IO_READ] = c->read_bytes;
	ret->ops[IO_WRITE] = c->write_ops;
	ret->bytes[IO_WRITE] = c->write_bytes;
	ret->errors = c->errors;
}

struct initiators {
	struct json_object *array;
	const char *export; /* whose */
};

static int describe_initiator(const struct iscsi_session_info *info, void *arg)
{
	struct initiators *a = arg;
	struct json_object *o;
	struct io_stats st;

	if (strcmp(info->export, a->export) != 0)
		return 0;
	stats_of_session(&info->counters, &st);
	o = json_object_new_object();
	put_text(o, "client", info->session.initiator);
	put_u64(o, "connections", 1);
	put_stats(o, &st, true);
	json_object_array_add(a->array, o);
	return 0;
}

static struct json_object *describe_clients(struct server *s, const char *name)
{
	struct client_sums cs = { .export = name,
				  .list = calloc(CLIENTS_MAX, sizeof(*cs.list)) };
	struct json_object *array = json_object_new_array();

	if (cs.list)
		conns_each(s->conns, gather_client, &cs);
	for (size_t i = 0; i < cs.nr; i++) {
		struct json_object *o = json_object_new_object();

		put_text(o, "client", cs.list[i].name);
		put_u64(o, "connections", cs.list[i].nr_conns);
		put_stats(o, &cs.list[i].stats, true);
		json_object_array_add(array, o);
	}
	free(cs.list);
	iscsi_each(s->iscsi, describe_initiator, &(struct initiators){ array, name });
	return array;
}

static struct json_object *describe_pool(const struct pool *p)
{
	struct json_object *o = json_object_new_object();

	put_text(o, "path", pool_path(p));
	put_u64(o, "used", pool_used(p));
	put_limit(o, "limit", pool_limit(p));
	put_u64(o, "reserve", pool_reserve(p));
	put_bool(o, "short", pool_is_short(p));
	put_bool(o, "noswap", pool_is_noswap(p));
	put_u64(o, "granule", pool_granule(p));
	return o;
}

static struct json_object *describe_doors(const struct server *s)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < s->nr_doors; i++) {
		struct json_object *o = json_object_new_object();
		char text[ADDR_TEXT_MAX];

		put_text(o, "front", s->doors[i].front->name);
		put_text(o, "address",
			 addr_format(&s->doors[i].addr.sa, text, sizeof(text)));
		put_u64(o, "refused", s->doors[i].refused);
		json_object_array_add(array, o);
	}
	return array;
}

/* What tgtd is doing for us; null when iSCSI is off. */
static struct json_object *describe_iscsi(const struct server *s)
{
	struct json_object *o;

	if (!s->iscsi)
		return NULL;
	o = json_object_new_object();
	put_u64(o, "pid", (uint64_t)iscsi_pid(s->iscsi));
	put_u64(o, "restarts", iscsi_restarts(s->iscsi));
	put_u64(o, "refused", iscsi_refused(s->iscsi));
	return o;
}

struct stat_arg {
	struct server *s;
	struct json_object *array;
};

static int stat_one(struct export *e, void *arg)
{
	struct stat_arg *a = arg;
	struct json_object *o = describe_export(a->s, e);
	struct io_stats st;

	stats_of_export(e, a->s->engine.nr_workers, &st);
	put_stats(o, &st, true);
	json_object_array_add(a->array, o);
	return 0;
}

/* With a name: that export and its clients. */
static int stat_named(struct stat_arg *a, struct ctl_call *call, const char *name)
{
	struct export *e = exports_find(a->s->exports, name, strlen(name));
	struct json_object *o;

	if (!e)
		return ctl_fail(call, ENOENT, "no export '%.80s'", name);
	stat_one(e, a);
	o = json_object_array_get_idx(a->array, 0);
	json_object_object_add(o, "clients", describe_clients(a->s, export_name(e)));
	export_put(e);
	return 0;
}

static int describe_account(const char *name, uint64_t held, void *arg)
{
	struct json_object *o = json_object_new_object();

	put_text(o, "client", name);
	put_u64(o, "held", held);
	json_object_array_add(arg, o);
	return 0;
}

int ctl_stat(struct ctl_call *call, void *arg)
{
	struct server *s = arg;
	struct stat_arg a = { .s = s, .array = json_object_new_array() };
	struct json_object *o = json_object_new_object(),
			   *limits = json_object_new_object(),
			   *held = json_object_new_array();
	const char *name;
	int r = ctl_arg_string(call->req, "name", &name);

	put_caps(limits, clients_limits(s->clients));
	put_limit(limits, "quota",
		  s->cfg.client_quota ? s->cfg.client_quota : UINT64_MAX);
	accounts_each(s->accounts, describe_account, held);
	iscsi_look(s->iscsi);
	put_u64(o, "uptime_s", (clock_ns() - s->started_ns) / 1000000000);
	json_object_object_add(o, "pool", describe_pool(s->pool));
	json_object_object_add(o, "doors", describe_doors(s));
	json_object_object_add(o, "iscsi", describe_iscsi(s));
	put_u64(o, "connections", conns_count(s->conns));
	put_u64(o, "max_connections", s->engine.max_conns);
	json_object_object_add(o, "client_limits", limits);
	json_object_object_add(o, "client_memory", held);
	put_bool(o, "memory_locked", s->locked);
	put_text(o, "runs_as", s->confined);
	put_u64(o, "log_lines_dropped", log_dropped());
	json_object_object_add(o, "exports", a.array);
	call->result = o;
	if (r == -EINVAL)
		return ctl_fail(call, EINVAL, "the name must be text");
	if (!r)
		return stat_named(&a, call, name);
	exports_each(s->exports, stat_one, &a);
	return 0;
}

/* ---- connections ---- */

struct who_arg {
	struct json_object *array;
	uint64_t after, now_ns;
};

static int who_one(const struct conn_info *info, void *arg)
{
	struct who_arg *a = arg;
	struct json_object *o;

	if (info->id <= a->after)
		return 0;
	if (json_object_array_length(a->array) == WHO_MAX)
		return 1;
	o = json_object_new_object();
	put_u64(o, "id", info->id);
	put_text(o, "peer", info->peer);
	put_text(o, "client", info->client);
	put_text(o, "export", info->export);
	put_text(o, "front", info->front);
	put_text(o, "tls", info->tls);
	put_u64(o, "worker", info->worker);
	put_u64(o, "seconds",
		a->now_ns > info->since_ns ? (a->now_ns - info->since_ns) / 1000000000
					   : 0);
	put_stats(o, &info->stats, false);
	json_object_array_add(a->array, o);
	return 0;
}

static int who_session(const struct iscsi_session_info *info, void *arg)
{
	struct who_arg *a = arg;
	struct json_object *o;
	struct io_stats st;

	if (info->id <= a->after)
		return 0;
	if (json_object_array_length(a->array) == WHO_MAX)
		return 1;
	stats_of_session(&info->counters, &st);
	o = json_object_new_object();
	put_u64(o, "id", info->id);
	put_text(o, "peer", info->session.address);
	put_text(o, "client", info->session.initiator);
	put_text(o, "export", info->export);
	put_text(o, "front", "iscsi");
	put_stats(o, &st, false);
	json_object_array_add(a->array, o);
	return 0;
}

int ctl_who(struct ctl_call *call, void *arg)
{
	struct server *s = arg;
	struct who_arg a = { .now_ns = clock_ns() };

	if (ctl_arg_u64(call->req, "after", &a.after) == -EINVAL)
		return ctl_fail(call, EINVAL, "after must be a connection's id");
	call->result = a.array = json_object_new_array();
	conns_each(s->conns, who_one, &a);
	iscsi_each(s->iscsi, who_session, &a);
	return 0;
}
