/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which block is next, and, when asked, whether what is read is what was written:
 * each 4 KiB cell has a generation and a pattern made of both (pattern.h). One
 * thread.
 */
#ifndef BENCH_LIB_WORKLOAD_H
#define BENCH_LIB_WORKLOAD_H

#include "bench/lib/conn.h"

#define WORKLOAD_CELL 4096u

struct workload {
	/* Chosen by the caller. */
	enum io_op op;
	_Bool mix, random, verify;
	uint32_t block_bytes, write_percent; /* of a mix */
	uint64_t nr_blocks, seed;

	uint64_t cursor, random_state;
	/* verify: 0 is "never written by us", which nothing is expected of */
	uint8_t *generation; /* per cell */
	uint8_t *busy;       /* per block: two requests to one block have no order */
	uint64_t cells_verified, errors;
};

/* -ENOMEM. Call again to start another pass with other choices and the same record. */
int workload_init(struct workload *w);
void workload_fini(struct workload *w);

/* Fills in op, offset, length and, when verified, the data of a request. */
void workload_next(struct workload *w, struct request *r);
/* Checks a read; a wrong byte is counted and the first ones are told. */
void workload_done(struct workload *w, struct request *r);

#endif
