/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fault thread: userfaultfd messages in, pages of the guest out. It answers by the
 * state of its own page table, never by the kind of message: messages can be stale. A
 * page nobody else owns is taken (FILLING) before anything is done to it; one that is
 * being punched is marked WANTED, and the evictor wakes who waits.
 *
 * After its last event it stays awake for a while (a sleeping thread's wake-up costs
 * 30 us, more than the rest of a fault), then sleeps until a message, a finished read
 * or the bell. For a read it always sleeps: its interrupt wakes a CPU that is halted
 * sooner than it interrupts one that spins (under PVM a 4 KiB read took 66 us, and 162 on
 * CPUs kept busy by SCHED_IDLE). Clearing the stage costs 70-110 us there, half a fault,
 * so it is not done before each sleep, only in a long one.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "vmemdirect/pager/fill.h"
#include "vmemdirect/pager/priv.h"
#include "vmemdirect/pager/readahead.h"
#include "vmemdirect/uffd.h"

#define READ_MAX        64
#define WAITERS_MAX     4096
#define LOST_RETRY_MS   1000
#define MEMORY_RETRY_MS 20
#define BACK_RETRY_MS   100
#define UNSENT_RETRY_MS 5
#define REST_MS         20 /* without an event: the stage is cleared */

/* A fault that could not be answered at once. */
struct waiter {
	uint64_t pfn, asked_ns;
	uint64_t not_before_ns;
};

struct fault_thread {
	struct pager *p;
	pthread_t thread;
	struct fills *fills; /* owned */
	struct readahead ahead;
	uint64_t spin_ns;
	unsigned int nr_waiters;
	uint64_t back_pfn; /* where bringing back has got to */
	uint64_t back_not_before_ns;
	bool back_done, gone;
	struct waiter waiter[WAITERS_MAX];
};

static void wake(struct fault_thread *f, uint64_t pfn)
{
	const struct guest_block *b = guest_block_of(f->p->g, pfn);

	uffd_wake(f->p->g->uffd, guest_hva(b, pfn), GUEST_PAGE_SIZE);
}

static void unprotect(struct fault_thread *f, uint64_t pfn)
{
	const struct guest_block *b = guest_block_of(f->p->g, pfn);

	uffd_unprotect(f->p->g->uffd, guest_hva(b, pfn), GUEST_PAGE_SIZE);
}

/* When there is no place left the thread that faulted is told to fault again. */
static void defer(struct fault_thread *f, uint64_t pfn, uint64_t asked_ns,
		  unsigned int after_ms)
{
	struct waiter *w = &f->waiter[f->nr_waiters];

	if (f->nr_waiters == WAITERS_MAX) {
		wake(f, pfn);
		return;
	}
	*w = (struct waiter){ .pfn = pfn, .asked_ns = asked_ns };
	if (after_ms)
		w->not_before_ns = clock_ns() + after_ms * UINT64_C(1000000);
	f->nr_waiters++;
}

static void fill_failed(void *arg, uint64_t pfn, int error)
{
	struct fault_thread *f = arg;

	if (error == -ESRCH) {
		f->gone = true;
		return;
	}
	if (error == -EIO) {
		count(&f->p->lost_pages, 1);
		pager_raise(f->p, PAGER_LOST);
	}
	defer(f, pfn, clock_ns(), error == -EIO ? LOST_RETRY_MS : MEMORY_RETRY_MS);
}

/* ---- one fault ---- */

/* False: there was no room or no buffer; nothing has changed. */
static bool fault_absent(struct fault_thread *f, uint64_t pfn, bool write,
			 uint64_t asked_ns)
{
	struct page *pg = &f->p->t->page[pfn];
	uint32_t was;

	if (!pager_reserve(f->p, 1, 0))
		return false;
	if (!page_move(pg, PAGE_ABSENT, PAGE_FILLING, 0, 0, &was)) {
		pager_release(f->p, 1);
		return true; /* only this thread moves ABSENT pages: not reached */
	}
	if (was & PAGE_ZERO) {
		fill_zero(f->fills, pfn, asked_ns);
		return true;
	}
	if (fill_demand(f->fills, pfn, write, asked_ns) < 0) {
		page_move(pg, PAGE_FILLING, PAGE_ABSENT, 0, 0, NULL);
		pager_release(f->p, 1);
		return false;
	}
	fills_kick(f->fills); /* first and alone */
	readahead_on_fault(&f->ahead, pfn);
	return true;
}

/*
 * A fault on a page that should be there: it waits for write protection to go, or it
 * was discarded (balloon, free page reporting), or the message is stale. The page is
 * owned while its protection is removed, for the evictor must not protect it between.
 * ZERO for that time: should the daemon die here and the page have been discarded, the
 * next one must not take what the tier has of it for its bytes.
 */
static bool fault_present(struct fault_thread *f, uint64_t pfn, enum page_state from,
			  bool write_protected)
{
	const struct guest_block *b = guest_block_of(f->p->g, pfn);
	struct page *pg = &f->p->t->page[pfn];
	uint64_t done;

	if (!page_move(pg, from, PAGE_FILLING, PAGE_ZERO, 0, NULL))
		return false; /* the evictor moved it: look again */
	if (!write_protected &&
	    uffd_zero(f->p->g->uffd, guest_hva(b, pfn), GUEST_PAGE_SIZE, &done) < 0)
		wake(f, pfn);
	if (write_protected || from == PAGE_EVICTING)
		unprotect(f, pfn);
	page_move(pg, PAGE_FILLING, PAGE_RESIDENT, 0, PAGE_PREFETCHED | PAGE_ZERO,
		  NULL);
	count(from == PAGE_EVICTING ? &f->p->faults_cancel : &f->p->faults_other, 1);
	return true;
}

/* False: try again when there is room. */
static bool fault_page(struct fault_thread *f, uint64_t pfn,
		       const struct uffd_fault *why, uint64_t asked_ns)
{
	struct page *pg = &f->p->t->page[pfn];

	for (;;) {
		enum page_state s = page_state(page_word(pg));

		switch (s) {
		case PAGE_ABSENT:
			return fault_absent(f, pfn, why->write, asked_ns);
		case PAGE_FILLING: /* whoever owns it wakes all when he is done */
			count(&f->p->faults_inflight, 1);
			readahead_on_inflight(&f->ahead, pfn);
			return true;
		case PAGE_PUNCHING:
			if (page_flags_if(pg, PAGE_PUNCHING, PAGE_WANTED, 0)) {
				count(&f->p->faults_other, 1);
				return true;
			}
			break;
		case PAGE_RESIDENT:
		case PAGE_EVICTING:
			if (fault_present(f, pfn, s, why->write_protected))
				return true;
			break;
		}
	}
}

static unsigned int read_faults(struct fault_thread *f)
{
	struct uffd_fault fault[READ_MAX];
	int n = uffd_read(f->p->g->uffd, fault, READ_MAX);
	uint64_t now = n > 0 ? clock_ns() : 0, pfn;

	if (n < 0) {
		f->gone = true;
		pager_raise(f->p, PAGER_GONE);
		return 0;
	}
	for (int i = 0; i < n; i++) {
		if (!guest_find(f->p->g, fault[i].hva, &pfn))
			uffd_wake(f->p->g->uffd, fault[i].hva, GUEST_PAGE_SIZE);
		else if (!fault_page(f, pfn, &fault[i], now)) {
			count(&f->p->waits, 1);
			defer(f, pfn, now, 0);
		}
	}
	return (unsigned int)n;
}

/* Those that wait, in the order they came. */
static unsigned int retry_waiters(struct fault_thread *f)
{
	static const struct uffd_fault any;
	unsigned int nr = f->nr_waiters, kept = 0, answered = 0;
	uint64_t now = nr ? clock_ns() : 0;
	bool full = false;

	if (!nr)
		return 0;
	/* A retry may defer again, behind these: they move up afterwards. */
	for (unsigned int i = 0; i < nr; i++) {
		struct waiter w = f->waiter[i];

		if (!full && w.not_before_ns <= now) {
			if (fault_page(f, w.pfn, &any, w.asked_ns)) {
				answered++;
				continue;
			}
			full = true;
		}
		f->waiter[kept++] = w;
	}
	memmove(&f->waiter[kept], &f->waiter[nr],
		(f->nr_waiters - nr) * sizeof(f->waiter[0]));
	f->nr_waiters -= nr - kept;
	return answered;
}

/* ---- bringing everything back ---- */

/*
 * The end of a pass: what was being evicted when it began, or could not be read, needs
 * another one. Only when the evictor has said that it will never evict again does the
 * count mean anything: what leaves after it would read as zeros once unregistered.
 */
static void end_pass(struct fault_thread *f)
{
	if (atomic_load(&f->p->evictions_over) && !pager_stored_absent(f->p)) {
		f->back_done = true;
		pager_raise(f->p, PAGER_BROUGHT_BACK);
		return;
	}
	f->back_pfn = 0;
	f->back_not_before_ns = clock_ns() + BACK_RETRY_MS * UINT64_C(1000000);
}

static bool bring_back(struct fault_thread *f)
{
	unsigned int started = 0;

	if (f->back_done || clock_ns() < f->back_not_before_ns)
		return false;
	while (fills_has_run(f->fills) && readahead_bring_back(&f->ahead, &f->back_pfn))
		started++;
	fills_kick(f->fills);
	if (f->back_pfn == f->p->t->nr_pages && !fills_under_way(f->fills))
		end_pass(f);
	return started > 0;
}

/* ---- the loop ---- */

/* How long a sleep may last: deferred faults have their times, or need the bell. */
static int sleep_ms(struct fault_thread *f)
{
	bool back = atomic_load(&f->p->bring_back) && !f->back_done;
	uint64_t now, first = back ? f->back_not_before_ns : UINT64_MAX;

	for (unsigned int i = 0; i < f->nr_waiters; i++)
		if (f->waiter[i].not_before_ns < first)
			first = f->waiter[i].not_before_ns;
	if (fills_unsent(f->fills))
		return UNSENT_RETRY_MS;
	if (first == UINT64_MAX)
		return -1;
	now = clock_ns();
	return first <= now ? 100 : (int)((first - now) / 1000000) + 1;
}

static void sleep_for_event(struct fault_thread *f)
{
	struct pollfd fd[3] = {
		{ .fd = f->p->g->uffd, .events = POLLIN },
		{ .fd = f->p->fault_bell.fd, .events = POLLIN },
		{ .fd = fills_under_way(f->fills) ? fills_fd(f->fills) : -1,
		  .events = POLLIN },
	};
	bool rested = false;

	bell_arm(&f->p->fault_bell);
	/* Between the last look and the bell, room or an order may have come. */
	if (!atomic_load(&f->p->stop) && !retry_waiters(f) &&
	    !(atomic_load(&f->p->bring_back) && bring_back(f))) {
		int ms = sleep_ms(f);

		if (fills_staged(f->fills) && (ms < 0 || ms > REST_MS))
			ms = REST_MS;
		rested = !poll(fd, 3, ms);
	}
	bell_disarm(&f->p->fault_bell);
	if (rested)
		fills_unstage(f->fills);
	if (fd[0].revents & (POLLERR | POLLHUP)) {
		f->gone = true;
		pager_raise(f->p, PAGER_GONE);
	}
}

static bool step(struct fault_thread *f)
{
	unsigned int did = read_faults(f);

	if (f->nr_waiters) {
		fills_unstage(f->fills); /* the evictor needs all it can get */
		did += retry_waiters(f);
	}
	did += readahead_more(&f->ahead);
	atomic_store(&f->p->starved, f->nr_waiters || f->ahead.rest.nr);
	if (did)
		readahead_learn(&f->ahead);
	if (atomic_load_explicit(&f->p->bring_back, memory_order_relaxed))
		did += bring_back(f);
	did += fills_reap(f->fills);
	return did > 0;
}

static void *fault_main(void *arg)
{
	struct fault_thread *f = arg;
	uint64_t last = clock_ns();

	while (!f->gone && !atomic_load_explicit(&f->p->stop, memory_order_relaxed)) {
		if (step(f)) {
			last = clock_ns();
		} else if (!fills_under_way(f->fills) &&
			   clock_ns() - last < f->spin_ns) {
			__builtin_ia32_pause();
		} else {
			sleep_for_event(f);
			last = clock_ns();
		}
	}
	while (fills_under_way(f->fills)) { /* their buffers are about to go */
		struct pollfd fd = { .fd = fills_fd(f->fills), .events = POLLIN };

		if (!fills_reap(f->fills))
			poll(&fd, 1, 100);
	}
	return NULL;
}

/* With one CPU, whoever spins keeps away whom he waits for. */
static bool has_cpus(void)
{
	cpu_set_t set;

	return !sched_getaffinity(0, sizeof(set), &set) && CPU_COUNT(&set) > 1;
}

int fault_thread_start(struct pager *p, struct fault_thread **ret)
{
	struct fault_thread *f = calloc(1, sizeof(*f));
	sigset_t all, before;
	int r;

	if (!f)
		return -ENOMEM;
	f->p = p;
	f->spin_ns = has_cpus() ? p->cfg.spin_us * UINT64_C(1000) : 0;
	r = fills_new(p, fill_failed, f, &f->fills);
	if (r < 0) {
		free(f);
		return r;
	}
	readahead_init(&f->ahead, p, f->fills);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	r = -pthread_create(&f->thread, NULL, fault_main, f);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r < 0) {
		fills_free(f->fills);
		free(f);
		return r;
	}
	*ret = f;
	return 0;
}

void fault_thread_join(struct fault_thread *f)
{
	pthread_join(f->thread, NULL);
	fills_free(f->fills);
	free(f);
}
