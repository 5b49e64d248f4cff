/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A block that the process has unmapped in, holes and empty page words out: nobody can
 * ask for its pages, so that they need no memory, no room on the tier and no way back.
 * Our descriptor is the last that holds its object. Evictor's thread, no batch under way.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lib/log.h"
#include "vmemdirect/pager/priv.h"

/* True: absent, or PUNCHING and ours. False: somebody else's for now (FILLING). */
static bool take(struct page *pg)
{
	for (;;)
		switch (page_state(page_word(pg))) {
		case PAGE_ABSENT:
			if (page_flags_if(pg, PAGE_ABSENT, PAGE_ZERO,
					  PAGE_STORED | PAGE_LOST))
				return true;
			break;
		case PAGE_RESIDENT:
			page_move(pg, PAGE_RESIDENT, PAGE_EVICTING, 0, 0, NULL);
			break;
		case PAGE_EVICTING:
			page_move(pg, PAGE_EVICTING, PAGE_PUNCHING, PAGE_ZERO,
				  PAGE_STORED, NULL);
			break;
		case PAGE_PUNCHING:
			return true;
		case PAGE_FILLING:
			return false;
		}
}

bool unplug_drop(struct pager *p, unsigned int block)
{
	const struct guest_block *b = &p->g->block[block];
	struct page *page = p->t->page;
	uint64_t nr = b->size_bytes >> GUEST_PAGE_SHIFT, freed = 0;
	bool all = true;

	for (uint64_t i = b->first_pfn; i < guest_block_end(b); i++)
		all &= take(&page[i]);
	if (fallocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (off_t)b->offset, (off_t)b->size_bytes) < 0)
		vm_warn(p->g, "%s: its memory stays until the detach: %s", b->name,
			strerror(errno));
	for (uint64_t i = b->first_pfn; i < guest_block_end(b); i++)
		freed += page_move(&page[i], PAGE_PUNCHING, PAGE_ABSENT, 0,
				   PAGE_WANTED | PAGE_OF_STAY, NULL);
	if (all)
		tier_forget(p->tier, b->first_pfn, nr);
	pager_release(p, freed);
	return all;
}
