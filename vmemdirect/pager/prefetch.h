/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What to read next: pure decisions, from the numbers of the pages that faulted.
 *
 * - A stream is a row of pages, `stride` apart, that is being walked. Where its last
 *   prefetch ended is where its next fault is expected: if it comes there, all that
 *   was fetched was used, and the window doubles. A fault on a page that is still on
 *   its way says how far the walker is, and the stream is extended before it is dry.
 * - A new stream is found by a majority vote over the last deltas, the newest 8, then
 *   16, then 32 (Leap, Al Maruf and Chowdhury, ATC'20). Where walkers and random
 *   faults are mixed there is no majority: three neighbours among the last 32 faults
 *   make a stream, too.
 * - Without a trend, an aligned cluster around the fault. How big it is, probes tell:
 *   now and then one cluster is fetched in a way that shows whether it was touched.
 *
 * Fault thread only; no I/O, no allocation.
 */
#ifndef VMEMDIRECT_PAGER_PREFETCH_H
#define VMEMDIRECT_PAGER_PREFETCH_H

#include <stdbool.h>
#include <stdint.h>

#define PREFETCH_STREAMS 16
#define PREFETCH_HISTORY 32

struct prefetch_stream {
	uint64_t next; /* the first page that was not asked for */
	int64_t stride;
	uint32_t window; /* pages */
	uint64_t used;   /* by age of use; 0: free */
};

struct prefetch {
	uint32_t max_window; /* 0: never prefetch */
	uint64_t nr_pages, faults, last_pfn;
	int64_t delta[PREFETCH_HISTORY];
	uint64_t recent[PREFETCH_HISTORY];
	unsigned int nr_deltas, next_delta;
	uint32_t cluster; /* pages, a power of two; 1: none */
	uint32_t probe_hits, probe_misses;
	struct prefetch_stream stream[PREFETCH_STREAMS];
};

/* Pages pfn, pfn + stride, ... nr of them; all below nr_pages. */
struct prefetch_plan {
	uint64_t pfn;
	int64_t stride;
	uint32_t nr;
	bool walk;  /* of a stream */
	bool probe; /* to be watched: prefetch_probed tells what came of it */
};

void prefetch_init(struct prefetch *f, uint64_t nr_pages, uint32_t max_window);

/* A page was out and is being read on demand. False: nothing more to read. */
bool prefetch_on_fault(struct prefetch *f, uint64_t pfn, struct prefetch_plan *ret);

/* A page was wanted that is already on its way. */
bool prefetch_on_inflight(struct prefetch *f, uint64_t pfn, struct prefetch_plan *ret);

/* These pages, the end of a plan, are not fetched after all. */
void prefetch_cut(struct prefetch *f, const struct prefetch_plan *rest);

/* Of the pages of probes, so many were touched before they left, so many not. */
void prefetch_probed(struct prefetch *f, uint64_t hits, uint64_t misses);

#endif
