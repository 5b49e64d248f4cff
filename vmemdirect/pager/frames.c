/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Page numbers in, frame numbers out; evictor's thread. See frames.h. */
#include "vmemdirect/pager/frames.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PRESENT  (UINT64_C(1) << 63)
#define PFN_MASK ((UINT64_C(1) << 55) - 1)
#define AROUND   16 /* pages the kernel maps around a read fault */
#define WINDOW   64 /* entries of one read of a pagemap */

/* Pages on probation are a tenth of those that are resident. */
#define NOTES_MIN  4096
#define NOTES_MAX  (1u << 20)
#define NOTES_PART 16

struct note {
	uint64_t frame; /* 0: none */
	uint32_t pfn;
};

struct frames {
	const struct guest *g;
	int own_pagemap, vm_pagemap;       /* owned */
	uint8_t *object[GUEST_BLOCKS_MAX]; /* owned mappings, never touched for long */
	struct note *note;                 /* owned; page N's is at N modulo nr_notes */
	uint32_t nr_notes;                 /* a power of two */
};

static uint64_t frame_of(uint64_t entry)
{
	return entry & PRESENT ? entry & PFN_MASK : 0;
}

uint64_t frame_at(int pagemap, uint64_t address)
{
	uint64_t entry;

	if (pread(pagemap, &entry, sizeof(entry),
		  (off_t)(address / GUEST_PAGE_SIZE * 8)) != (ssize_t)sizeof(entry))
		return 0;
	return frame_of(entry);
}

static int open_pagemap(pid_t pid)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int map_objects(struct frames *f)
{
	for (unsigned int i = 0; i < f->g->nr_blocks; i++) {
		const struct guest_block *b = &f->g->block[i];
		void *m = mmap(NULL, b->size_bytes, PROT_READ, MAP_SHARED, b->fd,
			       (off_t)b->offset);

		if (m == MAP_FAILED)
			return -errno;
		f->object[i] = m;
		/* Locked pages would be in nobody's reach (mlockall came before). */
		munlock(m, b->size_bytes);
	}
	return 0;
}

int frames_new(const struct guest *g, struct frames **ret)
{
	struct frames *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	f->g = g;
	f->vm_pagemap = -1;
	for (f->nr_notes = NOTES_MIN;
	     f->nr_notes < NOTES_MAX && f->nr_notes < g->nr_pages / NOTES_PART;)
		f->nr_notes *= 2;
	f->note = calloc(f->nr_notes, sizeof(f->note[0]));
	r = f->own_pagemap = open_pagemap(getpid());
	if (r >= 0)
		r = f->vm_pagemap = open_pagemap(g->pid);
	if (r >= 0)
		r = f->note ? map_objects(f) : -ENOMEM;
	if (r < 0) {
		frames_free(f);
		return r;
	}
	*ret = f;
	return 0;
}

void frames_free(struct frames *f)
{
	if (!f)
		return;
	for (unsigned int i = 0; i < GUEST_BLOCKS_MAX; i++)
		if (f->object[i])
			munmap(f->object[i], f->g->block[i].size_bytes);
	if (f->own_pagemap >= 0)
		close(f->own_pagemap);
	if (f->vm_pagemap >= 0)
		close(f->vm_pagemap);
	free(f->note);
	free(f);
}

/* ---- reading pagemaps ---- */

/* How many of the pages from the first on lie in one window of one block. */
static unsigned int window(const struct guest_block *b, const uint32_t *pfn,
			   unsigned int n)
{
	unsigned int k = 1;

	while (k < n && pfn[k] - pfn[0] < WINDOW && pfn[k] < guest_block_end(b))
		k++;
	return k;
}

/* Frames of n pages of one window; `first_at` is where the first is mapped. 0: it is
 * not mapped. */
static void read_window(int pagemap, uint64_t first_at, const uint32_t *pfn,
			unsigned int n, uint64_t *frame)
{
	uint64_t entry[WINDOW];
	size_t len = (pfn[n - 1] - pfn[0] + 1) * sizeof(entry[0]);

	if (pread(pagemap, entry, len, (off_t)(first_at / GUEST_PAGE_SIZE * 8)) !=
	    (ssize_t)len)
		memset(entry, 0, sizeof(entry));
	for (unsigned int i = 0; i < n; i++)
		frame[i] = frame_of(entry[pfn[i] - pfn[0]]);
}

/* ---- notes ---- */

static struct note *note_of(struct frames *f, uint32_t pfn)
{
	return &f->note[pfn & (f->nr_notes - 1)];
}

void frames_note(struct frames *f, const uint32_t *pfn, unsigned int n)
{
	uint64_t frame[WINDOW];

	for (unsigned int i = 0, k; i < n; i += k) {
		const struct guest_block *b = guest_block_of(f->g, pfn[i]);

		k = window(b, pfn + i, n - i);
		read_window(f->vm_pagemap, guest_hva(b, pfn[i]), pfn + i, k, frame);
		for (unsigned int j = 0; j < k; j++)
			if (frame[j])
				*note_of(f, pfn[i + j]) =
					(struct note){ frame[j], pfn[i + j] };
	}
}

/* ---- finding ---- */

/*
 * Maps here what of a window is not known, so that its frames can be asked for, and
 * unmaps it again: were it mapped twice, the sampler could not unmap it. The kernel
 * maps up to sixteen neighbours with each.
 */
static void find_by_touch(struct frames *f, const struct guest_block *b,
			  const uint32_t *pfn, unsigned int n, uint64_t *frame)
{
	uint8_t *object = f->object[b - f->g->block];
	uint64_t at = pfn[0] - b->first_pfn, all = b->size_bytes >> GUEST_PAGE_SHIFT;
	uint64_t from = at / AROUND * AROUND;
	uint64_t to = (pfn[n - 1] - b->first_pfn + 1 + AROUND) / AROUND * AROUND;
	uint64_t own[WINDOW];

	/* (Where a page was discarded and its tmpfs is full, a touch would be SIGBUS.) */
	for (unsigned int i = 0; i < n; i++)
		if (!frame[i])
			madvise(object + ((pfn[i] - b->first_pfn) << GUEST_PAGE_SHIFT),
				GUEST_PAGE_SIZE, MADV_POPULATE_READ);
	read_window(f->own_pagemap, (uintptr_t)object + (at << GUEST_PAGE_SHIFT), pfn,
		    n, own);
	for (unsigned int i = 0; i < n; i++)
		if (!frame[i])
			frame[i] = own[i];
	if (to > all)
		to = all;
	madvise(object + (from << GUEST_PAGE_SHIFT), (to - from) << GUEST_PAGE_SHIFT,
		MADV_DONTNEED);
}

static bool all_known(const uint64_t *frame, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (!frame[i])
			return false;
	return true;
}

void frames_find(struct frames *f, const uint32_t *pfn, unsigned int n, bool now,
		 uint64_t *frame, bool *noted)
{
	for (unsigned int i = 0; i < n; i++) {
		struct note *t = note_of(f, pfn[i]);

		noted[i] = !now && t->pfn == pfn[i] && t->frame;
		frame[i] = noted[i] ? t->frame : 0;
		if (noted[i]) /* it leaves, or is mapped and noted again */
			t->frame = 0;
	}
	for (unsigned int i = 0, k; i < n; i += k) {
		const struct guest_block *b = guest_block_of(f->g, pfn[i]);
		uint64_t seen[WINDOW];

		k = window(b, pfn + i, n - i);
		if (all_known(frame + i, k))
			continue;
		read_window(f->vm_pagemap, guest_hva(b, pfn[i]), pfn + i, k, seen);
		for (unsigned int j = 0; j < k; j++)
			if (!frame[i + j])
				frame[i + j] = seen[j];
		if (!all_known(frame + i, k))
			find_by_touch(f, b, pfn + i, k, frame + i);
	}
}
