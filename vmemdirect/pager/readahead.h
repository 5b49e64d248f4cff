/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Carries the prefetcher's plans out: which pages of a plan are out and worth reading,
 * in runs, while there are room and buffers; what there was no room for is kept in mind
 * until there is. Fault thread only; nothing allocates.
 */
#ifndef VMEMDIRECT_PAGER_READAHEAD_H
#define VMEMDIRECT_PAGER_READAHEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "vmemdirect/pager/fill.h"
#include "vmemdirect/pager/prefetch.h"

struct readahead {
	struct pager *p;     /* borrowed */
	struct fills *fills; /* borrowed */
	struct prefetch prefetch;
	struct prefetch_plan rest; /* of the last plan, had there been room */
};

void readahead_init(struct readahead *a, struct pager *p, struct fills *fills);

/* This page was out, and is being read; or is on its way already. */
void readahead_on_fault(struct readahead *a, uint64_t pfn);
void readahead_on_inflight(struct readahead *a, uint64_t pfn);

/* Goes on with what had to wait. False: nothing had, or it still has to. */
bool readahead_more(struct readahead *a);

/* What the evictor's probes have told since the last call. */
void readahead_learn(struct readahead *a);

/* Everything back: starts to read the next run of pages that are out, from *pfn on, and
 * moves it behind them. False: there is none (*pfn is the end), no room or no buffer. */
bool readahead_bring_back(struct readahead *a, uint64_t *pfn);

#endif
