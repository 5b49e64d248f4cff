/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A page number in, RAM or not out. */
#include "vmemdirect/migrate/rule.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What is not kept for pages that are sent again; all of it where the tier needs that. */
static uint64_t first_room(const struct rule *r, uint64_t kept)
{
	uint64_t first = r->room - kept;

	return first < r->least_room ? r->least_room : first;
}

void rule_init(struct rule *r, uint64_t room, uint64_t nr_pages, uint64_t tier_pages)
{
	uint64_t least = tier_pages < nr_pages ? nr_pages - tier_pages : 0;

	*r = (struct rule){ .room = room, .least_room = least < room ? least : room };
	r->first_room = first_room(r, room >= nr_pages ? 0 : room / 4);
}

void rule_fini(struct rule *r)
{
	free(r->score);
	r->score = NULL;
}

int rule_learn(struct rule *r, const struct guest *g, const uint8_t *age,
	       unsigned int chunk_pages)
{
	uint8_t *score = malloc(g->nr_pages);

	if (!score)
		return -ENOMEM;
	memcpy(score, age, g->nr_pages);
	for (unsigned int i = 0; i < g->nr_blocks; i++)
		threshold_spread(score + g->block[i].first_pfn,
				 g->block[i].size_bytes >> GUEST_PAGE_SHIFT,
				 chunk_pages);
	if (r->room < g->nr_pages)
		r->first_room = first_room(r, r->room / 8);
	threshold_find(score, g->nr_pages, r->first_room, &r->by);
	r->equal_room = r->by.equal_room;
	free(r->score);
	r->score = score;
	return 0;
}

bool rule_takes(struct rule *r, uint64_t pfn, bool again, uint64_t in_ram)
{
	if (in_ram >= r->room)
		return false;
	if (again)
		return true;
	if (!r->score)
		return in_ram < r->first_room;
	if (r->score[pfn] != r->by.score)
		return r->score[pfn] > r->by.score;
	if (!r->equal_room)
		return false;
	r->equal_room--;
	return true;
}

void rule_zero(struct rule *r, uint64_t pfn)
{
	if (r->score && r->score[pfn] > r->by.score)
		r->equal_room++;
}
