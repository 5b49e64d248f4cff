/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which pages of a migration go to RAM. Without a history the stream itself tells: a
 * page that comes for the first time goes to RAM, in address order, until three
 * quarters of the room are used; the last quarter is for pages that are sent again,
 * which the guest writes to. With the source's access history: by threshold.h, into
 * seven eighths of the room; an eighth is for pages that were cold and are sent again.
 * Where the whole VM fits, all goes to RAM; where the tier is small, at least what it
 * cannot hold. Pure; router's thread.
 */
#ifndef VMEMDIRECT_MIGRATE_RULE_H
#define VMEMDIRECT_MIGRATE_RULE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmemdirect/guest.h"
#include "vmemdirect/history/threshold.h"

struct rule {
	uint64_t room;       /* pages that may be in RAM */
	uint64_t least_room; /* of these, have to be: the tier cannot hold them */
	uint64_t first_room; /* of these, for pages that come for the first time */
	uint8_t *score;      /* owned: of each page; NULL: no history */
	struct threshold by; /* as it was found */
	uint64_t equal_room; /* what is left of by.equal_room */
};

void rule_init(struct rule *r, uint64_t room, uint64_t nr_pages, uint64_t tier_pages);
void rule_fini(struct rule *r);

/* `age` is one byte for each page of the guest, copied. A chunk of `chunk_pages` is as
 * hot as its hottest page; 0 or 1: each page for itself. -ENOMEM. */
int rule_learn(struct rule *r, const struct guest *g, const uint8_t *age,
	       unsigned int chunk_pages);

/* A page came that is not in RAM, where `in_ram` others are: may it? */
bool rule_takes(struct rule *r, uint64_t pfn, bool again, uint64_t in_ram);

/* It was zero when it came for the first time: what was kept for it is free. */
void rule_zero(struct rule *r, uint64_t pfn);

#endif
