/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests for pages of the guest in, requests for slots of the places out. A request
 * keeps a bitmap of its pages that are still to do; pages that follow each other both
 * in the guest and at their place go together, as a part. A part that fails puts its
 * pages back to do, and they are tried again somewhere else or later, until the
 * request's patience ends. The queue's thread only; nothing allocates.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/list.h"
#include "vmemdirect/tier/spill_priv.h"

#define TICK_MS  20
#define RETRY_MS 50
#define FULL_MS  1000
#define WAIT_MS  100
#define WORDS    (SPILL_IO_PAGES / 64)

struct request {
	struct list link;
	struct tier_io *io;
	uint64_t todo[WORDS];
	unsigned int parts; /* under way */
	uint8_t attempt;
	int error;
	int64_t deadline_ms, not_before_ms;
};

/* Pages [at, at + nr) of a request, at one place, or, written, at two. */
struct part {
	struct list link;
	struct spill_queue *q;
	struct request *r;
	uint32_t at, nr;
	unsigned int nr_copies, under_way;
	bool fresh; /* the slots are new */
	spill_copy_t copy[SPILL_COPIES_MAX];
	struct tier_io io[SPILL_COPIES_MAX];
};

struct spill_queue {
	struct tier_queue queue;
	struct tier_queue *place[SPILL_PLACES_MAX]; /* owned */
	int epfd, timer;                            /* owned */
	bool ticking;
	unsigned int under_way;
	struct list free, active, free_parts;
	struct request *request; /* owned */
	struct part *part;       /* owned */
};

static struct spill_tier *tier_of(const struct spill_queue *q)
{
	return (struct spill_tier *)q->queue.tier;
}

/* ---- pages to do ---- */

static bool to_do(const struct request *r, uint32_t i)
{
	return i < r->io->nr_pages && r->todo[i / 64] >> (i % 64) & 1;
}

static void set_to_do(struct request *r, uint32_t at, uint32_t nr, bool on)
{
	for (uint32_t i = at; i < at + nr; i++)
		if (on)
			r->todo[i / 64] |= UINT64_C(1) << (i % 64);
		else
			r->todo[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

/* The first page to do, or nr_pages. */
static uint32_t next_to_do(const struct request *r)
{
	for (uint32_t w = 0; w < WORDS; w++)
		if (r->todo[w])
			return w * 64 + (uint32_t)__builtin_ctzll(r->todo[w]);
	return r->io->nr_pages;
}

/* ---- a part has ended ---- */

/* A copy that was not written: who may use its slots, and when. */
static void drop_copy(struct spill_tier *t, const struct part *p, unsigned int k)
{
	if (p->io[k].result == -ETIMEDOUT) /* the server may still do it */
		spill_map_hold(t->map, p->copy[k], p->nr);
	else
		spill_map_give_back(t->map, p->copy[k], p->nr);
}

/* Is this slot one of those that page `i` of the part was written to? */
static bool is_own(const struct part *p, uint32_t i, spill_copy_t c)
{
	for (unsigned int k = 0; k < p->nr_copies; k++)
		if (c == p->copy[k] + i)
			return true;
	return false;
}

/* The pages lie at `c` now. Where they lay and were not written to (new places, or a
 * host that is not there) has old bytes. No write is under way to that: one without an
 * answer would have taken it out of the entry. */
static void set_entries(struct spill_tier *t, const struct part *p,
			struct spill_copies c)
{
	uint64_t pfn = p->r->io->pfn + p->at;

	for (uint32_t i = 0; i < p->nr; i++) {
		struct spill_copies old = spill_map_get(t->map, pfn + i);

		spill_map_set(t->map, pfn + i, c);
		for (unsigned int k = 0; k < SPILL_COPIES_MAX; k++) {
			if (old.copy[k] && !is_own(p, i, old.copy[k]))
				spill_map_give_back(t->map, old.copy[k], 1);
			c.copy[k] += c.copy[k] != 0;
		}
	}
}

/* A write is through everywhere: the entries are what succeeded. */
static bool settle_write(struct spill_tier *t, struct part *p)
{
	struct spill_copies good = { 0 };
	unsigned int n = 0;
	bool unsafe = false;

	for (unsigned int k = 0; k < p->nr_copies; k++) {
		if (!p->io[k].result)
			good.copy[n++] = p->copy[k];
		if (p->io[k].result == -ENOSPC)
			atomic_store(&t->full_until_ms[spill_place_of(p->copy[k])],
				     clock_ms() + FULL_MS);
		unsafe |= p->io[k].result == -ETIMEDOUT;
	}
	/* An old place stays the page's until there is another one, unless the server
	 * may still write to it. */
	if (n || p->fresh || unsafe) {
		for (unsigned int k = 0; k < p->nr_copies; k++)
			if (p->io[k].result)
				drop_copy(t, p, k);
		if (n || !p->fresh)
			set_entries(t, p, good);
	}
	spill_map_written(t->map, p->r->io->pfn + p->at, p->nr);
	return n > 0;
}

static void part_ended(struct part *p)
{
	struct spill_queue *q = p->q;
	struct request *r = p->r;
	int error = p->io[0].result;
	bool good = r->io->write ? settle_write(tier_of(q), p) : !error;
	int64_t now;

	r->parts--;
	list_add_tail(&q->free_parts, &p->link);
	if (good || r->error)
		return;
	now = clock_ms();
	if (now >= r->deadline_ms) {
		r->error = error == -ENOSPC ? -ENOSPC : -ETIMEDOUT;
		return;
	}
	set_to_do(r, p->at, p->nr, true);
	r->attempt++;
	r->not_before_ms = now + RETRY_MS;
}

static void place_done(struct tier_io *io)
{
	struct part *p = container_of(io, struct part, io[0]);

	/* Which of the two: they are told apart by their place in the struct. */
	if (io->attempt)
		p = container_of(io, struct part, io[1]);
	if (!--p->under_way)
		part_ended(p);
}

/* ---- starting a part ---- */

static struct part *new_part(struct spill_queue *q, struct request *r, uint32_t at)
{
	struct part *p;

	if (list_empty(&q->free_parts))
		return NULL;
	p = container_of(q->free_parts.next, struct part, link);
	p->q = q;
	p->r = r;
	p->at = at;
	p->nr = 1;
	p->nr_copies = 0;
	p->fresh = false;
	return p;
}

static void start_part(struct spill_queue *q, struct part *p)
{
	struct request *r = p->r;

	list_del(&p->link);
	set_to_do(r, p->at, p->nr, false);
	r->parts++;
	p->under_way = p->nr_copies;
	for (unsigned int k = 0; k < p->nr_copies; k++) {
		struct tier_queue *to = q->place[spill_place_of(p->copy[k])];

		p->io[k] = (struct tier_io){
			.buf = (uint8_t *)r->io->buf + (size_t)p->at * TIER_PAGE_SIZE,
			.pfn = spill_slot_of(p->copy[k]),
			.nr_pages = p->nr,
			.write = r->io->write,
			.attempt = (uint8_t)k,
			.done = place_done,
		};
		/* (A place's queue is as deep as there are parts.) */
		p->io[k].result = tier_submit(to, &p->io[k]);
		if (p->io[k].result < 0 && !--p->under_way)
			part_ended(p);
	}
}

/* ---- reading ---- */

/* The copy of a page that is to be read, 0: it has none. */
static spill_copy_t pick_copy(const struct spill_tier *t, const struct request *r,
			      uint64_t pfn)
{
	struct spill_copies c = spill_map_get(t->map, pfn);
	unsigned int first = (unsigned int)(pfn / 64 + r->attempt) % 2;

	if (!c.copy[1])
		return c.copy[0];
	if (!spill_is_up(t, spill_place_of(c.copy[first])))
		first = !first;
	return c.copy[first];
}

static bool read_part(struct spill_queue *q, struct request *r, uint32_t at)
{
	const struct spill_tier *t = tier_of(q);
	struct part *p = new_part(q, r, at);

	if (!p)
		return false;
	p->copy[0] = pick_copy(t, r, r->io->pfn + at);
	if (!p->copy[0]) {
		r->error = -ENODATA;
		return true;
	}
	p->nr_copies = 1;
	while (to_do(r, at + p->nr) &&
	       pick_copy(t, r, r->io->pfn + at + p->nr) == p->copy[0] + p->nr)
		p->nr++;
	start_part(q, p);
	return true;
}

/* ---- writing ---- */

/* Where a page is and can be written: how many copies; *ret_first are they. */
static unsigned int live_copies(const struct spill_tier *t, uint64_t pfn,
				struct spill_copies *ret)
{
	struct spill_copies c = spill_map_get(t->map, pfn);
	unsigned int n = 0;

	*ret = (struct spill_copies){ 0 };
	for (unsigned int k = 0; k < SPILL_COPIES_MAX; k++)
		if (c.copy[k] && spill_is_up(t, spill_place_of(c.copy[k])))
			ret->copy[n++] = c.copy[k];
	return n;
}

static unsigned int wanted_copies(const struct spill_tier *t, spill_copy_t first)
{
	return t->places.place[spill_place_of(first)].local ? 1 : t->places.copies;
}

static bool is_settled(const struct spill_tier *t, uint64_t pfn,
		       struct spill_copies *ret)
{
	unsigned int n = live_copies(t, pfn, ret);

	return n && n == wanted_copies(t, ret->copy[0]);
}

/* The copy that is left is written where it is if there is no host for a second one. */
static bool stays(struct spill_tier *t, const struct spill_copies *c)
{
	const struct spill_place *p = t->places.place;

	return c->copy[0] &&
	       spill_choose(t, false, (int)p[spill_place_of(c->copy[0])].export.host) <
		       0;
}

static bool follows(const struct spill_copies *a, const struct spill_copies *b,
		    uint32_t by)
{
	for (unsigned int k = 0; k < SPILL_COPIES_MAX; k++)
		if (b->copy[k] != (a->copy[k] ? a->copy[k] + by : 0))
			return false;
	return true;
}

/* Pages that have their places are written there, `c` of the first one. */
static void write_in_place(struct spill_queue *q, struct part *p,
			   const struct spill_copies *c)
{
	const struct spill_tier *t = tier_of(q);
	struct request *r = p->r;
	struct spill_copies next;

	for (unsigned int k = 0; k < SPILL_COPIES_MAX && c->copy[k]; k++)
		p->copy[p->nr_copies++] = c->copy[k];
	while (to_do(r, p->at + p->nr)) {
		live_copies(t, r->io->pfn + p->at + p->nr, &next);
		if (!follows(c, &next, p->nr))
			break;
		p->nr++;
	}
}

/* How many pages from `at` on need new places. */
static uint32_t unsettled(const struct spill_tier *t, const struct request *r,
			  uint32_t at)
{
	struct spill_copies c;
	uint32_t n = 1;

	while (to_do(r, at + n) && !is_settled(t, r->io->pfn + at + n, &c))
		n++;
	return n;
}

/* New slots for as many pages as there are in a row; false: no place has any. */
static bool allocate(struct spill_tier *t, struct part *p)
{
	uint32_t n = unsettled(t, p->r, p->at), m;
	int place = spill_choose(t, true, -1), second = -1;
	uint64_t slot;

	if (place < 0)
		return false;
	n = spill_map_alloc(t->map, (unsigned int)place, n, &slot);
	if (!n)
		return false;
	p->fresh = true;
	p->nr = n;
	p->nr_copies = 1;
	p->copy[0] = spill_copy((unsigned int)place, slot);
	if (wanted_copies(t, p->copy[0]) > 1)
		second =
			spill_choose(t, false, (int)t->places.place[place].export.host);
	m = second < 0 ? 0 : spill_map_alloc(t->map, (unsigned int)second, n, &slot);
	if (!m)
		return true; /* degraded: better than none */
	p->copy[p->nr_copies++] = spill_copy((unsigned int)second, slot);
	if (m < n) /* (never written) */
		spill_map_free(t->map, p->copy[0] + m, n - m);
	p->nr = m;
	return true;
}

/* No place for a page: is it worth to wait for one? */
static void no_place(struct spill_queue *q, struct request *r)
{
	const struct spill_tier *t = tier_of(q);
	int64_t now = clock_ms();
	bool down = false;

	for (unsigned int i = 0; i < t->places.nr; i++)
		down |= !spill_is_up(t, i);
	if (!down)
		r->error = -ENOSPC;
	else if (now >= r->deadline_ms)
		r->error = -ETIMEDOUT;
	r->not_before_ms = now + RETRY_MS;
}

/* Has a repair put a page elsewhere while its places were looked up? */
static bool has_moved(const struct spill_tier *t, const struct part *p)
{
	for (uint32_t i = 0; i < p->nr; i++) {
		struct spill_copies c =
			spill_map_get(t->map, p->r->io->pfn + p->at + i);

		for (unsigned int k = 0; k < p->nr_copies; k++)
			if (c.copy[0] != p->copy[k] + i && c.copy[1] != p->copy[k] + i)
				return true;
	}
	return false;
}

static bool write_part(struct spill_queue *q, struct request *r, uint32_t at)
{
	struct spill_tier *t = tier_of(q);
	struct part *p = new_part(q, r, at);
	uint64_t pfn = r->io->pfn + at;
	struct spill_copies c;
	bool found = true;

	if (!p)
		return false;
	if (is_settled(t, pfn, &c) || stays(t, &c)) {
		write_in_place(q, p, &c);
	} else if (!allocate(t, p)) {
		/* Where it is, then: some of its copies, or on a lost host, which
		 * is asked whether it is back. */
		if (!c.copy[0])
			c = spill_map_get(t->map, pfn);
		found = c.copy[0] != 0;
		for (unsigned int k = 0; k < SPILL_COPIES_MAX && c.copy[k]; k++)
			p->copy[p->nr_copies++] = c.copy[k];
	}
	if (!found) {
		no_place(q, r);
		return false;
	}
	if (!spill_map_writing(t->map, pfn, p->nr)) { /* under repair: in a moment */
		for (unsigned int k = 0; p->fresh && k < p->nr_copies; k++)
			spill_map_free(t->map, p->copy[k], p->nr);
		r->not_before_ms = clock_ms() + 1;
		return false;
	}
	if (!p->fresh && has_moved(t, p)) { /* (now it stays where it is) */
		spill_map_written(t->map, pfn, p->nr);
		return true;
	}
	start_part(q, p);
	return true;
}

/* ---- requests ---- */

static void advance(struct spill_queue *q, struct request *r)
{
	uint32_t at;

	if (r->not_before_ms && clock_ms() < r->not_before_ms)
		return;
	r->not_before_ms = 0;
	while (!r->error && (at = next_to_do(r)) < r->io->nr_pages)
		if (!(r->io->write ? write_part(q, r, at) : read_part(q, r, at)))
			break;
}

static bool is_over(const struct request *r)
{
	return !r->parts && (r->error || next_to_do(r) == r->io->nr_pages);
}

/* The tick is for what gives no event: a request that waits, or has ended already. */
static void set_tick(struct spill_queue *q, bool on)
{
	const long ns = on ? TICK_MS * 1000000L : 0;
	const struct itimerspec t = { .it_interval.tv_nsec = ns,
				      .it_value.tv_nsec = ns };

	if (q->ticking != on)
		timerfd_settime(q->timer, 0, &t, NULL);
	q->ticking = on;
}

static bool needs_tick(const struct request *r)
{
	return r->error || next_to_do(r) < r->io->nr_pages || !r->parts;
}

int spill_submit(struct tier_queue *queue, struct tier_io *io)
{
	struct spill_queue *q = (struct spill_queue *)queue;
	struct request *r;

	if (list_empty(&q->free))
		return -EAGAIN;
	if (io->nr_pages > SPILL_IO_PAGES || io->discard)
		return -EINVAL;
	r = container_of(q->free.next, struct request, link);
	list_del(&r->link);
	list_add_tail(&q->active, &r->link);
	*r = (struct request){ .link = r->link,
			       .io = io,
			       .attempt = io->attempt,
			       .deadline_ms = clock_ms() + SPILL_PATIENCE_MS };
	set_to_do(r, 0, io->nr_pages, true);
	q->under_way++;
	advance(q, r);
	if (needs_tick(r))
		set_tick(q, true);
	return 0;
}

int spill_kick(struct tier_queue *queue)
{
	struct spill_queue *q = (struct spill_queue *)queue;
	const struct spill_tier *t = tier_of(q);
	int r = 0;

	for (unsigned int i = 0; i < t->places.nr; i++) {
		int e = tier_kick(q->place[i]);

		r = r ? r : e;
	}
	return r;
}

static void drain_tick(struct spill_queue *q)
{
	uint64_t n;

	while (read(q->timer, &n, sizeof(n)) < 0 && errno == EINTR)
		;
}

unsigned int spill_reap(struct tier_queue *queue)
{
	struct spill_queue *q = (struct spill_queue *)queue;
	const struct spill_tier *t = tier_of(q);
	unsigned int n = 0;
	bool tick = false;
	struct list over;

	if (!q->under_way)
		return 0;
	for (unsigned int i = 0; i < t->places.nr; i++)
		tier_reap(q->place[i]);
	list_init(&over);
	for (struct list *l = q->active.next, *next; l != &q->active; l = next) {
		struct request *r = container_of(l, struct request, link);

		next = l->next;
		if (!r->error && next_to_do(r) < r->io->nr_pages)
			advance(q, r);
		if (is_over(r)) {
			list_del(&r->link);
			list_add_tail(&over, &r->link);
		} else {
			tick |= needs_tick(r);
		}
	}
	spill_kick(queue);
	if (q->ticking)
		drain_tick(q);
	set_tick(q, tick);
	while (!list_empty(&over)) {
		struct request *r = container_of(over.next, struct request, link);
		struct tier_io *io = r->io;
		int error = r->error;

		list_del(&r->link);
		list_add_tail(&q->free, &r->link);
		q->under_way--;
		n++;
		tier_finish(queue->tier, io, error);
	}
	return n;
}

int spill_wait(struct tier_queue *queue)
{
	const struct spill_queue *q = (const struct spill_queue *)queue;
	struct epoll_event ev;

	spill_kick(queue);
	epoll_wait(q->epfd, &ev, 1, WAIT_MS);
	return 0;
}

int spill_fd(const struct tier_queue *queue)
{
	return ((const struct spill_queue *)queue)->epfd;
}

/* ---- life ---- */

void spill_queue_close(struct tier_queue *queue)
{
	struct spill_queue *q = (struct spill_queue *)queue;

	for (unsigned int i = 0; i < SPILL_PLACES_MAX; i++)
		tier_queue_close(q->place[i]);
	if (q->epfd >= 0)
		close(q->epfd);
	if (q->timer >= 0)
		close(q->timer);
	free(q->request);
	free(q->part);
	free(q);
}

static int watch(struct spill_queue *q, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN };

	return epoll_ctl(q->epfd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

int spill_queue_open(struct tier *tier, unsigned int depth, struct tier_queue **ret)
{
	struct spill_tier *t = (struct spill_tier *)tier;
	struct spill_queue *q = calloc(1, sizeof(*q));
	unsigned int parts = depth + SPILL_IO_PAGES;
	int r = -ENOMEM;

	if (!q)
		return r;
	q->queue.tier = tier;
	list_init(&q->free);
	list_init(&q->active);
	list_init(&q->free_parts);
	q->epfd = epoll_create1(EPOLL_CLOEXEC);
	q->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	q->request = calloc(depth, sizeof(q->request[0]));
	q->part = calloc(parts, sizeof(q->part[0]));
	if (!q->request || !q->part)
		goto fail;
	for (unsigned int i = 0; i < depth; i++)
		list_add_tail(&q->free, &q->request[i].link);
	for (unsigned int i = 0; i < parts; i++)
		list_add_tail(&q->free_parts, &q->part[i].link);
	r = q->epfd < 0 || q->timer < 0 ? -errno : watch(q, q->timer);
	for (unsigned int i = 0; !r && i < t->places.nr; i++) {
		r = tier_queue_open(t->place[i], parts, &q->place[i]);
		if (!r)
			r = watch(q, tier_fd(q->place[i]));
	}
	if (r < 0)
		goto fail;
	*ret = &q->queue;
	return 0;
fail:
	spill_queue_close(&q->queue);
	return r;
}
