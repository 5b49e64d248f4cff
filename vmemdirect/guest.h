/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One paged process, as attach/ hands it to the pager: descriptors and ranges. Pages
 * of all its RAM blocks are numbered in one row ("pfn"), block after block; that
 * number is also the page's place on a tier.
 *
 * Written by attach/ before any pager thread runs, constant afterwards.
 */
#ifndef VMEMDIRECT_GUEST_H
#define VMEMDIRECT_GUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define GUEST_PAGE_SHIFT 12
#define GUEST_PAGE_SIZE  (UINT64_C(1) << GUEST_PAGE_SHIFT)
#define GUEST_BLOCKS_MAX 16
#define GUEST_NAME_MAX   64

/* One shared memory object and where the process has it mapped. */
struct guest_block {
	char name[GUEST_NAME_MAX];
	uint64_t hva;        /* in the paged process, page-aligned */
	uint64_t size_bytes; /* a multiple of the page size */
	uint64_t offset;     /* of hva in the object, bytes */
	uint64_t first_pfn;
	uint64_t dev, ino; /* of the object */
	int fd;            /* owned: the object, open for reading and writing */
};

struct guest {
	char name[GUEST_NAME_MAX]; /* of the VM: log lines, control socket */
	pid_t pid;
	uint64_t start_time; /* of the process, clock ticks since boot: tells reuse */
	int pidfd;           /* owned */
	int uffd;            /* owned: our copy of the descriptor */
	int remote_uffd;     /* its number inside the process, where it stays open */
	bool qemu;
	unsigned int nr_blocks;
	struct guest_block block[GUEST_BLOCKS_MAX];
	uint64_t nr_pages;
};

/* The block that holds a page; pfn < nr_pages. */
static inline const struct guest_block *guest_block_of(const struct guest *g,
						       uint64_t pfn)
{
	const struct guest_block *b = g->block;

	while (pfn - b->first_pfn >= b->size_bytes >> GUEST_PAGE_SHIFT)
		b++;
	return b;
}

static inline uint64_t guest_hva(const struct guest_block *b, uint64_t pfn)
{
	return b->hva + ((pfn - b->first_pfn) << GUEST_PAGE_SHIFT);
}

/* The page's place in the shared object, bytes. */
static inline uint64_t guest_offset(const struct guest_block *b, uint64_t pfn)
{
	return b->offset + ((pfn - b->first_pfn) << GUEST_PAGE_SHIFT);
}

/* One past the block's last page. */
static inline uint64_t guest_block_end(const struct guest_block *b)
{
	return b->first_pfn + (b->size_bytes >> GUEST_PAGE_SHIFT);
}

/* The page at an address of the process; false where it has none of ours. */
static inline bool guest_find(const struct guest *g, uint64_t hva, uint64_t *ret_pfn)
{
	for (unsigned int i = 0; i < g->nr_blocks; i++)
		if (hva - g->block[i].hva < g->block[i].size_bytes) {
			*ret_pfn = g->block[i].first_pfn +
				   ((hva - g->block[i].hva) >> GUEST_PAGE_SHIFT);
			return true;
		}
	return false;
}

#define vm_err(g, fmt, ...)  log_err("%s: " fmt, (g)->name, ##__VA_ARGS__)
#define vm_warn(g, fmt, ...) log_warn("%s: " fmt, (g)->name, ##__VA_ARGS__)
#define vm_note(g, fmt, ...) log_note("%s: " fmt, (g)->name, ##__VA_ARGS__)
#define vm_info(g, fmt, ...) log_info("%s: " fmt, (g)->name, ##__VA_ARGS__)

#endif
