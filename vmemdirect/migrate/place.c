/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages in, three kinds of places out; the router's thread. RAM: neighbours are
 * collected into runs that a thread of its own writes (ramwrite.h), without a page
 * fault (one per 4 KiB is what plain QEMU pays on arrival). Tier: neighbours are
 * gathered into 1 MiB buffers and written asynchronously; a write never overtakes
 * another of the same pages. So receiving, RAM and tier go on side by side.
 */
#include "vmemdirect/migrate/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/fault.h"
#include "lib/list.h"
#include "lib/log.h"
#include "vmemdirect/migrate/ramwrite.h"
#include "vmemdirect/migrate/rule.h"

#define GATHER_PAGES 256 /* of one write to the tier: 1 MiB */
#define GATHERS      16
#define GAP_PAGES    16 /* this many pages nobody needs are written along */

struct gather {
	struct tier_io io;
	struct place *owner;
	bool under_way;
};

struct place {
	const struct guest *g;
	struct page_table *t;
	struct tier_queue *queue; /* owned */
	struct rule rule;
	uint8_t *sent; /* owned: how often each page came, up to 255 */
	uint8_t *age;  /* owned: the source's access history, or NULL */
	uint32_t samples;
	int error;

	struct ramwrite *ram; /* owned */

	uint8_t *buffers;    /* owned mapping */
	struct gather *open; /* the one that is being filled, or NULL */
	unsigned int under_way;
	struct gather gather[GATHERS];

	_Atomic uint64_t to_ram, to_tier, zero, again, promoted, again_on_tier, seen,
		in_ram, tier_writes, history_ram, history_tier;
};

/* One thread writes them. */
static void count(_Atomic uint64_t *c, uint64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static uint64_t counted(const _Atomic uint64_t *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

static int fail(struct place *p, int error)
{
	if (!p->error)
		p->error = error;
	return p->error;
}

/* ---- RAM ---- */

static int punch(struct place *p, uint64_t pfn, uint64_t nr)
{
	const struct guest_block *b = guest_block_of(p->g, pfn);

	return fallocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 (off_t)guest_offset(b, pfn),
			 (off_t)(nr << GUEST_PAGE_SHIFT)) < 0
		       ? -errno
		       : 0;
}

uint64_t place_post(struct place *p)
{
	int r = ramwrite_post(p->ram);

	if (r < 0)
		fail(p, r);
	return ramwrite_posted(p->ram);
}

int place_wait(struct place *p, uint64_t ticket)
{
	int r = ramwrite_wait(p->ram, ticket);

	return r < 0 ? fail(p, r) : p->error;
}

int place_settle(struct place *p)
{
	return place_wait(p, place_post(p));
}

static int to_ram(struct place *p, uint64_t pfn, const uint8_t *bytes)
{
	struct ramwrite_run *run = ramwrite_open(p->ram);
	uint64_t end = run->pfn + run->nr;

	if (run->nr && (pfn != end || run->nr == RAMWRITE_PAGES ||
			pfn >= guest_block_end(guest_block_of(p->g, run->pfn)))) {
		place_post(p);
		run = ramwrite_open(p->ram);
	}
	if (!run->nr)
		run->pfn = pfn;
	run->page[run->nr++] = (struct iovec){ (void *)bytes, GUEST_PAGE_SIZE };
	pager_adopt_resident(p->t, pfn);
	count(&p->to_ram, 1);
	return p->error;
}

/* ---- the tier ---- */

static void written(struct tier_io *io)
{
	struct gather *g = container_of(io, struct gather, io);
	struct place *p = g->owner;

	g->under_way = false;
	p->under_way--;
	if (io->result < 0 && !p->error)
		vm_err(p->g, "writing to the tier failed: %s", strerror(-io->result));
	if (io->result < 0)
		fail(p, io->result);
}

int place_fd(const struct place *p)
{
	return p->under_way ? tier_fd(p->queue) : -1;
}

void place_reap(struct place *p)
{
	tier_reap(p->queue);
}

static void wait_some(struct place *p)
{
	if (!tier_reap(p->queue)) {
		tier_wait(p->queue);
		tier_reap(p->queue);
	}
}

static bool overlaps_writes(const struct place *p, uint64_t pfn, uint64_t nr)
{
	for (unsigned int i = 0; i < GATHERS; i++) {
		const struct gather *g = &p->gather[i];

		if (g->under_way && pfn < g->io.pfn + g->io.nr_pages &&
		    g->io.pfn < pfn + nr)
			return true;
	}
	return false;
}

/* Hands the open buffer over. */
static int close_gather(struct place *p)
{
	struct gather *g = p->open;
	int r;

	if (!g)
		return p->error;
	p->open = NULL;
	while (overlaps_writes(p, g->io.pfn, g->io.nr_pages))
		wait_some(p);
	r = tier_submit(p->queue, &g->io);
	if (!r) {
		g->under_way = true;
		p->under_way++;
		count(&p->tier_writes, 1);
		r = tier_kick(p->queue);
	}
	tier_reap(p->queue);
	return r < 0 ? fail(p, r) : p->error;
}

static struct gather *free_gather(struct place *p)
{
	for (;;) {
		for (unsigned int i = 0; i < GATHERS; i++)
			if (!p->gather[i].under_way)
				return &p->gather[i];
		wait_some(p);
	}
}

static uint8_t *gather_page(const struct gather *g, uint32_t i)
{
	return (uint8_t *)g->io.buf + (size_t)i * GUEST_PAGE_SIZE;
}

/* Can the open buffer be filled up to this page with pages nobody needs? */
static bool bridge(struct place *p, uint64_t pfn)
{
	struct gather *g = p->open;
	uint64_t end = g->io.pfn + g->io.nr_pages;

	if (pfn < end || pfn - end > GAP_PAGES || pfn - g->io.pfn >= GATHER_PAGES ||
	    (pfn > end && p->queue->tier->ops->forget)) /* room for them is dear */
		return false;
	for (uint64_t i = end; i < pfn; i++)
		if (pager_adopted(p->t, i) == PAGER_ON_TIER)
			return false;
	for (; end < pfn; end++)
		memset(gather_page(g, g->io.nr_pages++), 0, GUEST_PAGE_SIZE);
	return true;
}

static int to_tier(struct place *p, uint64_t pfn, const uint8_t *bytes)
{
	struct gather *g;
	uint8_t *copy;

	if (p->open && !bridge(p, pfn) && close_gather(p) < 0)
		return p->error;
	if (!p->open) {
		p->open = free_gather(p);
		p->open->io.pfn = pfn;
		p->open->io.nr_pages = 0;
	}
	g = p->open;
	copy = gather_page(g, g->io.nr_pages++);
	memcpy(copy, bytes, GUEST_PAGE_SIZE);
	pager_adopt_stored(p->t, pfn, copy); /* (in the stream it is not aligned) */
	count(&p->to_tier, 1);
	return g->io.nr_pages == GATHER_PAGES ? close_gather(p) : p->error;
}

/* It moves to RAM, or is zero. On a tier that is small another page may need its slot
 * before the barrier; what is being written of it is waited for. */
static int leave_tier(struct place *p, uint64_t pfn)
{
	const struct gather *g = p->open;

	if (!tier_is_small(p->queue->tier))
		return p->error;
	if (g && pfn - g->io.pfn < g->io.nr_pages && close_gather(p) < 0)
		return p->error;
	while (overlaps_writes(p, pfn, 1))
		wait_some(p);
	tier_forget(p->queue->tier, pfn, 1);
	return p->error;
}

/* ---- which ---- */

/* Was it sent before? */
static bool note_sent(struct place *p, uint64_t pfn)
{
	bool again = p->sent[pfn] > 0;

	if (p->sent[pfn] < UINT8_MAX)
		p->sent[pfn]++;
	count(again ? &p->again : &p->seen, 1);
	return again;
}

int place_page(struct place *p, uint64_t pfn, const uint8_t *bytes)
{
	enum pager_place at = pager_adopted(p->t, pfn);
	bool again = note_sent(p, pfn);

	if (p->error)
		return p->error;
	/* So that the tests can show that they would notice a lost update. */
	if (again && fault_point("place.again") < 0)
		return 0;
	if (at == PAGER_IN_RAM)
		return to_ram(p, pfn, bytes);
	if (rule_takes(&p->rule, pfn, again, counted(&p->in_ram))) {
		count(&p->in_ram, 1);
		count(&p->history_ram, p->age && !again);
		count(&p->promoted, at == PAGER_ON_TIER);
		if (at == PAGER_ON_TIER && leave_tier(p, pfn) < 0)
			return p->error;
		return to_ram(p, pfn, bytes);
	}
	count(&p->again_on_tier, at == PAGER_ON_TIER);
	count(&p->history_tier, p->age && !again);
	return to_tier(p, pfn, bytes);
}

int place_zero(struct place *p, uint64_t pfn)
{
	enum pager_place at = pager_adopted(p->t, pfn);
	bool again = note_sent(p, pfn);
	int r = 0;

	if (p->error)
		return p->error;
	if (again && fault_point("place.again") < 0)
		return 0;
	count(&p->zero, 1);
	if (!again)
		rule_zero(&p->rule, pfn);
	if (at == PAGER_NOWHERE)
		return 0;
	if (at == PAGER_IN_RAM) {
		r = place_settle(p); /* it may be on its way */
		if (!r)
			r = punch(p, pfn, 1);
		atomic_fetch_sub(&p->in_ram, 1);
	} else {
		r = leave_tier(p, pfn);
	}
	pager_adopt_zero(p->t, pfn);
	return r < 0 ? fail(p, r) : 0;
}

/* One notion of hot: who wrote while the migration ran was touched just now, and the
 * oftener the hotter. */
static void tell_ages(struct place *p)
{
	for (uint64_t i = 0; i < p->t->nr_pages; i++) {
		unsigned int again = p->sent[i] > 1 ? p->sent[i] - 1u : 0;
		uint8_t age = p->age ? p->age[i] : 0;

		if (again)
			age |= (uint8_t)(0xff00 >> (again < 8 ? again : 8));
		pager_adopt_age(p->t, i, age);
	}
}

/* What lies on the tier and counts no more, for it moved to RAM or became zero. */
static void forget_old(struct place *p)
{
	for (uint64_t i = 0; i < p->t->nr_pages; i++)
		if (pager_adopted(p->t, i) != PAGER_ON_TIER)
			tier_forget(p->queue->tier, i, 1);
}

int place_barrier(struct place *p)
{
	place_settle(p);
	close_gather(p);
	while (p->under_way)
		wait_some(p);
	if (!p->error)
		tell_ages(p);
	if (p->queue->tier->ops->forget)
		forget_old(p);
	return p->error;
}

/* ---- life ---- */

static int empty_guest(struct place *p)
{
	for (unsigned int i = 0; i < p->g->nr_blocks; i++) {
		const struct guest_block *b = &p->g->block[i];
		int r = punch(p, b->first_pfn, b->size_bytes >> GUEST_PAGE_SHIFT);

		if (r < 0) {
			vm_err(p->g, "%s cannot be emptied: %s", b->name, strerror(-r));
			return r;
		}
	}
	for (uint64_t i = 0; i < p->t->nr_pages; i++)
		pager_adopt_zero(p->t, i);
	return 0;
}

int place_new(const struct guest *g, struct page_table *t, struct tier *tier,
	      uint64_t limit_pages, struct place **ret)
{
	struct place *p = calloc(1, sizeof(*p));
	size_t bytes = (size_t)GATHERS * GATHER_PAGES * GUEST_PAGE_SIZE;
	int r = -ENOMEM;

	if (!p)
		return r;
	p->g = g;
	p->t = t;
	rule_init(&p->rule, pager_room(limit_pages), t->nr_pages, tier->room_pages);
	p->sent = calloc(t->nr_pages, 1);
	p->buffers = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p->buffers == MAP_FAILED)
		p->buffers = NULL;
	if (!p->sent || !p->buffers)
		goto fail;
	for (unsigned int i = 0; i < GATHERS; i++) {
		p->gather[i].owner = p;
		p->gather[i].io = (struct tier_io){
			.buf = p->buffers + (size_t)i * GATHER_PAGES * GUEST_PAGE_SIZE,
			.write = true,
			.done = written,
		};
	}
	r = tier_queue_open(tier, GATHERS, &p->queue);
	if (!r)
		r = empty_guest(p);
	if (!r)
		r = ramwrite_new(g, &p->ram);
	if (r < 0)
		goto fail;
	*ret = p;
	return 0;
fail:
	place_free(p);
	return r;
}

void place_free(struct place *p)
{
	if (!p)
		return;
	ramwrite_free(p->ram);
	while (p->under_way)
		wait_some(p);
	tier_queue_close(p->queue);
	if (p->buffers)
		munmap(p->buffers, (size_t)GATHERS * GATHER_PAGES * GUEST_PAGE_SIZE);
	rule_fini(&p->rule);
	free(p->age);
	free(p->sent);
	free(p);
}

int place_learn(struct place *p, uint8_t *age, uint32_t samples,
		unsigned int chunk_pages)
{
	int r = rule_learn(&p->rule, p->g, age, chunk_pages);

	if (r < 0) {
		free(age);
		return r;
	}
	free(p->age);
	p->age = age;
	p->samples = samples;
	return 0;
}

void place_get_stats(const struct place *p, struct place_stats *ret)
{
	*ret = (struct place_stats){
		.to_ram = counted(&p->to_ram),
		.to_tier = counted(&p->to_tier),
		.zero = counted(&p->zero),
		.again = counted(&p->again),
		.promoted = counted(&p->promoted),
		.again_on_tier = counted(&p->again_on_tier),
		.seen = counted(&p->seen),
		.in_ram = counted(&p->in_ram),
		.tier_writes = counted(&p->tier_writes),
		.by_history = p->age,
		.samples = p->samples,
		.rule = p->rule.by,
		.history_ram = counted(&p->history_ram),
		.history_tier = counted(&p->history_tier),
	};
}
