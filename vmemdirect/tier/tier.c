/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all kinds of tiers have in common: bounds and counters. Any thread. */
#include "vmemdirect/tier/tier.h"

#include <errno.h>
#include <stdatomic.h>

int tier_submit(struct tier_queue *q, struct tier_io *io)
{
	const struct tier *t = q->tier;

	if (!io->nr_pages || io->pfn >= t->nr_pages ||
	    io->nr_pages > t->nr_pages - io->pfn)
		return -EINVAL;
	return t->ops->submit(q, io);
}

static void count(_Atomic uint64_t *c, uint64_t n)
{
	atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}

void tier_finish(struct tier *t, struct tier_io *io, int result)
{
	uint64_t bytes = (uint64_t)io->nr_pages * TIER_PAGE_SIZE;

	if (result >= 0 && !io->discard) {
		count(io->write ? &t->writes : &t->reads, 1);
		count(io->write ? &t->written_bytes : &t->read_bytes, bytes);
	}
	io->result = result;
	io->done(io);
}

void tier_get_stats(const struct tier *t, struct tier_stats *ret)
{
	ret->read_bytes = atomic_load_explicit(&t->read_bytes, memory_order_relaxed);
	ret->written_bytes =
		atomic_load_explicit(&t->written_bytes, memory_order_relaxed);
	ret->reads = atomic_load_explicit(&t->reads, memory_order_relaxed);
	ret->writes = atomic_load_explicit(&t->writes, memory_order_relaxed);
	ret->size_bytes = t->size_bytes;
}

int tier_get_place(const struct tier *t, unsigned int i, struct tier_place *ret)
{
	return t->ops->place ? t->ops->place(t, i, ret) : -ENOENT;
}

bool tier_get_health(const struct tier *t, struct tier_health *ret)
{
	if (t->ops->health)
		t->ops->health(t, ret);
	return t->ops->health != NULL;
}
