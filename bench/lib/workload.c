// SPDX-License-Identifier: GPL-2.0-or-later
/* Out go requests, in come finished ones to be checked. The engine's one thread. */
#include "bench/lib/workload.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/lib/pattern.h"

int workload_init(struct workload *w)
{
	w->cursor = 0;
	w->random_state = w->seed ? w->seed : 0x9e3779b97f4a7c15u;
	if (!w->verify)
		return 0;
	if (!w->generation)
		w->generation = calloc(w->nr_blocks, w->block_bytes / WORKLOAD_CELL);
	if (!w->busy)
		w->busy = calloc(w->nr_blocks, 1);
	return w->generation && w->busy ? 0 : -ENOMEM;
}

void workload_fini(struct workload *w)
{
	free(w->generation);
	free(w->busy);
}

static uint64_t next_random(struct workload *w)
{
	w->random_state ^= w->random_state >> 12;
	w->random_state ^= w->random_state << 25;
	w->random_state ^= w->random_state >> 27;
	return (w->random_state * 0x2545f4914f6cdd1du) >> 16;
}

static uint64_t next_block(struct workload *w)
{
	uint64_t block = (w->random ? next_random(w) : w->cursor++) % w->nr_blocks;

	while (w->verify && w->busy[block])
		block = (block + 1) % w->nr_blocks;
	return block;
}

static void write_cells(struct workload *w, struct request *r)
{
	uint64_t cell = r->offset / WORKLOAD_CELL;

	for (uint32_t at = 0; at < r->len_bytes; at += WORKLOAD_CELL, cell++) {
		/* 0 is taken: never written. */
		w->generation[cell] = (uint8_t)(w->generation[cell] % 255 + 1);
		pattern_fill(r->data + at, WORKLOAD_CELL, cell, w->generation[cell]);
	}
}

void workload_next(struct workload *w, struct request *r)
{
	uint64_t block = next_block(w);

	r->op = w->op;
	if (w->mix)
		r->op = next_random(w) % 100 < w->write_percent ? IO_WRITE : IO_READ;
	r->offset = block * w->block_bytes;
	r->len_bytes = w->block_bytes;
	if (!w->verify)
		return;
	w->busy[block] = 1;
	if (r->op == IO_WRITE)
		write_cells(w, r);
}

static void check_cells(struct workload *w, struct request *r)
{
	uint64_t cell = r->offset / WORKLOAD_CELL;
	size_t wrong = 0;

	for (uint32_t at = 0; at < r->len_bytes; at += WORKLOAD_CELL, cell++) {
		if (!w->generation[cell])
			continue;
		w->cells_verified++;
		if (pattern_check(r->data + at, WORKLOAD_CELL, cell,
				  w->generation[cell], &wrong) ||
		    w->errors++ >= 8)
			continue;
		fprintf(stderr, "wrong byte at offset %" PRIu64 ", generation %u\n",
			r->offset + at + wrong, w->generation[cell]);
	}
}

static void forget_cells(struct workload *w, struct request *r)
{
	for (uint32_t at = 0; at < r->len_bytes; at += WORKLOAD_CELL)
		w->generation[(r->offset + at) / WORKLOAD_CELL] = 0;
}

void workload_done(struct workload *w, struct request *r)
{
	if (!w->verify)
		return;
	w->busy[r->offset / w->block_bytes] = 0;
	if (r->op == IO_READ)
		check_cells(w, r);
	else if (r->op == IO_TRIM)
		forget_cells(w, r);
}
