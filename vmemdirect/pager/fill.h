/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bringing pages in: a fill is one read from the tier, of one page somebody waits for
 * or of a run that is expected to be wanted, and the copies that follow it. Used by
 * the fault thread only.
 */
#ifndef VMEMDIRECT_PAGER_FILL_H
#define VMEMDIRECT_PAGER_FILL_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/list.h"
#include "vmemdirect/pager/priv.h"

#define FILL_RUN_PAGES 64 /* pages of one prefetch read: 256 KiB */
#define FILL_SINGLES   64 /* demand reads under way at most */
#define FILL_RUNS      24 /* prefetch reads under way at most: 6 MiB of buffers */
#define FILL_RETRIES   3

struct fills;

/* Called when a demand page could not be given: the owner keeps it in mind and tries
 * again. `error`: -EIO the tier failed or its bytes are wrong, -ENOMEM the host has no
 * page, -ESRCH the process is gone. */
typedef void (*fill_failed_fn)(void *arg, uint64_t pfn, int error);

int fills_new(struct pager *p, fill_failed_fn failed, void *arg, struct fills **ret);
void fills_free(struct fills *f); /* NULL is fine; nothing under way */

/*
 * Starts to read one page its caller has moved to FILLING, room reserved. -EAGAIN: as
 * many are under way as can be; nothing changed.
 */
int fill_demand(struct fills *f, uint64_t pfn, bool write, uint64_t asked_ns);

/* The same for nr_pages (at most FILL_RUN_PAGES) in one block, nobody waiting, of which
 * those with their bit in `wanted` (bit 0: pfn) are FILLING and the others nobody's
 * business (tier_ops.gap_pages). Leaves half of the places for demand. `set`: flags the
 * pages get when they are there. */
int fill_run(struct fills *f, uint64_t pfn, uint32_t nr_pages, uint64_t wanted,
	     uint32_t set);

/* Gives zeros to a page its caller has moved to FILLING, room reserved. */
void fill_zero(struct fills *f, uint64_t pfn, uint64_t asked_ns);

/* Hands the reads over. What the tier cannot take now (no memory) is tried again at
 * each fills_reap; until then fills_unsent is true: do not sleep for long. */
void fills_kick(struct fills *f);
bool fills_unsent(const struct fills *f);

/* Tells the evictor of every page that is here: when it wants pages, and in a rest. */
void fills_unstage(struct fills *f);
bool fills_staged(const struct fills *f); /* is there any? */

/* Completes what has come. Returns how many reads. */
unsigned int fills_reap(struct fills *f);

unsigned int fills_under_way(const struct fills *f);
bool fills_has_run(const struct fills *f); /* a prefetch could start now */

/* To poll while something is under way, or -1. */
int fills_fd(const struct fills *f);

#endif
