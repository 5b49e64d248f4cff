/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pager: keeps at most `limit` pages of a guest resident, all others on a tier.
 * This is its one door for main and ctl.
 *
 * Three threads touch pages: the fault thread (reads faults, fills pages, prefetches),
 * the evictor (chooses pages, writes them, makes holes), and nobody else; the caller's
 * thread makes the calls below. One fault thread is enough: its reads are
 * asynchronous, and what is left, 2-3 us a page, is more than any SSD delivers.
 */
#ifndef VMEMDIRECT_PAGER_PAGER_H
#define VMEMDIRECT_PAGER_PAGER_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/hist.h"
#include "vmemdirect/guest.h"
#include "vmemdirect/pager/page.h"
#include "vmemdirect/pager/pin.h"
#include "vmemdirect/pager/policy.h"
#include "vmemdirect/tier/tier.h"

struct pager;

struct pager_cfg {
	uint64_t limit_pages;
	enum policy_kind policy;
	struct pin
		*pin; /* borrowed until pager_free; NULL: pinned pages are not told */
	uint32_t prefetch_pages; /* largest window; 0: never */
	uint32_t spin_us;        /* stay awake this long for the next fault; 0: sleep */
};

/* Things main must know; pager_events returns a set of them. */
#define PAGER_GONE         (1u << 0) /* the process is gone */
#define PAGER_LOST         (1u << 1) /* the tier gave wrong bytes: VM to be stopped */
#define PAGER_RECOVERED    (1u << 2) /* what was lost could be read after all */
#define PAGER_STORE_FAILED (1u << 3) /* the tier takes no writes; the VM waits */
#define PAGER_STORE_OK     (1u << 4) /* it does again */
#define PAGER_BROUGHT_BACK (1u << 5) /* everything is resident: pager_stop may follow */
#define PAGER_NO_MEMORY    (1u << 6) /* the host has no page for the VM; retried */

struct pager_stats {
	uint64_t nr_pages, limit, resident; /* pages */
	/* Faults by how they ended. */
	uint64_t faults_zero;     /* never stored: zero page given */
	uint64_t faults_tier;     /* read from the tier */
	uint64_t faults_inflight; /* its page was on its way already */
	uint64_t faults_cancel;   /* written while being evicted */
	uint64_t faults_other;    /* stale, discarded, or punched just now */
	uint64_t waits;           /* had to wait for room */
	/* Pages read because of a fault: under way now, and the most at one time. */
	uint64_t reading, reading_most;
	uint64_t prefetched; /* pages read that nobody had asked for */
	/* Of a sample of them (probes), so many were touched before they left. */
	uint64_t probe_hits, probe_misses;
	struct hist fault_ns; /* zero and tier: message read to page given */
	/* Evictions by what was to write. */
	uint64_t evicted_zero, evicted_clean, evicted_written;
	uint64_t evict_cancelled, evict_failed, evict_pinned;
	/* Sampling: pages unmapped and looked at again, and what unmapping cost. */
	uint64_t sampled_touched, sampled_untouched, sampled_ns;
	uint64_t ghost_hits; /* came back soon after they had left */
	uint64_t hot_pages;  /* that were touched when it was asked */
	/* Trouble. */
	uint64_t read_errors, bad_hashes, write_errors, lost_pages;
};

/*
 * Makes a pager; `g`, `t` and `tier` are borrowed until pager_free. Nothing happens to
 * the guest yet.
 */
int pager_new(const struct pager_cfg *cfg, const struct guest *g, struct page_table *t,
	      struct tier *tier, struct pager **ret);

/*
 * Registers the guest's memory, takes stock of what is resident and starts. `resume`:
 * it is registered already and the page table is that of a daemon that died. On
 * failure the guest is as it was.
 */
int pager_start(struct pager *p, bool resume);

/*
 * For a migration that comes in: where it has put a page, told to a page table before
 * pager_start. A page put in RAM is in the guest's object; one that is stored has been
 * given to the tier (and is acknowledged when pager_start is called), `bytes` are its
 * 4096, aligned like words; a zero page is nowhere, and where no page was put there is
 * one. One thread.
 */
enum pager_place { PAGER_NOWHERE, PAGER_IN_RAM, PAGER_ON_TIER };
void pager_adopt_resident(struct page_table *t, uint64_t pfn);
void pager_adopt_stored(struct page_table *t, uint64_t pfn, const void *bytes);
void pager_adopt_zero(struct page_table *t, uint64_t pfn);
/* How hot it is (an aging byte); after the last of the others. */
void pager_adopt_age(struct page_table *t, uint64_t pfn, uint8_t age);
enum pager_place pager_adopted(const struct page_table *t, uint64_t pfn);

/* How many pages may be put in RAM so that no eviction follows. */
uint64_t pager_room(uint64_t limit_pages);

/* Becomes readable when pager_events has something; borrowed. */
int pager_event_fd(const struct pager *p);
uint32_t pager_events(struct pager *p);

/* The new limit holds at once for faults; down, the evictor gets there in a while. */
void pager_set_limit(struct pager *p, uint64_t limit_pages);

/* What leaves first from now on. */
void pager_set_policy(struct pager *p, enum policy_kind kind);

/*
 * The memory as a row of `cells`: of each, how much is resident and how hot that is
 * (mean aging byte), both 0-255. Looks at every page's word: 1 ms for 1 GiB.
 */
void pager_heat(const struct pager *p, unsigned int cells, uint8_t *ret_resident,
		uint8_t *ret_heat);

/* The process has unmapped this block of the guest's (an index): its pages are dropped,
 * wherever they lie, in a while. */
void pager_unplugged(struct pager *p, unsigned int block);

/* Reads every stored page back and evicts no more; PAGER_BROUGHT_BACK tells the end. */
void pager_bring_back(struct pager *p);

/* How many pages that would have to read. */
uint64_t pager_stored_absent(const struct pager *p);

void pager_get_stats(const struct pager *p, struct pager_stats *ret);

/*
 * Ends the threads. With `release` (only after PAGER_BROUGHT_BACK, or when the process
 * is gone) the memory is unregistered; without, faults wait for the next daemon.
 */
void pager_stop(struct pager *p, bool release);

void pager_free(struct pager *p); /* NULL is fine; stopped */

#endif
