/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the pages of a migration that comes in are put: straight into the guest's
 * memory object, gathered into large writes to the tier, or, zero pages, nowhere.
 *
 * What goes to RAM is rule.h's: by the source's access history where there is one,
 * else by what the stream tells. A page that is sent again overwrites the copy that
 * counts: in RAM where it is there, or can be there, else on the tier. Nothing is ever
 * read back or moved out. In the end the pager is told how hot each page is.
 *
 * Router's thread only, which shares the work with a thread for RAM; counters may be
 * read by any. Nothing allocates after place_new. After an error every call returns it:
 * the migration has failed, the source keeps the VM.
 */
#ifndef VMEMDIRECT_MIGRATE_PLACE_H
#define VMEMDIRECT_MIGRATE_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmemdirect/guest.h"
#include "vmemdirect/history/threshold.h"
#include "vmemdirect/pager/pager.h"
#include "vmemdirect/tier/tier.h"

struct place;

struct place_stats {
	/* Pages received, by what was done with them. */
	uint64_t to_ram, to_tier, zero;
	uint64_t again;         /* of these: sent before */
	uint64_t promoted;      /* of these: had been on the tier, now in RAM */
	uint64_t again_on_tier; /* of these: overwritten on the tier */
	uint64_t seen;          /* different pages */
	uint64_t in_ram;        /* pages, now */
	uint64_t tier_writes;   /* requests */
	/* By access history, all constant once it is there. */
	bool by_history;
	uint32_t samples;                   /* looks behind it */
	struct threshold rule;              /* threshold and histogram */
	uint64_t history_ram, history_tier; /* first comings it sent there */
};

/* Empties the guest's memory objects first. The arguments are borrowed. */
int place_new(const struct guest *g, struct page_table *t, struct tier *tier,
	      uint64_t limit_pages, struct place **ret);
void place_free(struct place *p); /* NULL is fine; waits for what is under way */

/* The source's access history: a byte for each page and the looks behind it. `age` is
 * taken (free). Before the first page, and before others see `p`. */
int place_learn(struct place *p, uint8_t *age, uint32_t samples,
		unsigned int chunk_pages);

/* One page; `bytes` must stay until place_wait with a ticket drawn later. */
int place_page(struct place *p, uint64_t pfn, const uint8_t *bytes);
int place_zero(struct place *p, uint64_t pfn);

/* A ticket for all bytes given so far; once it was waited for they are copied and the
 * caller may use their buffer again. */
uint64_t place_post(struct place *p);
int place_wait(struct place *p, uint64_t ticket);

/* Both: they are copied now. */
int place_settle(struct place *p);

/* Writes to the tier go on only while somebody reaps: before it waits for something else
 * the caller polls this descriptor (-1: nothing is under way), and reaps when it is
 * readable. */
int place_fd(const struct place *p);
void place_reap(struct place *p);

/* All pages are where they belong, the tier's acknowledged. */
int place_barrier(struct place *p);

void place_get_stats(const struct place *p, struct place_stats *ret);

#endif
