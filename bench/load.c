// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The load client: one program for all protocols, so that what is compared is the
 * servers. In come an address and a workload, out goes one JSON object: IOPS, MB/s,
 * latencies, the server's CPU time. One thread, pinned where told; it sleeps in
 * recv or poll, or spins.
 */
#include <errno.h>
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
#include <unistd.h>

#include "bench/lib/conn.h"
#include "bench/lib/cputime.h"
#include "bench/lib/options.h"
#include "bench/lib/workload.h"
#include "lib/tls.h"

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
	/* What others took of the burst, as fractions: this thread and the server's
	 * waited for their CPUs, the server's was busy with something else. */
	double client_waited, server_waited, server_cpu_lost;
	uint64_t ios;
};

static int burst(struct load *l, struct result *ret)
{
	const struct config *c = &l->cfg;
	const struct cputime self = { .pid = { getpid() }, .nr = 1 };
	struct cputime server = { 0 };
	uint64_t start, end, cpu, busy, waited, server_waited;
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
	busy = cputime_busy(c->server_cpu);
	server_waited = cputime_waited(&server);
	waited = cputime_waited(&self);
	cpu = cputime_read(&server);
	start = conn_now_ns();
	r = phase(l, in_seconds(c->seconds), c->count ? c->count : UINT64_MAX);
	end = conn_now_ns();
	ret->seconds = (double)(end - start) / 1e9;
	ret->cpu_seconds = (double)(cputime_read(&server) - cpu) / 1e9;
	waited = cputime_waited(&self) - waited;
	server_waited = cputime_waited(&server) - server_waited;
	ret->client_waited = (double)waited / 1e9 / ret->seconds;
	ret->server_waited = (double)server_waited / 1e9 / ret->seconds;
	busy = cputime_busy(c->server_cpu) - busy;
	ret->server_cpu_lost = ((double)busy / 1e9 - ret->cpu_seconds) / ret->seconds;
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
	printf(", \"client_waited\": %.3f", res->client_waited);
	if (l->cfg.server && l->cfg.server_cpu >= 0)
		printf(", \"server_waited\": %.3f, \"server_cpu_lost\": %.3f",
		       res->server_waited, res->server_cpu_lost);
	if (l->cfg.verify)
		printf(", \"cells_verified\": %" PRIu64 ", \"errors\": %" PRIu64,
		       l->work.cells_verified, l->work.errors);
	printf("}\n");
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

/* A client that is connected and has nothing to say. */
static int run_idle(struct load *l)
{
	struct cputime server = { 0 };
	uint64_t start, cpu;
	int r = phase(l, UINT64_MAX, 1);

	if (r >= 0 && l->cfg.server)
		r = cputime_find(l->cfg.server, &server);
	if (r < 0)
		return r;
	cpu = cputime_read(&server);
	start = conn_now_ns();
	usleep((useconds_t)(l->cfg.idle * 1e6));
	printf("{\"idle_cpu_percent\": %.4f}\n",
	       100.0 * (double)(cputime_read(&server) - cpu) /
		       (double)(conn_now_ns() - start));
	return 0;
}

static int run(struct load *l)
{
	struct result res;
	int r = open_all(l);

	if (r >= 0 && l->cfg.first)
		return run_first(l);
	if (r >= 0 && l->cfg.idle > 0)
		return run_idle(l);
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
			 .server_cpu = -1,
			 .write_percent = 50 },
		.target = { .depth = 1, .block_bytes = 4096, .admin_fd = -1 },
	};
	int r;

	signal(SIGPIPE, SIG_IGN);
	if (options_parse(&l, argc, argv) < 0)
		return 2;
	if (l.cfg.cpu >= 0)
		pin(l.cfg.cpu);
	r = run(&l);
	for (uint32_t i = 0; i < l.nr_conns; i++)
		conn_close(&l.conns[i]);
	if (l.target.proto->close)
		l.target.proto->close(&l.target);
	tls_put(l.target.tls);
	free(l.target.secret);
	workload_fini(&l.work);
	return r < 0 || l.work.errors ? 1 : 0;
}
