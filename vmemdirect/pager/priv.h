/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the threads of one pager share. Not for other rooms.
 *
 * Every field says who writes it: F the fault thread, E the evictor, M the caller's
 * thread; counters have one writer and are read by all, relaxed. There are no locks:
 * pages are handed over by their state words, new pages to the evictor by a ring.
 */
#ifndef VMEMDIRECT_PAGER_PRIV_H
#define VMEMDIRECT_PAGER_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmemdirect/pager/pager.h"

#define NEWCOMERS (1u << 16) /* ring from F to E, entries */

typedef _Atomic uint64_t counter;

static inline void count(counter *c, uint64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static inline uint64_t counted(const counter *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

/* An eventfd that is only written when somebody sleeps on it. */
struct bell {
	int fd; /* owned, non-blocking */
	_Atomic bool armed;
};

struct fault_thread;
struct evictor;

struct pager {
	const struct guest *g;
	struct page_table *t;
	struct tier *tier;
	struct pager_cfg cfg;

	_Atomic uint64_t limit; /* M, pages */
	_Atomic int policy;     /* M */
	_Atomic uint64_t used;  /* F adds before it fills, E subtracts after a hole */
	_Atomic uint64_t rate;  /* E: pages that come during a batch */
	_Atomic bool stop_evictor, stop, bring_back;
	_Atomic bool
		evictions_over;     /* E: has seen bring_back, will never evict again */
	_Atomic uint32_t unplugged; /* M: blocks that are gone, bit by bit */
	_Atomic uint64_t probe_hits, probe_misses; /* E adds, F takes */
	_Atomic bool starved;                      /* F: a fault waits for room */
	_Atomic uint32_t events;
	int event_fd; /* owned */
	struct bell fault_bell, evict_bell;

	_Atomic uint32_t newcomers_head, newcomers_tail; /* E takes, F puts */
	uint32_t *newcomers;                             /* owned */
	_Atomic bool newcomers_lost; /* the ring was full: E looks at all pages */

	struct fault_thread *faulter; /* owned */
	struct evictor *evictor;      /* owned */
	bool running;

	/* F */
	counter faults_zero, faults_tier, faults_inflight, faults_cancel, faults_other;
	counter reading, reading_most;
	counter reserved, prefetched, waits, read_errors, bad_hashes, lost_pages;
	struct hist fault_ns;
	/* E */
	counter evicted_zero, evicted_clean, evicted_written, evict_cancelled,
		evict_failed, evict_pinned, write_errors, probe_hits_all,
		probe_misses_all;
	counter sampled_ns, sampled_touched, sampled_untouched, ghost_hits, hot_pages;
};

/* Any thread: tells main. */
void pager_raise(struct pager *p, uint32_t events);

int bell_init(struct bell *b);
void bell_fini(struct bell *b);
void bell_ring(struct bell *b);   /* any thread */
void bell_arm(struct bell *b);    /* sleeper: look at your conditions after this */
void bell_disarm(struct bell *b); /* sleeper: awake again; drains it */

/*
 * Room for n more resident pages, leaving `spare` free. F only. False: none; the
 * evictor was told.
 */
bool pager_reserve(struct pager *p, uint64_t n, uint64_t spare);
void pager_release(struct pager *p, uint64_t n);

/*
 * The evictor's water marks: below `low` free pages it starts, at `high` it rests. While
 * pages come faster than a batch goes the marks are higher: so many pages as came during
 * one lie between them and the limit. Any thread; pager_rate E only: what came.
 */
uint64_t pager_least_room(uint64_t limit); /* between low and limit, with no rush */
uint64_t pager_low_water(const struct pager *p);
uint64_t pager_high_water(const struct pager *p);
void pager_rate(struct pager *p, uint64_t pages_in_a_batch);

static inline bool pager_is_unplugged(const struct pager *p, uint64_t pfn)
{
	uint32_t gone = atomic_load_explicit(&p->unplugged, memory_order_relaxed);

	return gone && gone & 1u << (guest_block_of(p->g, pfn) - p->g->block);
}

/* unplug.c, E, between batches: drops the pages of a block nobody has mapped any more.
 * False: some are on their way in; again later. */
bool unplug_drop(struct pager *p, unsigned int block);

/* F: this page has become resident. */
void pager_newcomer(struct pager *p, uint64_t pfn);

/* fault.c: the fault thread. */
int fault_thread_start(struct pager *p, struct fault_thread **ret);
void fault_thread_join(struct fault_thread *f); /* p->stop is set; frees it */

/* evict.c: the evictor. */
int evictor_start(struct pager *p, struct evictor **ret);
void evictor_join(struct evictor *e); /* p->stop_evictor is set; frees it */

#endif
