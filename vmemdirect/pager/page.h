/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The page table of one VM: a word, a link and a hash for each page, in a file that is
 * mapped shared, so that it is at the same time the journal: whatever the daemon knew
 * when it was killed is there for `attach --resume`.
 *
 * A page's life is the state in its word, changed by compare-and-swap only. Whoever
 * moves a page into FILLING or PUNCHING owns it: nobody else touches its hash, its
 * place on the tier, or its presence in the VM until the owner moves it on.
 *
 *	ABSENT   -> FILLING    fault thread: a fault or a prefetch wants it
 *	FILLING  -> RESIDENT   fault thread: copied in (or could be taken back: write
 *	                       protection removed)
 *	FILLING  -> ABSENT     fault thread: the tier or the VM would not have it
 *	RESIDENT -> EVICTING   evictor: chosen; write protection follows
 *	EVICTING -> FILLING    fault thread: the VM writes to it, eviction cancelled;
 *	                       evictor: pinned or not storable, gives it back
 *	EVICTING -> PUNCHING   evictor: its bytes are on the tier (or all zero, or
 *	                       nobody can ask for them: unplugged)
 *	PUNCHING -> ABSENT     evictor: the hole is made
 *	PUNCHING -> RESIDENT   evictor: the hole could not be made; bytes put back
 *	RESIDENT -> FILLING    fault thread: looks into a fault on a page that should be
 *	                       there (discarded by a balloon, or a stale message)
 */
#ifndef VMEMDIRECT_PAGER_PAGE_H
#define VMEMDIRECT_PAGER_PAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmemdirect/guest.h"

enum page_state {
	PAGE_ABSENT,
	PAGE_FILLING,
	PAGE_RESIDENT,
	PAGE_EVICTING,
	PAGE_PUNCHING,
};

#define PAGE_STATE_MASK 7u
/* The tier holds bytes whose hash is in `hash`; while RESIDENT they may be old. */
#define PAGE_STORED (1u << 3)
/* While ABSENT, or FILLING as nobody's read: its bytes, if the object has none, are all
 * zero, whatever the tier holds. */
#define PAGE_ZERO (1u << 4)
/* While PUNCHING: somebody waits for it, wake him. */
#define PAGE_WANTED (1u << 5)
/* Brought by a prefetch; nobody is known to have touched it since. */
#define PAGE_PREFETCHED (1u << 6)
/* Brought for who walks through the memory: it leaves without probation (policy.h). */
#define PAGE_WALKED (1u << 7)
/* With PREFETCHED: was it worth it? Judged when it may have to leave. */
#define PAGE_PROBE (1u << 13)
/* The tier gave wrong bytes or none: kept out, retried. */
#define PAGE_LOST (1u << 8)
/* What is told of a page only while it is resident. */
#define PAGE_OF_STAY (PAGE_PREFETCHED | PAGE_WALKED | PAGE_PROBE)
/* Which queue of the eviction policy links it. */
#define PAGE_QUEUE_SHIFT 9
#define PAGE_QUEUE_MASK  (3u << PAGE_QUEUE_SHIFT)
/* How often it was found touched, 0-3 (S3-FIFO's counter). */
#define PAGE_FREQ_SHIFT 11
#define PAGE_FREQ_MASK  (3u << PAGE_FREQ_SHIFT)
/* The aging byte: bit 7 is the last sampling, bit 0 the eighth last. */
#define PAGE_AGE_SHIFT 24
#define PAGE_AGE_MASK  (255u << PAGE_AGE_SHIFT)

struct page {
	_Atomic uint32_t word;
	uint32_t
		link; /* evictor's: the next in its queue; ABSENT: when it was evicted */
	uint64_t hash; /* owner's: of what the tier holds, while STORED */
};

_Static_assert(sizeof(struct page) == 16, "the promise is 16 bytes per guest page");

#define PAGE_NAME_MAX 256

/* The first page of the file. */
struct page_header {
	char magic[8];
	uint32_t version, header_bytes;
	uint64_t nr_pages, limit_pages;
	uint64_t hash_key[8];
	struct guest guest; /* as attached; its descriptors mean nothing here */
	char tier[16], tier_path[PAGE_NAME_MAX], qmp_path[PAGE_NAME_MAX];
	_Atomic uint32_t attached; /* registered: pages may be out */
	/* Of a VM that has migrated in: how far (migrate/handover.h), and what a
	 * restart needs to bring it to its end. */
	_Atomic uint32_t handover, start_vm;
	char source_qmp_path[PAGE_NAME_MAX];
	/* QEMU was or is about to be told to stop for a page that was lost, and does not
	 * run again yet (order.h). What is added stands here, at the end: in a journal
	 * that is older it is zero, and `version` stays. */
	_Atomic uint32_t stopped;
	/* Attached by --force although pinned pages could not be told. */
	_Atomic uint32_t untold;
};

struct page_table {
	struct page_header *header; /* owned mapping, page[] behind it */
	struct page *page;
	uint64_t nr_pages;
	size_t map_bytes;
	int fd; /* owned, locked: one daemon for each VM */
};

/* Makes the journal `path` anew: all pages ABSENT and ZERO. Keys are drawn. -EBUSY:
 * another daemon has it open; -EEXIST: it belongs to a VM that is still attached. */
int page_table_create(const char *path, const struct guest *g, struct page_table *ret);

/* Opens it again. -ENOENT, -EBUSY, -EPROTO: not a journal of ours. */
int page_table_open(const char *path, struct page_table *ret);

/* A journal of an attach that came to nothing: it is empty from now on, `t->page` and the header
 * must not be touched any more. Not made or opened: nothing happens. */
void page_table_discard(struct page_table *t);

void page_table_close(struct page_table *t); /* keeps the file; zeroed is fine */

static inline uint32_t page_word(const struct page *p)
{
	return atomic_load_explicit(&p->word, memory_order_acquire);
}

static inline enum page_state page_state(uint32_t word)
{
	return (enum page_state)(word & PAGE_STATE_MASK);
}

/*
 * Moves a page from one state to another, setting and clearing flags with it. False:
 * it is not (any more) in `from`; nothing changed. *ret_word (may be NULL) is the word
 * before.
 */
bool page_move(struct page *p, enum page_state from, enum page_state to, uint32_t set,
	       uint32_t clear, uint32_t *ret_word);

/* Changes flags only, whatever the state. */
void page_flags(struct page *p, uint32_t set, uint32_t clear);

/* Sets flags if the page is in `state`. */
bool page_flags_if(struct page *p, enum page_state state, uint32_t set, uint32_t clear);

const char *page_state_name(enum page_state s);

#endif
