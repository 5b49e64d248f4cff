/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's page table in, aging bytes out; the caller's thread. */
#include "vmemdirect/history/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vmemdirect/history/threshold.h"
#include "vmemdirect/pageout.h"

#define WINDOW_PAGES 4096 /* of pagemap in one read; between two it may be stopped */
#define RANGES       256  /* of one call that unmaps */
#define PRESENT      (UINT64_C(1) << 63)

struct scan {
	const struct guest *g;
	int pagemap;    /* owned */
	uint8_t *age;   /* owned: of each page */
	uint64_t *seen; /* owned: a bit for each page */
	uint64_t nr_seen;
	uint32_t samples;
	struct iovec range[RANGES];
	unsigned int nr_ranges;
	uint64_t range_pages; /* of them together */
	uint64_t entry[WINDOW_PAGES];
};

int scan_new(const struct guest *g, struct scan **ret)
{
	struct scan *s = calloc(1, sizeof(*s));
	char path[64];
	int r = -ENOMEM;

	if (!s)
		return r;
	s->g = g;
	s->pagemap = -1;
	s->age = calloc(g->nr_pages, 1);
	s->seen = calloc(g->nr_pages / 64 + 1, sizeof(s->seen[0]));
	if (!s->age || !s->seen)
		goto fail;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", g->pid);
	s->pagemap = open(path, O_RDONLY | O_CLOEXEC);
	if (s->pagemap < 0) {
		r = errno == ENOENT ? -ESRCH : -errno;
		goto fail;
	}
	*ret = s;
	return 0;
fail:
	scan_free(s);
	return r;
}

void scan_free(struct scan *s)
{
	if (!s)
		return;
	if (s->pagemap >= 0)
		close(s->pagemap);
	free(s->age);
	free(s->seen);
	free(s);
}

const uint8_t *scan_ages(const struct scan *s)
{
	return s->age;
}

uint32_t scan_samples(const struct scan *s)
{
	return s->samples;
}

uint64_t scan_seen(const struct scan *s)
{
	return s->nr_seen;
}

/* ---- looking ---- */

static bool seen(const struct scan *s, uint64_t pfn)
{
	return s->seen[pfn / 64] >> pfn % 64 & 1;
}

static void see(struct scan *s, uint64_t pfn, bool yes)
{
	uint64_t bit = UINT64_C(1) << pfn % 64;

	if (yes)
		s->seen[pfn / 64] |= bit;
	else
		s->seen[pfn / 64] &= ~bit;
	s->nr_seen += yes;
}

/* A process that has ended has no page table: the file reads as empty. */
static int look_at(struct scan *s, const struct guest_block *b, uint64_t pfn,
		   uint64_t n)
{
	size_t bytes = (size_t)n * sizeof(s->entry[0]);
	ssize_t got = pread(s->pagemap, s->entry, bytes,
			    (off_t)(guest_hva(b, pfn) >> GUEST_PAGE_SHIFT) *
				    (off_t)sizeof(s->entry[0]));

	if (got != (ssize_t)bytes)
		return got < 0 ? -errno : -ESRCH;
	for (uint64_t i = 0; i < n; i++)
		see(s, pfn + i, s->entry[i] & PRESENT);
	return 0;
}

int scan_look(struct scan *s, scan_stop_fn stop, void *arg)
{
	s->nr_seen = 0;
	for (unsigned int i = 0; i < s->g->nr_blocks; i++) {
		const struct guest_block *b = &s->g->block[i];
		uint64_t pfn = b->first_pfn, end = guest_block_end(b), n;

		for (; pfn < end; pfn += n) {
			int r;

			if (stop(arg))
				return -ECANCELED;
			n = end - pfn < WINDOW_PAGES ? end - pfn : WINDOW_PAGES;
			r = look_at(s, b, pfn, n);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

void scan_count(struct scan *s)
{
	for (uint64_t i = 0; i < s->g->nr_pages; i++)
		s->age[i] = threshold_age(s->age[i], seen(s, i), s->samples);
	s->samples++;
}

/* ---- forgetting ---- */

static int unmap_ranges(struct scan *s)
{
	int r = s->nr_ranges ? pageout(s->g->pidfd, s->range, s->nr_ranges) : 0;

	s->nr_ranges = 0;
	s->range_pages = 0;
	return r;
}

/* How many from here on were all seen mapped; at most a window. */
static uint64_t run_of_seen(const struct scan *s, uint64_t pfn, uint64_t end)
{
	uint64_t n = 0;

	while (n < WINDOW_PAGES && pfn + n < end && seen(s, pfn + n))
		n++;
	return n;
}

static int forget_block(struct scan *s, const struct guest_block *b, scan_stop_fn stop,
			void *arg)
{
	uint64_t pfn = b->first_pfn, end = guest_block_end(b), n;
	int r;

	for (; pfn < end; pfn += n ? n : 1) {
		n = run_of_seen(s, pfn, end);
		if (!n)
			continue;
		s->range[s->nr_ranges++] = (struct iovec){
			.iov_base = (void *)(uintptr_t)guest_hva(b, pfn),
			.iov_len = (size_t)n << GUEST_PAGE_SHIFT,
		};
		s->range_pages += n;
		if (s->nr_ranges < RANGES && s->range_pages < WINDOW_PAGES)
			continue;
		r = stop(arg) ? -ECANCELED : unmap_ranges(s);
		if (r < 0)
			return r;
	}
	return unmap_ranges(s);
}

int scan_forget(struct scan *s, scan_stop_fn stop, void *arg)
{
	int r = 0;

	s->nr_ranges = 0;
	s->range_pages = 0;
	for (unsigned int i = 0; !r && i < s->g->nr_blocks; i++)
		r = forget_block(s, &s->g->block[i], stop, arg);
	return r;
}
