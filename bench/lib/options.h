/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the load client is told to do, and its state. Read once at start.
 */
#ifndef BENCH_LIB_OPTIONS_H
#define BENCH_LIB_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bench/lib/conn.h"
#include "bench/lib/lat.h"
#include "bench/lib/workload.h"

#define MAX_CONNS 256

struct config {
	const char *op;
	uint64_t span_bytes, count, seed;
	double seconds, warmup, wait;
	uint32_t nr_conns, write_percent;
	int cpu, server_cpu;
	pid_t server;
	double idle;
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

/*
 * Fills `l->cfg`, `l->target` and the operation of `l->work` over the defaults they
 * hold. -EINVAL after saying what was wrong; --help prints and exits.
 */
int options_parse(struct load *l, int argc, char **argv);

#endif
