/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest, a page table and a tier in, a paged guest out: registration, the stock of
 * what is resident, the count that keeps the limit, start and stop of the threads.
 * The caller's thread, but for the reserve/newcomer calls of the fault thread.
 */
#include "vmemdirect/pager/pager.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/log.h"
#include "vmemdirect/pager/priv.h"
#include "vmemdirect/uffd.h"

/* ---- bells and events ---- */

int bell_init(struct bell *b)
{
	b->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	atomic_init(&b->armed, false);
	return b->fd < 0 ? -errno : 0;
}

void bell_fini(struct bell *b)
{
	if (b->fd >= 0)
		close(b->fd);
	b->fd = -1;
}

void bell_ring(struct bell *b)
{
	uint64_t one = 1;

	atomic_thread_fence(memory_order_seq_cst); /* after what the sleeper looks at */
	if (atomic_exchange(&b->armed, false))
		while (write(b->fd, &one, sizeof(one)) < 0 && errno == EINTR)
			;
}

void bell_arm(struct bell *b)
{
	atomic_store(&b->armed, true);
	atomic_thread_fence(memory_order_seq_cst);
}

void bell_disarm(struct bell *b)
{
	uint64_t n;

	atomic_store(&b->armed, false);
	while (read(b->fd, &n, sizeof(n)) < 0 && errno == EINTR)
		;
}

void pager_raise(struct pager *p, uint32_t events)
{
	uint64_t one = 1;

	atomic_fetch_or(&p->events, events);
	while (write(p->event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

int pager_event_fd(const struct pager *p)
{
	return p->event_fd;
}

uint32_t pager_events(struct pager *p)
{
	uint64_t n;

	while (read(p->event_fd, &n, sizeof(n)) < 0 && errno == EINTR)
		;
	return atomic_exchange(&p->events, 0);
}

/* ---- room ---- */

uint64_t pager_least_room(uint64_t limit)
{
	uint64_t low = limit / 256;

	return low < 32 ? 32 : low > 2048 ? 2048 : low;
}

uint64_t pager_low_water(const struct pager *p)
{
	uint64_t limit = atomic_load_explicit(&p->limit, memory_order_relaxed);
	uint64_t rate = 2 * atomic_load_explicit(&p->rate, memory_order_relaxed);
	uint64_t least = pager_least_room(limit), most = limit / 16;

	if (most < least)
		return least;
	return rate < least ? least : rate > most ? most : rate;
}

uint64_t pager_high_water(const struct pager *p)
{
	return pager_low_water(p) + 2 * pager_least_room(atomic_load_explicit(
						&p->limit, memory_order_relaxed));
}

/* Up at once, down slowly. */
void pager_rate(struct pager *p, uint64_t pages)
{
	uint64_t rate = atomic_load_explicit(&p->rate, memory_order_relaxed);

	atomic_store_explicit(&p->rate, pages > rate ? pages : rate - rate / 8,
			      memory_order_relaxed);
}

bool pager_reserve(struct pager *p, uint64_t n, uint64_t spare)
{
	uint64_t limit = atomic_load_explicit(&p->limit, memory_order_relaxed);
	uint64_t used = atomic_load_explicit(&p->used, memory_order_relaxed);

	do {
		if (used + n + spare > limit) {
			bell_ring(&p->evict_bell);
			return false;
		}
	} while (!atomic_compare_exchange_weak(&p->used, &used, used + n));
	count(&p->reserved, n);
	if (used + n + pager_low_water(p) > limit)
		bell_ring(&p->evict_bell);
	return true;
}

void pager_release(struct pager *p, uint64_t n)
{
	atomic_fetch_sub(&p->used, n);
	if (atomic_load(&p->starved))
		bell_ring(&p->fault_bell);
}

void pager_newcomer(struct pager *p, uint64_t pfn)
{
	uint32_t tail = atomic_load_explicit(&p->newcomers_tail, memory_order_relaxed);

	if (tail - atomic_load_explicit(&p->newcomers_head, memory_order_acquire) ==
	    NEWCOMERS) {
		atomic_store(&p->newcomers_lost, true);
		return;
	}
	p->newcomers[tail % NEWCOMERS] = (uint32_t)pfn;
	atomic_store_explicit(&p->newcomers_tail, tail + 1, memory_order_release);
}

void pager_set_limit(struct pager *p, uint64_t limit_pages)
{
	atomic_store(&p->limit, limit_pages);
	p->t->header->limit_pages = limit_pages;
	bell_ring(&p->evict_bell);
	bell_ring(&p->fault_bell);
}

void pager_bring_back(struct pager *p)
{
	atomic_store(&p->limit, p->t->nr_pages + 3 * pager_least_room(p->t->nr_pages));
	atomic_store(&p->bring_back, true);
	bell_ring(&p->evict_bell);
	bell_ring(&p->fault_bell);
}

void pager_unplugged(struct pager *p, unsigned int block)
{
	atomic_fetch_or(&p->unplugged, 1u << block);
	bell_ring(&p->evict_bell);
}

void pager_set_policy(struct pager *p, enum policy_kind kind)
{
	atomic_store(&p->policy, (int)kind);
}

void pager_heat(const struct pager *p, unsigned int cells, uint8_t *ret_resident,
		uint8_t *ret_heat)
{
	uint64_t nr = p->t->nr_pages;

	for (unsigned int c = 0; c < cells; c++) {
		uint64_t from = nr * c / cells, to = nr * (c + 1) / cells;
		uint64_t resident = 0, heat = 0;

		for (uint64_t i = from; i < to; i++) {
			uint32_t w = page_word(&p->t->page[i]);

			if (page_state(w) == PAGE_ABSENT)
				continue;
			resident++;
			heat += w >> PAGE_AGE_SHIFT;
		}
		ret_resident[c] =
			to > from ? (uint8_t)(resident * 255 / (to - from)) : 0;
		ret_heat[c] = resident ? (uint8_t)(heat / resident) : 0;
	}
}

uint64_t pager_stored_absent(const struct pager *p)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < p->t->nr_pages; i++) {
		uint32_t w = page_word(&p->t->page[i]);

		if (page_state(w) == PAGE_ABSENT && (w & PAGE_STORED) &&
		    !(w & PAGE_ZERO))
			n++;
	}
	return n;
}

/* ---- what is there ---- */

/*
 * The object itself says which pages exist; after a crash it alone is right. A page
 * that exists has the newest bytes, for a page is punched only after its bytes were
 * acknowledged by the tier, and then STORED or ZERO is set. A page that does not exist
 * is where its flags say; if they say nothing, it was discarded (balloon): zeros.
 */
static void settle_present(struct page *pg)
{
	uint32_t w = page_word(pg) & (PAGE_STORED | PAGE_AGE_MASK);

	pg->link = 0;
	atomic_store(&pg->word, w | PAGE_RESIDENT);
}

static void settle_absent(struct page *pg)
{
	uint32_t w = page_word(pg);
	bool was_out = page_state(w) != PAGE_RESIDENT && page_state(w) != PAGE_EVICTING;
	bool stored = was_out && (w & PAGE_STORED) && !(w & PAGE_ZERO);

	pg->link = 0;
	atomic_store(&pg->word, PAGE_ABSENT | (stored ? PAGE_STORED : PAGE_ZERO) |
					(w & PAGE_AGE_MASK));
}

static int settle_block(struct pager *p, const struct guest_block *b, uint64_t *used)
{
	uint64_t pfn = b->first_pfn, end = guest_block_end(b), data_end;

	while (pfn < end) {
		off_t at = lseek(b->fd, (off_t)guest_offset(b, pfn), SEEK_DATA);
		uint64_t data = at < 0 ? end
				       : b->first_pfn + (((uint64_t)at - b->offset) >>
							 GUEST_PAGE_SHIFT);

		if (at < 0 && errno != ENXIO)
			return -errno;
		if (data > end)
			data = end;
		for (; pfn < data; pfn++)
			settle_absent(&p->t->page[pfn]);
		if (pfn == end)
			break;
		at = lseek(b->fd, (off_t)guest_offset(b, pfn), SEEK_HOLE);
		if (at < 0)
			return -errno;
		data_end =
			b->first_pfn + (((uint64_t)at - b->offset) >> GUEST_PAGE_SHIFT);
		if (data_end > end)
			data_end = end;
		*used += data_end - pfn;
		for (; pfn < data_end; pfn++)
			settle_present(&p->t->page[pfn]);
	}
	return 0;
}

static int take_stock(struct pager *p)
{
	uint64_t used = 0;

	for (unsigned int i = 0; i < p->g->nr_blocks; i++) {
		int r = settle_block(p, &p->g->block[i], &used);

		if (r < 0) {
			vm_err(p->g, "%s: cannot tell which pages exist: %s",
			       p->g->block[i].name, strerror(-r));
			return r;
		}
	}
	atomic_store(&p->used, used);
	atomic_store(&p->newcomers_lost, true); /* the evictor looks at all of them */
	return 0;
}

static void unregister(struct pager *p)
{
	for (unsigned int i = 0; i < p->g->nr_blocks; i++) {
		const struct guest_block *b = &p->g->block[i];

		uffd_unprotect(p->g->uffd, b->hva, b->size_bytes);
		uffd_unregister(p->g->uffd, b->hva, b->size_bytes);
	}
}

/* A daemon that goes on registers again, for the one before may have died between the
 * journal's word and the deed; a block it finds gone was unplugged. */
static int register_all(struct pager *p, bool resume)
{
	for (unsigned int i = 0; i < p->g->nr_blocks; i++) {
		const struct guest_block *b = &p->g->block[i];
		int r = uffd_register(p->g->uffd, b->hva, b->size_bytes);

		if (r < 0 && !resume) {
			vm_err(p->g, "%s cannot be registered with userfaultfd: %s",
			       b->name,
			       r == -EBUSY
				       ? "another one (a post-copy migration?) has it"
				       : strerror(-r));
			unregister(p);
			return r;
		}
	}
	return 0;
}

/*
 * Who waited when the last daemon died tries again, and tells us. Before the evictor
 * runs: this takes the protection off whatever it would be evicting.
 */
static void wake_all(struct pager *p)
{
	for (unsigned int i = 0; i < p->g->nr_blocks; i++) {
		const struct guest_block *b = &p->g->block[i];

		uffd_unprotect(p->g->uffd, b->hva, b->size_bytes);
		uffd_wake(p->g->uffd, b->hva, b->size_bytes);
	}
}

/* ---- life ---- */

int pager_new(const struct pager_cfg *cfg, const struct guest *g, struct page_table *t,
	      struct tier *tier, struct pager **ret)
{
	struct pager *p = calloc(1, sizeof(*p));
	int r = -ENOMEM;

	if (!p)
		return r;
	p->g = g;
	p->t = t;
	p->tier = tier;
	p->cfg = *cfg;
	p->event_fd = p->fault_bell.fd = p->evict_bell.fd = -1;
	atomic_init(&p->limit, cfg->limit_pages);
	atomic_init(&p->policy, (int)cfg->policy);
	t->header->limit_pages = cfg->limit_pages;
	p->newcomers = calloc(NEWCOMERS, sizeof(p->newcomers[0]));
	if (!p->newcomers)
		goto fail;
	p->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = p->event_fd < 0 ? -errno : bell_init(&p->fault_bell);
	if (!r)
		r = bell_init(&p->evict_bell);
	if (r < 0)
		goto fail;
	*ret = p;
	return 0;
fail:
	pager_free(p);
	return r;
}

int pager_start(struct pager *p, bool resume)
{
	int r;

	/* (Before the deed: from then on only who knows it answers faults on holes.) */
	atomic_store(&p->t->header->attached, 1);
	r = register_all(p, resume);
	if (r < 0) {
		atomic_store(&p->t->header->attached, 0);
		return r;
	}
	r = take_stock(p);
	if (!r && resume)
		wake_all(p);
	/* The evictor last: as long as anything can fail, no page has left. */
	if (!r)
		r = fault_thread_start(p, &p->faulter);
	if (!r)
		r = evictor_start(p, &p->evictor);
	if (r < 0) {
		pager_stop(p, !resume);
		return r;
	}
	p->running = true;
	return 0;
}

void pager_stop(struct pager *p, bool release)
{
	atomic_store(&p->stop_evictor, true);
	bell_ring(&p->evict_bell);
	if (p->evictor)
		evictor_join(p->evictor);
	/* The VM may fault until it is unregistered: the fault thread ends last. */
	if (release)
		unregister(p);
	atomic_store(&p->stop, true);
	bell_ring(&p->fault_bell);
	if (p->faulter)
		fault_thread_join(p->faulter);
	p->evictor = NULL;
	p->faulter = NULL;
	p->running = false;
	if (release)
		atomic_store(&p->t->header->attached, 0);
}

void pager_free(struct pager *p)
{
	if (!p)
		return;
	if (p->event_fd >= 0)
		close(p->event_fd);
	bell_fini(&p->fault_bell);
	bell_fini(&p->evict_bell);
	free(p->newcomers);
	free(p);
}

void pager_get_stats(const struct pager *p, struct pager_stats *ret)
{
	*ret = (struct pager_stats){
		.nr_pages = p->t->nr_pages,
		.limit = atomic_load(&p->limit),
		.resident = atomic_load(&p->used),
		.faults_zero = counted(&p->faults_zero),
		.faults_tier = counted(&p->faults_tier),
		.faults_inflight = counted(&p->faults_inflight),
		.faults_cancel = counted(&p->faults_cancel),
		.faults_other = counted(&p->faults_other),
		.waits = counted(&p->waits),
		.reading = counted(&p->reading),
		.reading_most = counted(&p->reading_most),
		.prefetched = counted(&p->prefetched),
		.probe_hits = counted(&p->probe_hits_all),
		.probe_misses = counted(&p->probe_misses_all),
		.evicted_zero = counted(&p->evicted_zero),
		.evicted_clean = counted(&p->evicted_clean),
		.evicted_written = counted(&p->evicted_written),
		.evict_cancelled = counted(&p->evict_cancelled),
		.evict_failed = counted(&p->evict_failed),
		.evict_pinned = counted(&p->evict_pinned),
		.sampled_touched = counted(&p->sampled_touched),
		.sampled_untouched = counted(&p->sampled_untouched),
		.sampled_ns = counted(&p->sampled_ns),
		.ghost_hits = counted(&p->ghost_hits),
		.hot_pages = counted(&p->hot_pages),
		.read_errors = counted(&p->read_errors),
		.bad_hashes = counted(&p->bad_hashes),
		.write_errors = counted(&p->write_errors),
		.lost_pages = counted(&p->lost_pages),
	};
	hist_merge(&ret->fault_ns, &p->fault_ns);
}
