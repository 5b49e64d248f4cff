/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Page numbers in, pages of the guest out, by way of a buffer: the tier reads into it,
 * the hash of every page is checked, UFFDIO_COPY puts it in place in one atomic step
 * (nobody ever sees half a page): into the guest what is about to be written there,
 * onto the stage (stage.h) all else. Fault thread only.
 *
 * Whatever becomes of a page that was FILLING, who waits for it is woken: either it is
 * there, or he faults again and is heard.
 */
#include "vmemdirect/pager/fill.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/clock.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "vmemdirect/pager/hash.h"
#include "vmemdirect/pager/stage.h"
#include "vmemdirect/uffd.h"

#define EAGAIN_MAX  1000
#define STAGED_MAX  1024 /* pages on the stage, and */
#define STAGED_PART 16   /* of the limit, this part */

struct fill {
	struct tier_io io;
	struct list link; /* in its free list while unused */
	struct fills *owner;
	uint64_t asked_ns; /* 0: nobody asked */
	uint64_t wanted;   /* bit n: page io.pfn + n */
	uint32_t set;      /* flags for pages nobody asked for */
	bool demand, write;
	unsigned int tries;
};

struct fills {
	struct pager *p;
	struct tier_queue *queue; /* owned */
	uint8_t *buffers;         /* owned mapping */
	size_t buffer_bytes;
	struct stage *stage; /* owned */
	unsigned int nr_staged;
	uint32_t staged[STAGED_MAX]; /* resident, not told to the evictor yet */
	struct list free_singles, free_runs;
	unsigned int under_way, singles_busy;
	bool unsent; /* the tier could not take all that was submitted */
	fill_failed_fn failed;
	void *failed_arg;
	struct log_limit bad_limit;
	struct fill single[FILL_SINGLES], run[FILL_RUNS];
};

int fills_new(struct pager *p, fill_failed_fn failed, void *arg, struct fills **ret)
{
	struct fills *f = calloc(1, sizeof(*f));
	uint8_t *b;
	int r;

	if (!f)
		return -ENOMEM;
	f->p = p;
	f->failed = failed;
	f->failed_arg = arg;
	f->bad_limit = (struct log_limit)LOG_LIMIT_INIT;
	list_init(&f->free_singles);
	list_init(&f->free_runs);
	f->buffer_bytes =
		(FILL_SINGLES + (size_t)FILL_RUNS * FILL_RUN_PAGES) * GUEST_PAGE_SIZE;
	f->buffers = mmap(NULL, f->buffer_bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (f->buffers == MAP_FAILED) {
		f->buffers = NULL;
		r = -ENOMEM;
		goto fail;
	}
	r = tier_queue_open(p->tier, FILL_SINGLES + FILL_RUNS, &f->queue);
	if (!r)
		r = fault_point("start.stage");
	if (!r)
		r = stage_new(p->g, &f->stage);
	if (r < 0)
		goto fail;
	memset(f->buffers, 0, f->buffer_bytes); /* no page of it faults later */
	b = f->buffers;
	for (size_t i = 0; i < FILL_SINGLES + FILL_RUNS; i++) {
		bool one = i < FILL_SINGLES;
		struct fill *l = one ? &f->single[i] : &f->run[i - FILL_SINGLES];

		l->owner = f;
		l->io.buf = b;
		b += (one ? 1 : FILL_RUN_PAGES) * GUEST_PAGE_SIZE;
		list_add_tail(one ? &f->free_singles : &f->free_runs, &l->link);
	}
	*ret = f;
	return 0;
fail:
	fills_free(f);
	return r;
}

void fills_free(struct fills *f)
{
	if (!f)
		return;
	tier_queue_close(f->queue);
	stage_free(f->stage);
	if (f->buffers)
		munmap(f->buffers, f->buffer_bytes);
	free(f);
}

/* ---- into the guest ---- */

static void wake(struct fills *f, uint64_t pfn, uint64_t nr)
{
	const struct guest_block *b = guest_block_of(f->p->g, pfn);

	uffd_wake(f->p->g->uffd, guest_hva(b, pfn), nr << GUEST_PAGE_SHIFT);
}

/* The page is in the guest, or on the stage. Its room was reserved before. */
static void resident(struct fills *f, uint64_t pfn, uint32_t set, bool staged)
{
	struct page *pg = &f->p->t->page[pfn];
	uint32_t was = 0;

	/* (In this order: what is not STORED is never looked for on the tier.) */
	if (tier_is_small(f->p->tier) && (page_word(pg) & PAGE_STORED)) {
		page_flags(pg, 0, PAGE_STORED);
		tier_forget(f->p->tier, pfn, 1);
	}
	page_move(pg, PAGE_FILLING, PAGE_RESIDENT, set, PAGE_ZERO | PAGE_LOST, &was);
	if (was & PAGE_LOST)
		pager_raise(f->p, PAGER_RECOVERED);
	if (staged)
		f->staged[f->nr_staged++] = (uint32_t)pfn;
	else
		pager_newcomer(f->p, pfn);
}

static unsigned int staged_max(struct fills *f)
{
	uint64_t part =
		atomic_load_explicit(&f->p->limit, memory_order_relaxed) / STAGED_PART;

	return part < FILL_RUN_PAGES ? FILL_RUN_PAGES
	       : part < STAGED_MAX   ? (unsigned int)part
				     : STAGED_MAX;
}

void fills_unstage(struct fills *f)
{
	if (!f->nr_staged)
		return;
	stage_unmap(f->stage);
	for (unsigned int i = 0; i < f->nr_staged; i++)
		pager_newcomer(f->p, f->staged[i]);
	f->nr_staged = 0;
}

bool fills_staged(const struct fills *f)
{
	return f->nr_staged;
}

/* The page could not be given: it is out again, and so is its room. */
static void absent(struct fills *f, uint64_t pfn, uint32_t set)
{
	page_move(&f->p->t->page[pfn], PAGE_FILLING, PAGE_ABSENT, set, PAGE_OF_STAY,
		  NULL);
	pager_release(f->p, 1);
}

/* How pages get to where they belong. */
enum way { WAY_ZERO, WAY_COPY, WAY_STAGE };

static int put(struct fills *f, enum way way, uint64_t pfn, const uint8_t *from,
	       uint64_t len_bytes, uint64_t *ret_done)
{
	const struct guest_block *b = guest_block_of(f->p->g, pfn);
	uint64_t hva = guest_hva(b, pfn);
	int r, w;

	if (way == WAY_ZERO)
		return uffd_zero(f->p->g->uffd, hva, len_bytes, ret_done);
	if (way == WAY_COPY)
		return uffd_copy(f->p->g->uffd, hva, from, len_bytes, ret_done);
	r = stage_copy(f->stage, pfn, from, len_bytes, ret_done);
	if (!*ret_done)
		return r;
	/* Eviction left write protection where the page was (a marker in the page
	 * table); this takes it away and wakes who waits. The page is ours till then. */
	w = uffd_unprotect(f->p->g->uffd, hva, *ret_done);
	return w < 0 ? w : r;
}

/*
 * Puts `nr` pages, all FILLING, in place in as few calls as possible. Returns how many
 * have an end (resident), the rest is the caller's with *ret_error.
 */
static uint32_t copy_in(struct fills *f, enum way way, uint64_t pfn,
			const uint8_t *from, uint32_t nr, uint32_t set, int *ret_error)
{
	unsigned int again = 0;
	uint32_t at = 0;

	if (f->nr_staged + nr > staged_max(f))
		fills_unstage(f);
	while (at < nr) {
		uint64_t done = 0;
		int r = put(f, way, pfn + at,
			    from ? from + (size_t)at * GUEST_PAGE_SIZE : NULL,
			    (uint64_t)(nr - at) << GUEST_PAGE_SHIFT, &done);

		for (done >>= GUEST_PAGE_SHIFT; done; done--)
			resident(f, pfn + at++, set, way == WAY_STAGE);
		if (at == nr)
			break;
		if (r == -EEXIST) { /* what is there is newer than what we have */
			wake(f, pfn + at, 1);
			resident(f, pfn + at++, set, false);
		} else if (r == -EAGAIN && again++ < EAGAIN_MAX) {
			sched_yield();
		} else if (r == -EOPNOTSUPP && way == WAY_STAGE) {
			way = WAY_COPY;
		} else if (r < 0) {
			*ret_error = r;
			return at;
		}
	}
	*ret_error = 0;
	return nr;
}

/* What a failed copy means for the page's owner. */
static int copy_error(struct fills *f, int r)
{
	if (r == -ESRCH) {
		pager_raise(f->p, PAGER_GONE);
		return -ESRCH;
	}
	if (r == -ENOENT) /* unmapped by the process: nobody can wait there */
		return 0;
	pager_raise(f->p, PAGER_NO_MEMORY);
	return -ENOMEM;
}

void fill_zero(struct fills *f, uint64_t pfn, uint64_t asked_ns)
{
	int r;

	if (copy_in(f, WAY_ZERO, pfn, NULL, 1, 0, &r) == 1) {
		count(&f->p->faults_zero, 1);
		hist_add(&f->p->fault_ns, clock_ns() - asked_ns, 1);
		return;
	}
	absent(f, pfn, 0);
	r = copy_error(f, r);
	if (r < 0)
		f->failed(f->failed_arg, pfn, r);
	else
		wake(f, pfn, 1);
}

/* ---- a read has ended ---- */

static void put_back(struct fills *f, struct fill *l)
{
	bool one = l >= f->single && l < f->single + FILL_SINGLES;

	if (l->demand)
		count(&f->p->reading, UINT64_MAX); /* one less */
	f->under_way--;
	f->singles_busy -= one;
	list_add_tail(one ? &f->free_singles : &f->free_runs, &l->link);
}

static bool hash_right(struct fills *f, uint64_t pfn, const uint8_t *page)
{
	struct page_table *t = f->p->t;
	unsigned int held;

	if (!fault_point("fill.hash") &&
	    hash_page(page, t->header->hash_key) == t->page[pfn].hash)
		return true;
	count(&f->p->bad_hashes, 1);
	if (log_limit_ok(&f->bad_limit, &held))
		vm_warn(f->p->g,
			"page %llu: the tier gave other bytes than were written",
			(unsigned long long)pfn);
	return false;
}

static int submit(struct fills *f, struct fill *l)
{
	l->io.attempt = (uint8_t)l->tries++;
	return tier_submit(f->queue, &l->io);
}

static void demand_done(struct fills *f, struct fill *l)
{
	uint64_t pfn = l->io.pfn;
	int r = l->io.result;

	if (r < 0)
		count(&f->p->read_errors, 1);
	else if (!hash_right(f, pfn, l->io.buf))
		r = -EIO;
	/* (A tier that says -ETIMEDOUT has tried for long enough by itself.) */
	if (r < 0 && r != -ETIMEDOUT && l->tries <= FILL_RETRIES && !submit(f, l)) {
		fills_kick(f);
		return;
	}
	if (r < 0) {
		absent(f, pfn, PAGE_LOST);
		put_back(f, l);
		f->failed(f->failed_arg, pfn, -EIO);
		return;
	}
	if (copy_in(f, l->write ? WAY_COPY : WAY_STAGE, pfn, l->io.buf, 1, 0, &r) ==
	    1) {
		count(&f->p->faults_tier, 1);
		if (l->asked_ns)
			hist_add(&f->p->fault_ns, clock_ns() - l->asked_ns, 1);
		put_back(f, l);
		return;
	}
	absent(f, pfn, 0);
	put_back(f, l);
	r = copy_error(f, r);
	if (r < 0)
		f->failed(f->failed_arg, pfn, r);
	else
		wake(f, pfn, 1);
}

_Static_assert(FILL_RUN_PAGES <= 64, "a bit of `wanted` for each");

/* Gives pages of a run up; who faulted on one meanwhile faults again, on demand. */
static void give_up(struct fills *f, uint64_t pfn, uint32_t nr)
{
	for (uint32_t i = 0; i < nr; i++)
		absent(f, pfn + i, 0);
	wake(f, pfn, nr);
}

/* Pages [from, to) of a read, all wanted. False: no more of them can be placed. */
static bool place(struct fills *f, struct fill *l, uint32_t from, uint32_t to)
{
	const uint8_t *buf = l->io.buf;
	uint64_t pfn = l->io.pfn;
	int r = 0;

	while (from < to && !r) {
		uint32_t i = from;

		while (i < to && hash_right(f, pfn + i, buf + i * GUEST_PAGE_SIZE))
			i++;
		if (i > from)
			from += copy_in(f, WAY_STAGE, pfn + from,
					buf + from * GUEST_PAGE_SIZE, i - from, l->set,
					&r);
		if (!r && i < to) {
			give_up(f, pfn + i, 1);
			from = i + 1;
		}
	}
	if (!r)
		return true;
	copy_error(f, r);
	give_up(f, pfn + from, to - from);
	return false;
}

/* The wanted pages from `from` on that follow each other; 0: there are none. */
static uint32_t next_wanted(const struct fill *l, uint32_t *from)
{
	uint32_t n = 0;

	while (*from < l->io.nr_pages && !(l->wanted >> *from & 1))
		++*from;
	while (*from + n < l->io.nr_pages && (l->wanted >> (*from + n) & 1))
		n++;
	return n;
}

static void run_done(struct fills *f, struct fill *l)
{
	bool ok = l->io.result >= 0;

	if (!ok)
		count(&f->p->read_errors, 1);
	for (uint32_t from = 0, n; (n = next_wanted(l, &from)); from += n) {
		if (ok)
			ok = place(f, l, from, from + n);
		else
			give_up(f, l->io.pfn + from, n);
	}
	put_back(f, l);
}

static void fill_done(struct tier_io *io)
{
	struct fill *l = container_of(io, struct fill, io);
	struct fills *f = l->owner;

	if (l->demand)
		demand_done(f, l);
	else
		run_done(f, l);
}

/* ---- starting one ---- */

static int start(struct fills *f, struct list *from, uint64_t pfn, uint32_t nr,
		 struct fill **ret)
{
	struct fill *l;
	int r;

	if (list_empty(from))
		return -EAGAIN;
	l = container_of(from->next, struct fill, link);
	l->io.pfn = pfn;
	l->io.nr_pages = nr;
	l->io.write = false;
	l->io.done = fill_done;
	l->tries = 0;
	r = submit(f, l);
	if (r < 0)
		return -EAGAIN;
	list_del(&l->link);
	f->under_way++;
	f->singles_busy += from == &f->free_singles;
	*ret = l;
	return 0;
}

int fill_demand(struct fills *f, uint64_t pfn, bool write, uint64_t asked_ns)
{
	struct fill *l;
	int r = start(f, &f->free_singles, pfn, 1, &l);

	if (!r) {
		l->demand = true;
		l->write = write;
		l->asked_ns = asked_ns;
		count(&f->p->reading, 1);
		if (counted(&f->p->reading) > counted(&f->p->reading_most))
			count(&f->p->reading_most, 1);
	}
	return r;
}

int fill_run(struct fills *f, uint64_t pfn, uint32_t nr_pages, uint64_t wanted,
	     uint32_t set)
{
	bool one = nr_pages == 1 && f->singles_busy < FILL_SINGLES / 2;
	struct fill *l;
	int r = start(f, one ? &f->free_singles : &f->free_runs, pfn, nr_pages, &l);

	if (!r) {
		l->demand = false;
		l->wanted = wanted;
		l->set = set;
	}
	return r;
}

void fills_kick(struct fills *f)
{
	f->unsent = tier_kick(f->queue) < 0;
}

bool fills_unsent(const struct fills *f)
{
	return f->unsent;
}

unsigned int fills_reap(struct fills *f)
{
	if (f->unsent)
		fills_kick(f);
	return f->under_way ? tier_reap(f->queue) : 0;
}

unsigned int fills_under_way(const struct fills *f)
{
	return f->under_way;
}

bool fills_has_run(const struct fills *f)
{
	return !list_empty(&f->free_runs);
}

int fills_fd(const struct fills *f)
{
	return tier_fd(f->queue);
}
