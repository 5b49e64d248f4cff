/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a migration has put where, into the page table, before the pager starts (one
 * thread, nobody else looks). pager_start's stock-taking then finds each page where
 * it was put: one that exists in the object is resident, whatever is written here.
 */
#include "vmemdirect/pager/hash.h"
#include "vmemdirect/pager/priv.h"

void pager_adopt_resident(struct page_table *t, uint64_t pfn)
{
	atomic_store(&t->page[pfn].word, PAGE_RESIDENT); /* what is stored is old */
}

void pager_adopt_stored(struct page_table *t, uint64_t pfn, const void *bytes)
{
	t->page[pfn].hash = hash_page(bytes, t->header->hash_key);
	atomic_store(&t->page[pfn].word, PAGE_ABSENT | PAGE_STORED);
}

void pager_adopt_zero(struct page_table *t, uint64_t pfn)
{
	atomic_store(&t->page[pfn].word, PAGE_ABSENT | PAGE_ZERO);
}

void pager_adopt_age(struct page_table *t, uint64_t pfn, uint8_t age)
{
	page_flags(&t->page[pfn], (uint32_t)age << PAGE_AGE_SHIFT, PAGE_AGE_MASK);
}

enum pager_place pager_adopted(const struct page_table *t, uint64_t pfn)
{
	uint32_t w = page_word(&t->page[pfn]);

	if (page_state(w) == PAGE_RESIDENT)
		return PAGER_IN_RAM;
	return w & PAGE_STORED ? PAGER_ON_TIER : PAGER_NOWHERE;
}

uint64_t pager_room(uint64_t limit_pages)
{
	uint64_t high = 3 * pager_least_room(limit_pages);

	return limit_pages > high ? limit_pages - high : 0;
}
