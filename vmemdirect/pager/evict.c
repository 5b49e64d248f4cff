/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The evictor: wakes when free room falls below the low water mark, takes batches of
 * pages out of the guest until it is above the high one, so that a fault hardly ever
 * waits for an eviction.
 *
 * A batch: chosen by the policy, RESIDENT -> EVICTING; write-protected, run by run, so
 * that from here on a write of the guest is a message to the fault thread, which takes
 * the page back; looked at for pins (pin.h); read and hashed; what the tier has not got yet is written; and what
 * is still EVICTING then is punched (PUNCHING) and ABSENT. The next batch begins when
 * all writes of this one are acknowledged: no page has two writes under way.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/fault.h"
#include "lib/list.h"
#include "lib/log.h"
#include "vmemdirect/pager/hash.h"
#include "vmemdirect/pager/policy.h"
#include "vmemdirect/pager/priv.h"
#include "vmemdirect/pager/sample.h"
#include "vmemdirect/uffd.h"

#define BATCH           256 /* pages: 1 MiB of buffer */
#define EVICTOR_NICE    5
#define FAILED_REST_MS  200
#define UNPLUG_AGAIN_MS 20
#define WRITE_RUN_PAGES 64 /* larger writes only delay the faults' reads */

enum victim_end {
	VICTIM_BACK,  /* goes back to the guest */
	VICTIM_ZERO,  /* nothing to keep */
	VICTIM_CLEAN, /* the tier has these bytes */
	VICTIM_DIRTY, /* to be written; then CLEAN, or BACK if that fails */
};

struct victim {
	uint32_t pfn;
	enum victim_end end;
	bool clean; /* nothing had to be written */
	uint64_t hash;
};

/* One write of a run of victims. */
struct run_write {
	struct tier_io io;
	struct evictor *e;
	unsigned int first; /* victim */
};

struct evictor {
	struct pager *p;
	pthread_t thread;
	struct tier_queue *queue; /* owned */
	struct sampler *sampler;  /* owned */
	struct policy policy;
	uint8_t *buffer; /* owned mapping: a page for each victim */
	unsigned int nr, writes_under_way;
	bool failing;     /* the last write that was tried */
	uint32_t dropped; /* unplugged blocks that are done with */
	int policy_told;  /* the kind main wanted last */
	struct victim victim[BATCH];
	struct run_write write[BATCH];
	uint32_t chosen[BATCH];
};

static struct page *page_of(struct evictor *e, const struct victim *v)
{
	return &e->p->t->page[v->pfn];
}

static uint8_t *bytes_of(struct evictor *e, unsigned int i)
{
	return e->buffer + (size_t)i * GUEST_PAGE_SIZE;
}

/* How many victims from `i` on follow each other in one block. */
static unsigned int run_length(const struct evictor *e, unsigned int i)
{
	const struct guest_block *b = guest_block_of(e->p->g, e->victim[i].pfn);
	unsigned int k = i + 1;

	while (k < e->nr && e->victim[k].pfn == e->victim[k - 1].pfn + 1 &&
	       e->victim[k].pfn < guest_block_end(b))
		k++;
	return k - i;
}

/* ---- the steps of a batch ---- */

static void choose(struct evictor *e, unsigned int max)
{
	unsigned int n = policy_choose(&e->policy, e->chosen, max);

	e->nr = 0;
	for (unsigned int i = 0; i < n; i++) {
		uint32_t pfn = e->chosen[i];

		if (page_move(&e->p->t->page[pfn], PAGE_RESIDENT, PAGE_EVICTING, 0, 0,
			      NULL))
			e->victim[e->nr++] = (struct victim){ .pfn = pfn };
		else if (pager_is_unplugged(e->p, pfn))
			policy_gone(&e->policy, pfn);
		else
			policy_keep(&e->policy, pfn); /* the fault thread looks at it */
	}
}

static void mark(struct evictor *e, unsigned int i, unsigned int n, enum victim_end end)
{
	for (unsigned int k = i; k < i + n; k++)
		e->victim[k].end = end;
}

static void protect(struct evictor *e)
{
	for (unsigned int i = 0, n; i < e->nr; i += n) {
		uint32_t pfn = e->victim[i].pfn;
		const struct guest_block *b = guest_block_of(e->p->g, pfn);
		int r;

		n = run_length(e, i);
		r = uffd_protect(e->p->g->uffd, guest_hva(b, pfn),
				 (uint64_t)n << GUEST_PAGE_SHIFT);
		mark(e, i, n, r < 0 ? VICTIM_BACK : VICTIM_DIRTY);
		if (r == -ESRCH)
			pager_raise(e->p, PAGER_GONE);
	}
}

/* No write pin can start any more; those that started before must not be punched. */
static void spare_pinned(struct evictor *e)
{
	uint32_t pfn[BATCH];
	bool pinned[BATCH];

	if (!e->p->cfg.pin || !e->nr)
		return;
	for (unsigned int i = 0; i < e->nr; i++)
		pfn[i] = e->victim[i].pfn;
	pin_look(e->p->cfg.pin, pfn, e->nr, pinned);
	for (unsigned int i = 0; i < e->nr; i++)
		if (pinned[i]) {
			e->victim[i].end = VICTIM_BACK;
			count(&e->p->evict_pinned, 1);
		}
}

/* The bytes cannot change any more (but for pages that were taken back). */
static void read_bytes(struct evictor *e)
{
	for (unsigned int i = 0, n; i < e->nr; i += n) {
		uint32_t pfn = e->victim[i].pfn;
		const struct guest_block *b = guest_block_of(e->p->g, pfn);
		size_t len;

		n = run_length(e, i);
		len = (size_t)n << GUEST_PAGE_SHIFT;
		if (fault_point("evict.read") < 0 ||
		    pread(b->fd, bytes_of(e, i), len, (off_t)guest_offset(b, pfn)) !=
			    (ssize_t)len)
			mark(e, i, n, VICTIM_BACK);
	}
}

/* Has the tier these very bytes, where they can be had? Else who has them is the guest. */
static bool is_stored(struct evictor *e, const struct victim *v)
{
	struct page *pg = page_of(e, v);

	return (page_word(pg) & PAGE_STORED) && pg->hash == v->hash &&
	       tier_holds(e->p->tier, v->pfn);
}

static void judge(struct evictor *e)
{
	const uint64_t *key = e->p->t->header->hash_key;

	for (unsigned int i = 0; i < e->nr; i++) {
		struct victim *v = &e->victim[i];

		if (v->end == VICTIM_BACK)
			continue;
		if (hash_is_zero(bytes_of(e, i))) {
			v->end = VICTIM_ZERO;
			continue;
		}
		v->hash = hash_page(bytes_of(e, i), key);
		if (is_stored(e, v)) {
			v->end = VICTIM_CLEAN;
			v->clean = true;
		} else if (!page_flags_if(page_of(e, v), PAGE_EVICTING, 0,
					  PAGE_STORED)) {
			/* (Until the write is acknowledged the tier's copy is neither
			 * the old nor the new one.) */
			v->end = VICTIM_BACK;
		}
	}
}

static void write_done(struct tier_io *io)
{
	struct run_write *w = container_of(io, struct run_write, io);
	struct evictor *e = w->e;

	e->writes_under_way--;
	mark(e, w->first, io->nr_pages, io->result < 0 ? VICTIM_BACK : VICTIM_CLEAN);
	if (io->result < 0) {
		count(&e->p->write_errors, 1);
		if (!e->failing)
			vm_err(e->p->g,
			       "writing to the tier failed: %s; pages stay in memory "
			       "and "
			       "the VM waits",
			       strerror(-io->result));
		e->failing = true;
		pager_raise(e->p, PAGER_STORE_FAILED);
	} else {
		count(&e->p->evicted_written, io->nr_pages);
		if (e->failing) {
			e->failing = false;
			vm_note(e->p->g, "the tier takes writes again");
			pager_raise(e->p, PAGER_STORE_OK);
		}
	}
}

static unsigned int dirty_run(const struct evictor *e, unsigned int i)
{
	unsigned int k = i;

	while (k < e->nr && k - i < WRITE_RUN_PAGES &&
	       e->victim[k].end == VICTIM_DIRTY &&
	       e->victim[k].pfn == e->victim[i].pfn + (k - i))
		k++;
	return k - i;
}

static void write_dirty(struct evictor *e)
{
	for (unsigned int i = 0, n; i < e->nr; i += n ? n : 1) {
		struct run_write *w = &e->write[i];

		n = dirty_run(e, i);
		if (!n)
			continue;
		w->e = e;
		w->first = i;
		w->io = (struct tier_io){
			.buf = bytes_of(e, i),
			.pfn = e->victim[i].pfn,
			.nr_pages = n,
			.write = true,
			.done = write_done,
		};
		if (tier_submit(e->queue, &w->io) < 0) /* the queue has room for all */
			mark(e, i, n, VICTIM_BACK);
		else
			e->writes_under_way++;
	}
	tier_kick(e->queue);
	while (e->writes_under_way)
		if (!tier_reap(e->queue))
			tier_wait(e->queue);
}

/* ---- the end of a batch ---- */

/*
 * It stays, so a small tier needs the room that a write of it has taken. Even if the
 * guest has taken it back: what is not STORED is never looked for on the tier, only this
 * thread makes it STORED, and only this thread lets a page go that is in memory, so that
 * the fault thread has no request of it and can have none before we return.
 */
static void forget_written(struct evictor *e, const struct victim *v)
{
	if (tier_is_small(e->p->tier) && !(page_word(page_of(e, v)) & PAGE_STORED))
		tier_forget(e->p->tier, v->pfn, 1);
}

static void give_back(struct evictor *e, struct victim *v)
{
	const struct guest_block *b = guest_block_of(e->p->g, v->pfn);

	forget_written(e, v);
	/* False: the guest has taken it back already. (ZERO: as in fault_present.) */
	if (page_move(page_of(e, v), PAGE_EVICTING, PAGE_FILLING, PAGE_ZERO, 0, NULL)) {
		uffd_unprotect(e->p->g->uffd, guest_hva(b, v->pfn), GUEST_PAGE_SIZE);
		page_move(page_of(e, v), PAGE_FILLING, PAGE_RESIDENT, 0, PAGE_ZERO,
			  NULL);
		/* A fault that met FILLING in between was left to us: one on a hole,
		 * of a page that a balloon has discarded. */
		uffd_wake(e->p->g->uffd, guest_hva(b, v->pfn), GUEST_PAGE_SIZE);
		count(&e->p->evict_failed, 1);
	} else {
		count(&e->p->evict_cancelled, 1);
	}
	policy_keep(&e->policy, v->pfn);
}

/* Moves a victim on to PUNCHING with what is known of its bytes; false: taken back. */
static bool commit(struct evictor *e, struct victim *v)
{
	struct page *pg = page_of(e, v);

	if (v->end == VICTIM_ZERO)
		return page_move(pg, PAGE_EVICTING, PAGE_PUNCHING, PAGE_ZERO,
				 e->p->tier->ops->forget ? PAGE_STORED : 0, NULL);
	pg->hash = v->hash; /* means nothing until STORED is set with the move */
	return page_move(pg, PAGE_EVICTING, PAGE_PUNCHING, PAGE_STORED, PAGE_ZERO,
			 NULL);
}

static bool is_hole(int fd, uint64_t offset, uint64_t len)
{
	off_t at = lseek(fd, (off_t)offset, SEEK_DATA);

	if (fault_point("evict.hole") < 0) /* as if the kernel had zeroed it only */
		return false;
	return at < 0 ? errno == ENXIO : (uint64_t)at >= offset + len;
}

static void gone(struct evictor *e, struct victim *v)
{
	const struct guest_block *b = guest_block_of(e->p->g, v->pfn);
	uint32_t was = 0;

	if (v->end == VICTIM_ZERO)
		tier_forget(e->p->tier, v->pfn, 1);
	policy_gone(&e->policy, v->pfn);
	page_move(page_of(e, v), PAGE_PUNCHING, PAGE_ABSENT, 0,
		  PAGE_WANTED | PAGE_OF_STAY, &was);
	if (was & PAGE_WANTED)
		uffd_wake(e->p->g->uffd, guest_hva(b, v->pfn), GUEST_PAGE_SIZE);
	if (v->end == VICTIM_ZERO)
		count(&e->p->evicted_zero, 1);
	else if (v->clean)
		count(&e->p->evicted_clean, 1);
}

/* The kernel would not free it, and may have zeroed it: the bytes go back in place. */
static void not_gone(struct evictor *e, unsigned int i)
{
	struct victim *v = &e->victim[i];
	const struct guest_block *b = guest_block_of(e->p->g, v->pfn);

	if (pwrite(b->fd, bytes_of(e, i), GUEST_PAGE_SIZE,
		   (off_t)guest_offset(b, v->pfn)) != (ssize_t)GUEST_PAGE_SIZE) {
		vm_err(e->p->g, "page %u: neither freed nor put back: %s", v->pfn,
		       strerror(errno));
		pager_raise(e->p, PAGER_LOST);
	}
	page_move(page_of(e, v), PAGE_PUNCHING, PAGE_RESIDENT, 0,
		  PAGE_ZERO | PAGE_WANTED, NULL);
	uffd_unprotect(e->p->g->uffd, guest_hva(b, v->pfn), GUEST_PAGE_SIZE);
	uffd_wake(e->p->g->uffd, guest_hva(b, v->pfn), GUEST_PAGE_SIZE);
	policy_keep(&e->policy, v->pfn);
	count(&e->p->evict_failed, 1);
}

/* Victims [i, i+n) follow each other and are PUNCHING. Returns how many have left. */
static unsigned int punch(struct evictor *e, unsigned int i, unsigned int n)
{
	uint32_t pfn = e->victim[i].pfn;
	const struct guest_block *b = guest_block_of(e->p->g, pfn);
	uint64_t offset = guest_offset(b, pfn), len = (uint64_t)n << GUEST_PAGE_SHIFT;
	unsigned int left = 0;
	bool all = false;

	if (!fault_point("evict.punch") &&
	    !fallocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
		       (off_t)len))
		all = is_hole(b->fd, offset, len);
	for (unsigned int k = 0; k < n; k++)
		if (all ||
		    is_hole(b->fd, offset + k * GUEST_PAGE_SIZE, GUEST_PAGE_SIZE)) {
			gone(e, &e->victim[i + k]);
			left++;
		} else {
			not_gone(e, i + k);
		}
	return left;
}

static unsigned int finish(struct evictor *e)
{
	unsigned int left = 0;

	for (unsigned int i = 0, n; i < e->nr; i += n ? n : 1) {
		unsigned int run = run_length(e, i);

		for (n = 0; n < run; n++)
			if (e->victim[i + n].end == VICTIM_BACK ||
			    !commit(e, &e->victim[i + n]))
				break;
		if (n)
			left += punch(e, i, n);
		if (n < run) { /* the one that ended the run */
			give_back(e, &e->victim[i + n]);
			n++;
		}
	}
	pager_release(e->p, left);
	return left;
}

static unsigned int evict(struct evictor *e, unsigned int max)
{
	uint64_t before = counted(&e->p->reserved);
	unsigned int left;

	choose(e, max);
	if (!e->nr)
		return 0;
	protect(e);
	spare_pinned(e);
	read_bytes(e);
	judge(e);
	write_dirty(e);
	left = finish(e);
	pager_rate(e->p, counted(&e->p->reserved) - before);
	return left;
}

/* ---- the loop ---- */

/* Where the pages' heat is known, from the source of a migration or from the daemon
 * before this one, the policy begins with it. */
static void take_stock(struct evictor *e)
{
	struct page_table *t = e->p->t;
	bool known = false;

	for (uint64_t i = 0; i < t->nr_pages && !known; i++)
		known = page_word(&t->page[i]) & PAGE_AGE_MASK;
	for (uint64_t i = 0; i < t->nr_pages && known; i++)
		if (page_state(page_word(&t->page[i])) == PAGE_RESIDENT)
			policy_adopt(&e->policy, (uint32_t)i);
}

static void take_newcomers(struct evictor *e)
{
	struct pager *p = e->p;
	uint32_t head = atomic_load_explicit(&p->newcomers_head, memory_order_relaxed);
	uint32_t tail = atomic_load_explicit(&p->newcomers_tail, memory_order_acquire);

	for (; head != tail; head++)
		policy_add(&e->policy, p->newcomers[head % NEWCOMERS]);
	atomic_store_explicit(&p->newcomers_head, head, memory_order_release);
	if (!atomic_exchange(&p->newcomers_lost, false))
		return;
	/* (FILLING: looked into by the fault thread, which does not tell of it again.) */
	for (uint64_t i = 0; i < p->t->nr_pages; i++)
		if (page_state(page_word(&p->t->page[i])) != PAGE_ABSENT)
			policy_add(&e->policy, (uint32_t)i);
}

/* What the policy and its probes have seen, for the prefetcher and for people. */
static void report(struct evictor *e)
{
	struct policy *y = &e->policy;
	uint64_t ns, pages;

	count(&e->p->probe_hits_all, y->probe_hits);
	count(&e->p->probe_misses_all, y->probe_misses);
	if (y->probe_hits)
		atomic_fetch_add(&e->p->probe_hits, y->probe_hits);
	if (y->probe_misses)
		atomic_fetch_add(&e->p->probe_misses, y->probe_misses);
	y->probe_hits = y->probe_misses = 0;
	sampler_cost(e->sampler, &ns, &pages);
	atomic_store_explicit(&e->p->sampled_ns, ns, memory_order_relaxed);
	atomic_store_explicit(&e->p->sampled_touched, y->touched, memory_order_relaxed);
	atomic_store_explicit(&e->p->sampled_untouched, y->untouched,
			      memory_order_relaxed);
	atomic_store_explicit(&e->p->ghost_hits, y->ghost_hits, memory_order_relaxed);
	atomic_store_explicit(&e->p->hot_pages, y->main.len, memory_order_relaxed);
}

/* How many pages have to leave until there is as much room as `mark`. */
static uint64_t missing_room(struct evictor *e,
			     uint64_t (*mark_of)(const struct pager *))
{
	uint64_t limit = atomic_load(&e->p->limit), used = atomic_load(&e->p->used);
	uint64_t want = mark_of(e->p);

	if (atomic_load(&e->p->bring_back))
		return 0;
	return used + want > limit ? used + want - limit : 0;
}

/* An order that came before the bell was armed rang for nobody. */
static bool has_orders(struct evictor *e)
{
	return missing_room(e, pager_low_water) ||
	       atomic_load(&e->p->unplugged) & ~e->dropped ||
	       (atomic_load(&e->p->bring_back) && !atomic_load(&e->p->evictions_over));
}

static void rest(struct evictor *e, int timeout_ms)
{
	struct pollfd fd = { .fd = e->p->evict_bell.fd, .events = POLLIN };

	bell_arm(&e->p->evict_bell);
	if (!atomic_load(&e->p->stop_evictor) && (timeout_ms >= 0 || !has_orders(e)))
		poll(&fd, 1, timeout_ms);
	bell_disarm(&e->p->evict_bell);
}

/* A new policy takes the queues as they are. */
static void obey(struct evictor *e)
{
	int kind = atomic_load_explicit(&e->p->policy, memory_order_relaxed);

	if (kind != e->policy_told)
		e->policy.kind = (enum policy_kind)kind;
	e->policy_told = kind;
}

/*
 * Evictions are work ahead: what the guest and the fault thread do in the meantime goes
 * first. A vCPU that wakes with its page must not wait for the end of a time slice.
 */
static void step_back(void)
{
	const struct sched_param none = { 0 };

	sched_setscheduler(0, SCHED_BATCH, &none);
	setpriority(PRIO_PROCESS, (id_t)gettid(),
		    getpriority(PRIO_PROCESS, 0) + EVICTOR_NICE);
}

/* False: not all of it can go yet. */
static bool drop_unplugged(struct evictor *e)
{
	uint32_t gone = atomic_load(&e->p->unplugged) & ~e->dropped;

	for (unsigned int i = 0; gone >> i; i++)
		if (gone & 1u << i && unplug_drop(e->p, i))
			e->dropped |= 1u << i;
	return !(gone & ~e->dropped);
}

static void *evictor_main(void *arg)
{
	struct evictor *e = arg;
	bool working = false;

	step_back();
	while (!atomic_load(&e->p->stop_evictor)) {
		int doze_ms = drop_unplugged(e) ? -1 : UNPLUG_AGAIN_MS;

		if (atomic_load(&e->p->bring_back)) {
			atomic_store(&e->p->evictions_over, true);
			rest(e, doze_ms);
			continue;
		}
		uint64_t missing =
			missing_room(e, working ? pager_high_water : pager_low_water);

		working = missing > 0;
		if (!working) {
			rest(e, doze_ms);
			continue;
		}
		missing = missing_room(e, pager_high_water);
		take_newcomers(e);
		obey(e);
		if (!evict(e, missing < BATCH ? (unsigned int)missing : BATCH))
			rest(e, e->failing ? FAILED_REST_MS : 5);
		report(e);
	}
	return NULL;
}

static bool unmap(void *arg, const uint32_t *pfn, unsigned int n)
{
	struct evictor *e = arg;

	if (e->p->cfg.pin)
		pin_note(e->p->cfg.pin, pfn, n);
	return sampler_unmap(e->sampler, pfn, n);
}

static bool mapped(void *arg, const uint32_t *pfn, unsigned int n, bool *ret)
{
	struct evictor *e = arg;

	return sampler_mapped(e->sampler, pfn, n, ret);
}

static void evictor_free(struct evictor *e)
{
	tier_queue_close(e->queue);
	sampler_free(e->sampler);
	if (e->buffer)
		munmap(e->buffer, BATCH * GUEST_PAGE_SIZE);
	free(e);
}

static int start_thread(struct evictor *e)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	r = -pthread_create(&e->thread, NULL, evictor_main, e);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

int evictor_start(struct pager *p, struct evictor **ret)
{
	struct evictor *e = calloc(1, sizeof(*e));
	int r = -ENOMEM;

	if (!e)
		return r;
	e->p = p;
	e->buffer = mmap(NULL, BATCH * GUEST_PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (e->buffer == MAP_FAILED) {
		e->buffer = NULL;
		goto fail;
	}
	r = tier_queue_open(p->tier, BATCH, &e->queue);
	if (!r)
		r = sampler_new(p->g, &e->sampler);
	if (r < 0)
		goto fail;
	e->policy_told = (int)p->cfg.policy;
	policy_init(&e->policy, p->t->page, p->cfg.policy,
		    &(struct policy_sampler){ unmap, mapped, e });
	take_stock(e);
	r = start_thread(e);
	if (r < 0)
		goto fail;
	*ret = e;
	return 0;
fail:
	evictor_free(e);
	return r;
}

void evictor_join(struct evictor *e)
{
	pthread_join(e->thread, NULL);
	evictor_free(e);
}
