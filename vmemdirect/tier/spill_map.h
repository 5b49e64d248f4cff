/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which page lies where: for every page of the guest one 64-bit entry with up to two
 * copies, and for every place (the SSD, an export) which of its slots (4 KiB each) are
 * in use. The entries are a file that is mapped shared, with the places in its header:
 * what --resume needs. The slots' bitmaps are made from it, but for one that is in it:
 * where something was under way (allocated or being written, trimmed, held) when the
 * daemon was killed. It is held, and no page lies there any more.
 *
 * A slot's way: free -> used -> (given back) to be trimmed -> trimming -> free. A slot
 * whose last write or trimming was never answered is held for a while instead, lest a
 * server that was only stopped does it to somebody else's page.
 *
 * Entries are changed by the page's owner (tier.h) and by the keeper's repair, which
 * adds a copy to an entry only while it has a claim on the page and nobody writes it.
 * Any thread; one lock around everything but reading an entry; it is held for
 * microseconds and never while waiting. Nothing allocates after the opening.
 */
#ifndef VMEMDIRECT_TIER_SPILL_MAP_H
#define VMEMDIRECT_TIER_SPILL_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "vmemdirect/tier/nbd_export.h"

#define SPILL_PLACES_MAX 17 /* the SSD and 16 exports */
#define SPILL_COPIES_MAX 2
#define SPILL_SLOT_BITS  27 /* 512 GiB a place */
#define SPILL_SLOTS_MAX  (UINT64_C(1) << SPILL_SLOT_BITS)
#define SPILL_PATH_MAX   256

/* One copy: place and slot; 0 is none. */
typedef uint32_t spill_copy_t;

static inline spill_copy_t spill_copy(unsigned int place, uint64_t slot)
{
	return (place + 1) << SPILL_SLOT_BITS | (uint32_t)slot;
}

static inline unsigned int spill_place_of(spill_copy_t c)
{
	return (c >> SPILL_SLOT_BITS) - 1;
}

static inline uint64_t spill_slot_of(spill_copy_t c)
{
	return c & ((UINT32_C(1) << SPILL_SLOT_BITS) - 1);
}

struct spill_copies {
	spill_copy_t copy[SPILL_COPIES_MAX]; /* those that are come first */
};

/* (In the file: plain bytes.) */
struct spill_place {
	uint64_t nr_slots;
	bool local; /* the SSD: `path`; needs no second copy. Else `export` */
	char path[SPILL_PATH_MAX];
	struct nbd_export export;
};

struct spill_places {
	uint64_t nr_pages;   /* of the guest */
	unsigned int copies; /* of each page that lies on exports */
	unsigned int nr;
	struct spill_place place[SPILL_PLACES_MAX];
};

struct spill_usage {
	uint64_t free, used; /* slots; `used` counts all that are not free */
	uint64_t to_trim, held;
};

/* Places that are not there, a bit each. */
struct spill_away {
	uint32_t down; /* what lies there cannot be had now */
	uint32_t gone; /* of these: nor is it waited for; copies are made elsewhere */
};

struct spill_map;

/* Makes the file anew. -errno. */
int spill_map_create(const char *path, const struct spill_places *places,
		     struct spill_map **ret);

/* Opens it again; *ret_places are those it was made with. -EPROTO: not one of ours. */
int spill_map_open(const char *path, struct spill_places *ret_places,
		   struct spill_map **ret);

void spill_map_close(struct spill_map *m); /* keeps the file; NULL is fine */

/* Where a page lies. Lock-free. */
struct spill_copies spill_map_get(const struct spill_map *m, uint64_t pfn);

/* It lies there now; nothing is done about where it lay. */
void spill_map_set(struct spill_map *m, uint64_t pfn, struct spill_copies c);

/* Up to `max` slots in a row of a place, at *ret_slot; 0: it is full. */
uint32_t spill_map_alloc(struct spill_map *m, unsigned int place, uint32_t max,
			 uint64_t *ret_slot);

/* Slots that are no longer needed: to be trimmed, or (never written) free at once. */
void spill_map_give_back(struct spill_map *m, spill_copy_t first, uint32_t nr);
void spill_map_free(struct spill_map *m, spill_copy_t first, uint32_t nr);

/* Slots nobody may use for a while. */
void spill_map_hold(struct spill_map *m, spill_copy_t first, uint32_t nr);

/* The end of that: to be trimmed, all of a place, if the last was held more than `ms`
 * ago. */
void spill_map_release(struct spill_map *m, unsigned int place, int64_t ms);

/* Forgets pages: entries emptied, slots given back. */
void spill_map_forget(struct spill_map *m, uint64_t pfn, uint32_t nr);

/* A run of slots to trim, at most `max`; 0: none. spill_map_free or _give_back ends
 * that. */
uint32_t spill_map_take_trim(struct spill_map *m, unsigned int place, uint32_t max,
			     uint64_t *ret_slot);

/*
 * Repair, while copies == 2. claim: the next pages in a row, at most `max`, from `from`
 * on that have one copy, not counting those that are gone, on one export that is not
 * down, in neighbouring slots from *ret_first on; 0: none up to *ret_pfn (it looks at
 * some thousand at a time). Until _repaired (which makes those that begin at `second`
 * the other copies, instead of what is gone, or with 0 leaves all as it is) writers of
 * these pages have to wait: writing says whether they must, and until written the pages
 * cannot be claimed. One claim at a time.
 */
uint32_t spill_map_claim(struct spill_map *m, const struct spill_away *away,
			 uint64_t from, uint32_t max, uint64_t *ret_pfn,
			 spill_copy_t *ret_first);
/* False: the pages were forgotten meanwhile; the new slots are still the caller's. */
bool spill_map_repaired(struct spill_map *m, spill_copy_t second);
bool spill_map_writing(struct spill_map *m, uint64_t pfn, uint32_t nr);
void spill_map_written(struct spill_map *m, uint64_t pfn, uint32_t nr);

void spill_map_usage(struct spill_map *m, unsigned int place, struct spill_usage *ret);

/* Pages on exports of which fewer copies can be had than there should be: `down` are
 * the places that are not there. Lock-free. */
uint64_t spill_map_degraded(const struct spill_map *m, uint32_t down);

#endif
