/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state of the server in, Prometheus' text format 0.0.4 out. Families one after
 * the other, as the format wants, so the exports' numbers are taken first.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "memserver/front.h"
#include "memserver/handshake.h"
#include "memserver/iscsi/iscsi.h"
#include "memserver/login.h"
#include "memserver/metrics.h"
#include "memserver/nvme/auth.h"
#include "memserver/nvme/tls.h"
#include "memserver/secure.h"
#include "memserver/server.h"
#include "memserver/stats.h"

/* The upper bounds told of latencies: 2^N ns, from 4 us to 2 s. */
static const unsigned char bounds[] = { 12, 13, 14, 15, 16, 17, 18, 19,
					20, 21, 22, 23, 25, 27, 29, 31 };

#define NR_BOUNDS (sizeof(bounds) / sizeof(bounds[0]))

struct sample {
	char name[EXPORT_NAME_MAX + 1];
	uint64_t size, quota, resident;
	uint64_t bytes_per_s, ops_per_s; /* UINT64_MAX: no limit */
	unsigned int users;
	struct io_stats stats;
};

struct samples {
	struct sample *list; /* owned */
	size_t nr, room;
	unsigned int nr_workers;
};

static uint64_t or_none(uint64_t limit)
{
	return limit ? limit : UINT64_MAX;
}

static int take_sample(struct export *e, void *arg)
{
	struct samples *ss = arg;
	struct sample *s;

	if (ss->nr == ss->room) {
		size_t room = ss->room ? ss->room * 2 : 16;
		struct sample *list = reallocarray(ss->list, room, sizeof(*list));

		if (!list)
			return -1;
		ss->list = list;
		ss->room = room;
	}
	s = &ss->list[ss->nr++];
	strcpy(s->name, export_name(e));
	s->size = export_size(e);
	s->quota = export_quota(e);
	s->resident = export_resident(e);
	s->bytes_per_s = or_none(caps_get(export_caps(e)).bytes_per_s);
	s->ops_per_s = or_none(caps_get(export_caps(e)).ops_per_s);
	s->users = export_users(e);
	stats_of_export(e, ss->nr_workers, &s->stats);
	return 0;
}

static void family(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP memserver_%s %s\n# TYPE memserver_%s %s\n", name, help, name,
		type);
}

static void single(FILE *f, const char *name, const char *type, const char *help,
		   uint64_t value)
{
	family(f, name, type, help);
	fprintf(f, "memserver_%s %llu\n", name, (unsigned long long)value);
}

static uint64_t clock_of(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void write_server(FILE *f, struct server *s)
{
	uint64_t up_ns = clock_of(CLOCK_MONOTONIC) - s->started_ns;
	uint64_t started_ns = clock_of(CLOCK_REALTIME) - up_ns;

	family(f, "build_info", "gauge", "The version that runs, as a label.");
	fprintf(f, "memserver_build_info{version=\"%s\"} 1\n", REMEM_VERSION);
	single(f, "start_time_seconds", "gauge", "When it started, Unix time.",
	       started_ns / 1000000000);
	single(f, "memory_locked", "gauge",
	       "1 if its memory can't be swapped out (mlockall).", s->locked);
	single(f, "connections", "gauge", "Connections at present.",
	       conns_count(s->conns));
	single(f, "connections_max", "gauge", "Connections allowed at a time.",
	       s->engine.max_conns);
	single(f, "log_lines_dropped_total", "counter",
	       "Log lines lost because nobody read standard error.", log_dropped());
}

static void write_pool(FILE *f, const struct pool *p)
{
	single(f, "pool_used_bytes", "gauge", "Host memory all exports take.",
	       pool_used(p));
	if (pool_limit(p) != UINT64_MAX)
		single(f, "pool_limit_bytes", "gauge", "What they may take together.",
		       pool_limit(p));
	single(f, "pool_reserve_bytes", "gauge", "Host memory that is never lent.",
	       pool_reserve(p));
	single(f, "pool_short", "gauge",
	       "1 while the host is below its reserve and no new page is lent.",
	       pool_is_short(p));
	single(f, "pool_noswap", "gauge",
	       "1 if the kernel keeps the pool off its swap.", pool_is_noswap(p));
}

static void write_tls(FILE *f, struct server *s)
{
	const struct handshake_stats *st;

	if (!s->engine.handshakes)
		return;
	st = handshakes_stats(s->engine.handshakes);
	family(f, "tls_handshakes_total", "counter",
	       "TLS handshakes that came to an end.");
	fprintf(f,
		"memserver_tls_handshakes_total{result=\"good\"} %llu\n"
		"memserver_tls_handshakes_total{result=\"failed\"} %llu\n"
		"memserver_tls_handshakes_total{result=\"timeout\"} %llu\n"
		"memserver_tls_handshakes_total{result=\"crowded\"} %llu\n",
		(unsigned long long)st->good, (unsigned long long)st->failed,
		(unsigned long long)st->timed_out, (unsigned long long)st->crowded);
	single(f, "tls_handshakes", "gauge", "TLS handshakes under way.",
	       st->under_way);
	if (s->secure)
		single(f, "tls_certificate_expiry_seconds", "gauge",
		       "When the server's certificate ends, Unix time; 0: it has none.",
		       (uint64_t)secure_expires(s->secure));
}

static void write_nvme_tls(FILE *f, struct nvme_tls *t)
{
	struct nvme_tls_counters c;

	if (!t)
		return;
	nvme_tls_counters(t, &c);
	single(f, "nvme_tls_plain_refused_total", "counter",
	       "NVMe connections refused for beginning in the clear.", c.plain);
	single(f, "nvme_tls_identity_refused_total", "counter",
	       "Connects refused for other names than those of the key.", c.identity);
	single(f, "nvme_tls_generated_keys_total", "counter",
	       "Keys for TLS that logins have generated.", c.generated);
}

static void write_remote(FILE *f, const struct login_stats *st)
{
	if (!st)
		return;
	family(f, "logins_total", "counter", "Logins of remote administrators.");
	fprintf(f,
		"memserver_logins_total{result=\"good\"} %llu\n"
		"memserver_logins_total{result=\"failed\"} %llu\n"
		"memserver_logins_total{result=\"timeout\"} %llu\n"
		"memserver_logins_total{result=\"limited\"} %llu\n",
		(unsigned long long)st->good, (unsigned long long)st->failed,
		(unsigned long long)st->timed_out, (unsigned long long)st->limited);
}

static void write_doors(FILE *f, struct server *s)
{
	char text[ADDR_TEXT_MAX];

	family(f, "refused_connections_total", "counter",
	       "Connections turned away at a door.");
	for (size_t i = 0; i < s->nr_doors; i++) {
		struct door *d = &s->doors[i];

		fprintf(f,
			"memserver_refused_connections_total{front=\"%s\","
			"address=\"%s\"} %llu\n",
			d->front->name, addr_format(&d->addr.sa, text, sizeof(text)),
			(unsigned long long)atomic_load(&d->refused));
	}
}

static void write_logins(FILE *f, struct nvme_auth *a)
{
	static const char *const reasons[NVME_AUTH_EXPLANATION_NR] = {
		"host", "failed", "protocol", "concatenation",
		"hash", "group",  "payload",  "message",
	};
	struct nvme_auth_counters c;

	if (!a)
		return;
	nvme_auth_counters(a, &c);
	single(f, "nvme_logins_total", "counter",
	       "Queues whose hosts proved themselves.", c.accepted);
	single(f, "nvme_hosts_refused_total", "counter",
	       "Connects of hosts that are not in the file, or not for that export.",
	       c.refused);
	family(f, "nvme_login_failures_total", "counter",
	       "Logins that failed, by what we told the host; host: by what it told.");
	for (unsigned int i = 0; i < NVME_AUTH_EXPLANATION_NR; i++)
		fprintf(f, "memserver_nvme_login_failures_total{reason=\"%s\"} %llu\n",
			reasons[i], (unsigned long long)c.failed[i]);
}

static void write_iscsi(FILE *f, const struct iscsi *is)
{
	if (!is)
		return;
	single(f, "iscsi_refused_total", "counter",
	       "iSCSI logins refused for their secret or user, as far as tgtd tells.",
	       iscsi_refused(is));
	single(f, "iscsi_restarts_total", "counter", "How often tgtd has died.",
	       iscsi_restarts(is));
}

static void write_memory(FILE *f, const struct samples *ss)
{
	static const struct {
		const char *name, *help;
		size_t offset;
	} gauges[] = {
		{ "export_size_bytes", "Size clients see.",
		  offsetof(struct sample, size) },
		{ "export_quota_bytes", "Memory it may take.",
		  offsetof(struct sample, quota) },
		{ "export_resident_bytes", "Host memory it takes.",
		  offsetof(struct sample, resident) },
		{ "export_limit_bytes_per_second", "What its clients may move.",
		  offsetof(struct sample, bytes_per_s) },
		{ "export_limit_requests_per_second", "What its clients may ask.",
		  offsetof(struct sample, ops_per_s) },
	};

	for (size_t g = 0; g < sizeof(gauges) / sizeof(gauges[0]); g++) {
		family(f, gauges[g].name, "gauge", gauges[g].help);
		for (size_t i = 0; i < ss->nr; i++) {
			const struct sample *s = &ss->list[i];
			uint64_t n;

			memcpy(&n, (const char *)s + gauges[g].offset, sizeof(n));
			if (n != UINT64_MAX) /* no quota */
				fprintf(f, "memserver_%s{export=\"%s\"} %llu\n",
					gauges[g].name, s->name, (unsigned long long)n);
		}
	}
	family(f, "export_users", "gauge", "Queues and connections attached to it.");
	for (size_t i = 0; i < ss->nr; i++)
		fprintf(f, "memserver_export_users{export=\"%s\"} %u\n",
			ss->list[i].name, ss->list[i].users);
}

static void per_op(FILE *f, const struct samples *ss, const char *name,
		   const char *help, size_t offset)
{
	family(f, name, "counter", help);
	for (size_t i = 0; i < ss->nr; i++) {
		const char *base = (const char *)&ss->list[i].stats + offset;

		for (int op = 0; op < IO_OP_NR; op++) {
			uint64_t n;

			memcpy(&n, base + (size_t)op * sizeof(n), sizeof(n));
			fprintf(f, "memserver_%s{export=\"%s\",op=\"%s\"} %llu\n", name,
				ss->list[i].name, io_op_names[op],
				(unsigned long long)n);
		}
	}
}

static void write_io(FILE *f, const struct samples *ss)
{
	per_op(f, ss, "io_operations_total", "Requests answered.",
	       offsetof(struct io_stats, ops));
	per_op(f, ss, "io_bytes_total", "Bytes read, written, trimmed or zeroed.",
	       offsetof(struct io_stats, bytes));
	family(f, "io_errors_total", "counter", "Requests answered with an error.");
	for (size_t i = 0; i < ss->nr; i++)
		fprintf(f, "memserver_io_errors_total{export=\"%s\"} %llu\n",
			ss->list[i].name, (unsigned long long)ss->list[i].stats.errors);
	family(f, "io_no_space_total", "counter",
	       "Writes refused for the quota or the pool's limit.");
	for (size_t i = 0; i < ss->nr; i++)
		fprintf(f, "memserver_io_no_space_total{export=\"%s\"} %llu\n",
			ss->list[i].name,
			(unsigned long long)ss->list[i].stats.no_space);
}

static void write_pauses(FILE *f, const struct samples *ss)
{
	family(f, "pauses_total", "counter",
	       "Connections made to wait for a limit of the export or the client.");
	for (size_t i = 0; i < ss->nr; i++)
		fprintf(f, "memserver_pauses_total{export=\"%s\"} %llu\n",
			ss->list[i].name, (unsigned long long)ss->list[i].stats.pauses);
	family(f, "paused_seconds_total", "counter", "How long they waited, summed.");
	for (size_t i = 0; i < ss->nr; i++)
		fprintf(f, "memserver_paused_seconds_total{export=\"%s\"} %.9f\n",
			ss->list[i].name, (double)ss->list[i].stats.paused_ns / 1e9);
}

/* Buckets are cumulative, and the last one is the count: taken from the same buckets,
 * because they may be counted in meanwhile. */
static void write_histogram(FILE *f, const char *labels, const struct hist *h)
{
	uint64_t sum = 0;
	unsigned int b = 0;

	for (size_t i = 0; i < NR_BOUNDS; i++) {
		for (; b < hist_bucket(UINT64_C(1) << bounds[i]); b++)
			sum += h->bucket[b];
		fprintf(f, "memserver_io_latency_seconds_bucket{%s,le=\"%.9g\"} %llu\n",
			labels, (double)(UINT64_C(1) << bounds[i]) / 1e9,
			(unsigned long long)sum);
	}
	for (; b < HIST_BUCKETS; b++)
		sum += h->bucket[b];
	fprintf(f,
		"memserver_io_latency_seconds_bucket{%s,le=\"+Inf\"} %llu\n"
		"memserver_io_latency_seconds_sum{%s} %.9f\n"
		"memserver_io_latency_seconds_count{%s} %llu\n",
		labels, (unsigned long long)sum, labels, (double)h->sum / 1e9, labels,
		(unsigned long long)sum);
}

static void write_latency(FILE *f, const struct samples *ss)
{
	char labels[EXPORT_NAME_MAX + 40];

	family(f, "io_latency_seconds", "histogram",
	       "From a request's arrival to the last byte of its answer.");
	for (size_t i = 0; i < ss->nr; i++)
		for (int op = 0; op <= IO_ZERO; op++) {
			snprintf(labels, sizeof(labels), "export=\"%s\",op=\"%s\"",
				 ss->list[i].name, io_op_names[op]);
			write_histogram(f, labels, &ss->list[i].stats.latency[op]);
		}
}

char *metrics_text(struct server *s, size_t *ret_len)
{
	struct samples ss = { .nr_workers = s->engine.nr_workers };
	char *text = NULL;
	FILE *f = open_memstream(&text, ret_len);

	if (!f)
		return NULL;
	exports_each(s->exports, take_sample, &ss);
	write_server(f, s);
	write_pool(f, s->pool);
	write_doors(f, s);
	write_logins(f, s->nvme_auth);
	write_nvme_tls(f, s->nvme_tls);
	write_tls(f, s);
	write_remote(f, s->logins);
	write_iscsi(f, s->iscsi);
	write_memory(f, &ss);
	write_io(f, &ss);
	write_pauses(f, &ss);
	write_latency(f, &ss);
	free(ss.list);
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}
