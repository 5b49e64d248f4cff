// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The load client: one program for all protocols, so that what is compared is the
 * servers. In come an address and a workload, out goes one JSON object: IOPS, MB/s,
 * latencies, the server's CPU time. One thread, pinned where told; it sleeps in
 * recv or poll, or spins.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "bench/lib/conn.h"
#include "bench/lib/cputime.h"
#include "bench/lib/lat.h"
#include "bench/lib/workload.h"
#include "lib/size.h"

#define MAX_CONNS 256

struct config {
	const char *op;
	uint64_t span_bytes, count, seed;
	double seconds, warmup, wait;
	uint32_t nr_conns, write_percent;
	int cpu;
	pid_t server;
	bool spin, verify, prefill, verify_all, first;
};

struct load {
	struct config cfg;
	struct target target;
	struct workload work;
	struct conn conns[MAX_CONNS];
	uint32_t nr_conns;

	struct lat lat;
	uint64_t now_ns;    /* when the last receive returned; 0: not read yet */
	uint64_t to_submit; /* requests this phase may still begin */
	uint64_t done;      /* requests this phase has finished */
	uint64_t in_flight;
};

static uint64_t now_of(struct load *l)
{
	if (!l->now_ns)
		l->now_ns = conn_now_ns();
	return l->now_ns;
}

static void on_done(struct conn *c, struct request *r)
{
	struct load *l = c->owner;

	lat_add(&l->lat, now_of(l) - r->start_ns);
	workload_done(&l->work, r);
	l->done++;
	l->in_flight--;
}

/* Keeps the connection's queue full and sends what is new in one go. */
static int fill(struct load *l, struct conn *c)
{
	struct request *r;
	uint64_t start = 0;

	while (l->to_submit && (r = conn_take(c))) {
		workload_next(&l->work, r);
		r->start_ns = start = start ? start : conn_now_ns();
		conn_submit(c, r);
		l->to_submit--;
		l->in_flight++;
	}
	return conn_send(c);
}

static int sleep_for_any(struct load *l)
{
	struct pollfd fds[MAX_CONNS];
	int r;

	for (uint32_t i = 0; i < l->nr_conns; i++)
		fds[i] = (struct pollfd){
			.fd = l->conns[i].fd,
			.events = conn_unsent(&l->conns[i]) ? POLLIN | POLLOUT : POLLIN,
		};
	r = poll(fds, l->nr_conns, 20000);
	if (r <= 0) {
		fprintf(stderr, "no answer within 20 s\n");
		return -ETIMEDOUT;
	}
	for (uint32_t i = 0; i < l->nr_conns; i++) {
		l->now_ns = 0;
		r = fds[i].revents & ~POLLOUT ? conn_receive(&l->conns[i], MSG_DONTWAIT)
					      : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int receive_some(struct load *l)
{
	int r = 0;

	l->now_ns = 0;
	if (!l->cfg.spin && l->nr_conns == 1 && !conn_unsent(&l->conns[0]))
		return conn_receive(&l->conns[0], 0);
	if (!l->cfg.spin)
		return sleep_for_any(l);
	for (uint32_t i = 0; i < l->nr_conns && r >= 0; i++) {
		l->now_ns = 0;
		r = conn_receive(&l->conns[i], MSG_DONTWAIT);
	}
	return r;
}

/* Until `until_ns` or until `count` requests are done, then all that are begun. */
static int phase(struct load *l, uint64_t until_ns, uint64_t count)
{
	int r = 0;

	l->to_submit = count;
	l->done = 0;
	while (r >= 0 && (l->to_submit || l->in_flight) && now_of(l) < until_ns) {
		for (uint32_t i = 0; i < l->nr_conns && r >= 0; i++)
			r = fill(l, &l->conns[i]);
		if (r >= 0)
			r = receive_some(l);
	}
	l->to_submit = 0;
	return r;
}

static int drain(struct load *l)
{
	int r = 0;

	for (l->to_submit = 0; r >= 0 && l->in_flight;) {
		for (uint32_t i = 0; i < l->nr_conns && r >= 0; i++)
			r = conn_send(&l->conns[i]);
		if (r >= 0)
			r = receive_some(l);
	}
	return r;
}

static uint64_t in_seconds(double s)
{
	return conn_now_ns() + (uint64_t)(s * 1e9);
}

/* Every block of the span once, in order: all written, or all verified. */
static int whole_span(struct load *l, enum io_op op)
{
	struct workload saved = l->work;
	int r;

	l->work.op = op;
	l->work.mix = l->work.random = false;
	l->work.cursor = 0;
	r = phase(l, UINT64_MAX, l->work.nr_blocks);
	l->work.op = saved.op;
	l->work.mix = saved.mix;
	l->work.random = saved.random;
	l->work.cursor = 0;
	return r;
}

struct result {
	double seconds, cpu_seconds;
	uint64_t ios;
};

static int burst(struct load *l, struct result *ret)
{
	const struct config *c = &l->cfg;
	struct cputime server = { 0 };
	uint64_t start, cpu;
	int r = 0;

	if (c->warmup > 0)
		r = phase(l, in_seconds(c->warmup), UINT64_MAX);
	if (r >= 0)
		r = drain(l);
	/* By now it has the children and threads it serves us with. */
	if (r >= 0 && c->server)
		r = cputime_find(c->server, &server);
	if (r < 0)
		return r;
	lat_reset(&l->lat);
	l->now_ns = 0;
	cpu = cputime_read(&server);
	start = conn_now_ns();
	r = phase(l, in_seconds(c->seconds), c->count ? c->count : UINT64_MAX);
	ret->seconds = (double)(conn_now_ns() - start) / 1e9;
	ret->cpu_seconds = (double)(cputime_read(&server) - cpu) / 1e9;
	ret->ios = l->done;
	return r < 0 ? r : drain(l);
}

static void print(const struct load *l, const struct result *res)
{
	double ios = (double)res->ios;

	printf("{\"proto\": \"%s\", \"op\": \"%s\", \"block\": %u, \"depth\": %u, "
	       "\"connections\": %u, \"spin\": %s, \"seconds\": %.4f, \"ios\": %" PRIu64
	       ", \"kiops\": %.3f, \"MBps\": %.2f",
	       l->target.proto->name, l->cfg.op, l->target.block_bytes, l->target.depth,
	       l->nr_conns, l->cfg.spin ? "true" : "false", res->seconds, res->ios,
	       ios / res->seconds / 1e3,
	       ios * l->target.block_bytes / res->seconds / 1e6);
	printf(", \"mean_us\": %.2f",
	       l->lat.count ? (double)l->lat.sum_ns / (double)l->lat.count / 1e3 : 0.0);
	printf(", \"p50_us\": %.2f, \"p90_us\": %.2f, \"p99_us\": %.2f, "
	       "\"p999_us\": %.2f, \"max_us\": %.2f",
	       lat_percentile_us(&l->lat, 50), lat_percentile_us(&l->lat, 90),
	       lat_percentile_us(&l->lat, 99), lat_percentile_us(&l->lat, 99.9),
	       (double)l->lat.max_ns / 1e3);
	if (l->cfg.server)
		printf(", \"server_cpu_s\": %.4f, \"kio_per_cpu_s\": %.2f",
		       res->cpu_seconds,
		       res->cpu_seconds > 0 ? ios / res->cpu_seconds / 1e3 : 0.0);
	if (l->cfg.verify)
		printf(", \"cells_verified\": %" PRIu64 ", \"errors\": %" PRIu64,
		       l->work.cells_verified, l->work.errors);
	printf("}\n");
}

static int workload_choose(struct load *l)
{
	static const struct {
		const char *name;
		enum io_op op;
		bool random, mix;
	} ops[] = {
		{ "read", IO_READ, false, false },
		{ "write", IO_WRITE, false, false },
		{ "trim", IO_TRIM, false, false },
		{ "randread", IO_READ, true, false },
		{ "randwrite", IO_WRITE, true, false },
		{ "randtrim", IO_TRIM, true, false },
		{ "mix", IO_READ, true, true },
	};

	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++)
		if (!strcmp(ops[i].name, l->cfg.op)) {
			l->work.op = l->target.first_op = ops[i].op;
			l->work.random = ops[i].random;
			l->work.mix = ops[i].mix;
			return 0;
		}
	fprintf(stderr,
		"load: --op %s: read, write, trim, randread, randwrite, "
		"randtrim or mix\n",
		l->cfg.op);
	return -EINVAL;
}

static int workload_size(struct load *l)
{
	struct workload *w = &l->work;
	uint64_t span = l->cfg.span_bytes;

	if (!span || span > l->target.size_bytes)
		span = l->target.size_bytes;
	w->block_bytes = l->target.block_bytes;
	w->write_percent = l->cfg.write_percent;
	w->seed = l->cfg.seed;
	w->verify = l->cfg.verify;
	w->nr_blocks = span / w->block_bytes;
	if (!w->nr_blocks ||
	    (w->verify && w->nr_blocks < 2ul * l->target.depth * l->cfg.nr_conns)) {
		fprintf(stderr, "load: the span of %" PRIu64 " bytes is too small\n",
			span);
		return -EINVAL;
	}
	return workload_init(w);
}

/* With --wait, tries until somebody answers. */
static int open_conn(struct load *l, uint32_t id)
{
	uint64_t give_up = in_seconds(l->cfg.wait);
	struct timespec pause = { .tv_nsec = 200000 };
	struct conn *c = &l->conns[id];
	int r;

	for (;;) {
		r = 0;
		l->target.quiet = conn_now_ns() < give_up;
		if (!id && l->target.proto->probe)
			r = l->target.proto->probe(&l->target);
		if (!r)
			r = conn_open(&l->target, id, l->cfg.verify, c);
		if (r >= 0 || !l->target.quiet)
			break;
		conn_close(c);
		if (l->target.proto->close)
			l->target.proto->close(&l->target);
		nanosleep(&pause, NULL);
	}
	c->owner = l;
	c->on_done = on_done;
	return r;
}

static int open_all(struct load *l)
{
	int r = 0;

	for (; l->nr_conns < l->cfg.nr_conns && r >= 0; l->nr_conns++)
		r = open_conn(l, l->nr_conns);
	return r < 0 ? r : workload_size(l);
}

/* One read, and when it was done: the runner knows when the server was started. */
static int run_first(struct load *l)
{
	int r = phase(l, UINT64_MAX, 1);

	if (r >= 0)
		printf("{\"first_read_monotonic_ns\": %" PRIu64 "}\n", conn_now_ns());
	return r;
}

static int run(struct load *l)
{
	struct result res;
	int r = open_all(l);

	if (r >= 0 && l->cfg.first)
		return run_first(l);
	if (r >= 0 && l->cfg.prefill)
		r = whole_span(l, IO_WRITE);
	if (r >= 0)
		r = burst(l, &res);
	if (r >= 0 && l->cfg.verify_all)
		r = whole_span(l, IO_READ);
	if (r >= 0)
		print(l, &res);
	return r;
}

static const char usage[] =
	"usage: load --proto nbd|nvme|iscsi|limit --connect HOST:PORT|unix:PATH [...]\n"
	"  --export NAME      NBD export, NVMe subsystem NQN, iSCSI target name\n"
	"  --op OP            read write trim randread randwrite randtrim mix\n"
	"  --block SIZE       of an I/O (4K)        --span SIZE   of the export to "
	"use\n"
	"  --depth N          per connection (1)    --connections N (1)\n"
	"  --seconds S        of the burst (1)      --warmup S    before it (0)\n"
	"  --count N          end after N I/O       --mix N       percent of writes "
	"(50)\n"
	"  --cpu N            pin this client       --spin        poll, never sleep\n"
	"  --prefill          write the span first  --verify      every 4 KiB written\n"
	"  --verify-all       read the whole span at the end too\n"
	"  --server-cpu-pid N a server's process: CPU time of it and its children\n"
	"  --wait S           try to connect for S seconds\n"
	"  --first            one read only; prints when it was done\n"
	"Prints one JSON object. Exit status: 0, 1 I/O or verification failed, 2 "
	"usage.\n";

static const struct option options[] = {
	{ "proto", 1, NULL, 'p' },
	{ "connect", 1, NULL, 'c' },
	{ "export", 1, NULL, 'e' },
	{ "op", 1, NULL, 'o' },
	{ "block", 1, NULL, 'b' },
	{ "span", 1, NULL, 'S' },
	{ "depth", 1, NULL, 'd' },
	{ "connections", 1, NULL, 'n' },
	{ "seconds", 1, NULL, 's' },
	{ "warmup", 1, NULL, 'w' },
	{ "count", 1, NULL, 'N' },
	{ "mix", 1, NULL, 'm' },
	{ "cpu", 1, NULL, 'C' },
	{ "spin", 0, NULL, 'P' },
	{ "prefill", 0, NULL, 'f' },
	{ "verify", 0, NULL, 'v' },
	{ "verify-all", 0, NULL, 'V' },
	{ "server-cpu-pid", 1, NULL, 'k' },
	{ "wait", 1, NULL, 'W' },
	{ "first", 0, NULL, '1' },
	{ "seed", 1, NULL, 'r' },
	{ "help", 0, NULL, 'h' },
	{ 0 },
};

static int choose_proto(struct target *t, const char *name)
{
	static const struct proto *const protos[] = { &nbd_proto, &nvme_proto,
						      &iscsi_proto, &limit_proto };

	for (size_t i = 0; i < sizeof(protos) / sizeof(*protos); i++)
		if (!strcmp(protos[i]->name, name)) {
			t->proto = protos[i];
			return 0;
		}
	return -EINVAL;
}

static int parse_size(const char *text, uint64_t max, uint64_t *ret)
{
	uint64_t n;

	if (size_parse(text, &n) < 0 || !n || n > max)
		return -EINVAL;
	*ret = n;
	return 0;
}

static int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	char *end;
	unsigned long long n = strtoull(text, &end, 10);

	if (!*text || *end || n < min || n > max)
		return -EINVAL;
	*ret = n;
	return 0;
}

static int parse_seconds(const char *text, double *ret)
{
	char *end;
	double s = strtod(text, &end);

	if (!*text || *end || !(s >= 0 && s < 1e6))
		return -EINVAL;
	*ret = s;
	return 0;
}

static int flag(struct load *l, int f, const char *value)
{
	struct config *c = &l->cfg;
	uint64_t n = 0;
	int r = 0;

	switch (f) {
	case 'p':
		return choose_proto(&l->target, value);
	case 'c':
		l->target.where = value;
		return 0;
	case 'e':
		l->target.export = value;
		return 0;
	case 'o':
		c->op = value;
		return 0;
	case 'b':
		r = parse_size(value, 4u << 20, &n);
		l->target.block_bytes = (uint32_t)n;
		return r;
	case 'S':
		return parse_size(value, UINT64_MAX, &c->span_bytes);
	case 'd':
		r = parse_number(value, 1, 1024, &n);
		l->target.depth = (uint32_t)n;
		return r;
	case 'n':
		r = parse_number(value, 1, MAX_CONNS, &n);
		c->nr_conns = (uint32_t)n;
		return r;
	case 's':
		return parse_seconds(value, &c->seconds);
	case 'w':
		return parse_seconds(value, &c->warmup);
	case 'W':
		return parse_seconds(value, &c->wait);
	case 'N':
		return parse_number(value, 1, UINT64_MAX, &c->count);
	case 'm':
		r = parse_number(value, 0, 100, &n);
		c->write_percent = (uint32_t)n;
		return r;
	case 'C':
		r = parse_number(value, 0, CPU_SETSIZE - 1, &n);
		c->cpu = (int)n;
		return r;
	case 'k':
		r = parse_number(value, 1, INT32_MAX, &n);
		c->server = (pid_t)n;
		return r;
	case 'r':
		return parse_number(value, 0, UINT64_MAX, &c->seed);
	case 'P':
		c->spin = true;
		return 0;
	case 'f':
		c->prefill = true;
		return 0;
	case 'v':
		c->verify = true;
		return 0;
	case 'V':
		c->verify = c->verify_all = true;
		return 0;
	case '1':
		c->first = true;
		return 0;
	}
	return -EINVAL;
}

static int parse(struct load *l, int argc, char **argv)
{
	int f, i;

	while ((f = getopt_long(argc, argv, "", options, &i)) != -1) {
		if (f == 'h') {
			fputs(usage, stdout);
			exit(0);
		}
		if (f == '?')
			return -EINVAL;
		if (flag(l, f, optarg) < 0) {
			fprintf(stderr, "load: --%s %s: not possible; see --help\n",
				options[i].name, optarg);
			return -EINVAL;
		}
	}
	if (optind != argc || !l->target.proto || !l->target.where ||
	    (l->cfg.verify && l->target.block_bytes % WORKLOAD_CELL)) {
		fputs(usage, stderr);
		return -EINVAL;
	}
	if (!l->target.export)
		l->target.export = l->target.proto->default_export;
	/* A count given and no time: the count decides. */
	if (l->cfg.seconds == 0)
		l->cfg.seconds = l->cfg.count ? 1e5 : 1;
	return workload_choose(l);
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		perror("load: --cpu");
}

int main(int argc, char **argv)
{
	static struct load l = {
		.cfg = { .op = "randread",
			 .nr_conns = 1,
			 .cpu = -1,
			 .write_percent = 50 },
		.target = { .depth = 1, .block_bytes = 4096, .admin_fd = -1 },
	};
	int r;

	signal(SIGPIPE, SIG_IGN);
	if (parse(&l, argc, argv) < 0)
		return 2;
	if (l.cfg.cpu >= 0)
		pin(l.cfg.cpu);
	r = run(&l);
	for (uint32_t i = 0; i < l.nr_conns; i++)
		conn_close(&l.conns[i]);
	if (l.target.proto->close)
		l.target.proto->close(&l.target);
	workload_fini(&l.work);
	return r < 0 || l.work.errors ? 1 : 0;
}
