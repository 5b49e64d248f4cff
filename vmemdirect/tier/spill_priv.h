/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the spill tier share. Not for others. */
#ifndef VMEMDIRECT_TIER_SPILL_PRIV_H
#define VMEMDIRECT_TIER_SPILL_PRIV_H

#include <stdatomic.h>

#include "vmemdirect/tier/nbd.h"
#include "vmemdirect/tier/spill.h"

struct spill_keeper;

struct spill_tier {
	struct tier tier;
	struct spill_map *map; /* owned */
	struct spill_places places;
	struct tier *place[SPILL_PLACES_MAX];            /* owned */
	_Atomic int64_t full_until_ms[SPILL_PLACES_MAX]; /* the server said ENOSPC */
	struct spill_keeper *keeper;                     /* owned */
};

/* Is it there? (The SSD always.) */
static inline bool spill_is_up(const struct spill_tier *t, unsigned int place)
{
	return t->places.place[place].local ||
	       nbd_tier_state(t->place[place]) == NBD_UP;
}

/* The places that are not, a bit each. */
uint32_t spill_down(const struct spill_tier *t);

/*
 * The place with most room that is up and is not on host `but` (-1: any), nor full;
 * the SSD before all others if `local`. -1: none.
 */
int spill_choose(struct spill_tier *t, bool local, int but);

/* spill_keep.c */
int spill_keeper_start(struct spill_tier *t, struct spill_keeper **ret);
void spill_keeper_stop(struct spill_keeper *k); /* NULL is fine; frees it */

/* spill_io.c: the queues */
int spill_queue_open(struct tier *tier, unsigned int depth, struct tier_queue **ret);
void spill_queue_close(struct tier_queue *queue);
int spill_submit(struct tier_queue *queue, struct tier_io *io);
int spill_kick(struct tier_queue *queue);
unsigned int spill_reap(struct tier_queue *queue);
int spill_wait(struct tier_queue *queue);
int spill_fd(const struct tier_queue *queue);

#endif
