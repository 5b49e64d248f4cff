/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Page numbers in, "pinned" out: what the kernel's struct page of each says. Evictor's
 * thread.
 */
#include "vmemdirect/pager/pin.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/log.h"
#include "vmemdirect/pager/frames.h"
#include "vmemdirect/pager/kread.h"

/* struct page of x86-64 since 4.18: 64 bytes. */
#define STRUCT_PAGE 64
#define AT_COMPOUND 8  /* bit 0: a tail of a larger folio */
#define AT_MAPPING  24 /* address_space */
#define AT_INDEX    32
#define AT_COUNTS   48 /* _mapcount (from -1), then _refcount: one 8-byte word */

struct pin {
	struct kread *kread; /* owned */
	uint64_t vmemmap;    /* address of struct page 0 */
	int own_pagemap;     /* owned */
	const struct guest *g;
	struct frames *frames; /* owned; NULL before pin_watch */
	uint64_t mapping
		[GUEST_BLOCKS_MAX]; /* the objects' address_space; 0: not seen yet */
};

/* What struct page says of a frame. */
struct frame_words {
	uint64_t head, mapping, index, counts;
};

static const char *const method_names[] = { "auto", "bpf", "kcore", "off" };

int pin_parse(const char *text, enum pin_method *ret)
{
	for (unsigned int i = 0; i < 4; i++)
		if (!strcmp(text, method_names[i])) {
			*ret = (enum pin_method)i;
			return 0;
		}
	return -EINVAL;
}

const char *pin_name(const struct pin *p)
{
	return p ? p->kread->ops->name : "off";
}

/* ---- one page of the kernel's ---- */

static bool is_free_word(uint64_t counts)
{
	int64_t mapcount = (int64_t)(int32_t)(uint32_t)counts + 1;
	int64_t refcount = (int64_t)(int32_t)(uint32_t)(counts >> 32);

	return mapcount >= 0 && refcount == mapcount + 1;
}

static int read_words(struct pin *p, const uint64_t *frame, unsigned int n,
		      struct frame_words *ret)
{
	/* In this order: see is_its_frame. */
	static const unsigned int at[] = { AT_COMPOUND, AT_MAPPING, AT_INDEX,
					   AT_COUNTS };
	uint64_t address[KREAD_MAX], word[KREAD_MAX];

	for (unsigned int w = 0; w < 4; w++) {
		int r;

		for (unsigned int i = 0; i < n; i++)
			address[i] = p->vmemmap + frame[i] * STRUCT_PAGE + at[w];
		r = p->kread->ops->read(p->kread, address, n, word);
		if (r < 0)
			return r;
		for (unsigned int i = 0; i < n; i++)
			((uint64_t *)&ret[i])[w] = word[i];
	}
	return 0;
}

/* Nothing but its mappings and the page cache refers to it. */
static bool is_free_page(const struct frame_words *w)
{
	return !(w->head & 1) && is_free_word(w->counts);
}

/* ---- finding the memory map ---- */

#define PROOF_PAGES 3

struct proof {
	int fd;
	uint8_t *mem;
	uint64_t frame[PROOF_PAGES];
};

static int proof_open(struct proof *x, int pagemap)
{
	x->fd = memfd_create("vmemdirect-proof", MFD_CLOEXEC);
	if (x->fd < 0 || ftruncate(x->fd, PROOF_PAGES * GUEST_PAGE_SIZE) < 0)
		return -errno;
	x->mem = mmap(NULL, PROOF_PAGES * GUEST_PAGE_SIZE, PROT_READ | PROT_WRITE,
		      MAP_SHARED, x->fd, 0);
	if (x->mem == MAP_FAILED) {
		x->mem = NULL;
		return -errno;
	}
	/* A locked page waits in a batch that madvise does not drain. */
	munlock(x->mem, PROOF_PAGES * GUEST_PAGE_SIZE);
	for (unsigned int i = 0; i < PROOF_PAGES; i++) {
		x->mem[i * GUEST_PAGE_SIZE] = 1;
		x->frame[i] =
			frame_at(pagemap, (uintptr_t)x->mem + i * GUEST_PAGE_SIZE);
		if (!x->frame[i])
			return -EPERM; /* frame numbers need CAP_SYS_ADMIN */
	}
	return 0;
}

static void proof_close(struct proof *x)
{
	if (x->mem)
		munmap(x->mem, PROOF_PAGES * GUEST_PAGE_SIZE);
	if (x->fd >= 0)
		close(x->fd);
}

/* Neighbours of one object have the same mapping, and their places as index. */
static bool fits(struct pin *p, const struct proof *x, uint64_t base)
{
	uint64_t address[2 * PROOF_PAGES], word[2 * PROOF_PAGES];

	for (unsigned int i = 0; i < PROOF_PAGES; i++) {
		address[2 * i] = base + x->frame[i] * STRUCT_PAGE + AT_MAPPING;
		address[2 * i + 1] = base + x->frame[i] * STRUCT_PAGE + AT_INDEX;
	}
	if (p->kread->ops->read(p->kread, address, 2 * PROOF_PAGES, word) < 0)
		return false;
	for (unsigned int i = 0; i < PROOF_PAGES; i++)
		if (!word[0] || word[2 * i] != word[0] || word[2 * i + 1] != i)
			return false;
	return true;
}

/*
 * The map begins at a multiple of 1 GiB somewhere between the direct mapping and the
 * end of the kernel's half (Documentation/x86/x86_64/mm.rst, with 4 page table levels;
 * where it is randomised, it moves by that step). The first page's mapping is asked
 * for at sixty-four places a call; where it is a kernel address all three are.
 */
#define MAP_FIRST UINT64_C(0xffff888000000000)
#define MAP_LAST  UINT64_C(0xffffff0000000000)
#define MAP_STEP  (UINT64_C(1) << 30)

static int find_map(struct pin *p, const struct proof *x)
{
	uint64_t address[KREAD_MAX], word[KREAD_MAX],
		base = UINT64_C(0xffffea0000000000);

	if (fits(p, x, base)) { /* where it is not randomised */
		p->vmemmap = base;
		return 0;
	}
	for (base = MAP_FIRST; base < MAP_LAST; base += KREAD_MAX * MAP_STEP) {
		for (unsigned int i = 0; i < KREAD_MAX; i++)
			address[i] = base + i * MAP_STEP + x->frame[0] * STRUCT_PAGE +
				     AT_MAPPING;
		if (p->kread->ops->read(p->kread, address, KREAD_MAX, word) < 0)
			return -EIO;
		for (unsigned int i = 0; i < KREAD_MAX; i++)
			if (word[i] > MAP_FIRST && fits(p, x, base + i * MAP_STEP)) {
				p->vmemmap = base + i * MAP_STEP;
				return 0;
			}
	}
	return -ENOENT;
}

/* A free page must read as free; its LRU batch may hold it for a while. */
static bool proved_free(struct pin *p, uint64_t frame, void *address)
{
	struct frame_words w;
	bool is_free = false;

	for (int i = 0; i < 100 && !is_free; i++) {
		/* Drains this CPU's batches. */
		madvise(address, GUEST_PAGE_SIZE, MADV_COLD);
		if (read_words(p, &frame, 1, &w) < 0)
			return false;
		is_free = is_free_page(&w);
		if (!is_free)
			usleep(1000);
	}
	return is_free;
}

/* A reference as a disk read holds it: the page lies in a pipe. */
static int prove(struct pin *p, const struct proof *x)
{
	struct iovec v = { x->mem, GUEST_PAGE_SIZE };
	struct frame_words w;
	int fd[2], r = 0;

	if (!proved_free(p, x->frame[0], x->mem))
		return -ENOTRECOVERABLE;
	if (pipe(fd) < 0)
		return -errno;
	if (vmsplice(fd[1], &v, 1, 0) != (ssize_t)GUEST_PAGE_SIZE)
		r = -errno;
	if (!r)
		r = read_words(p, &x->frame[0], 1, &w);
	if (!r && is_free_page(&w))
		r = -ENOTRECOVERABLE;
	close(fd[0]);
	close(fd[1]);
	return !r && !proved_free(p, x->frame[0], x->mem) ? -ENOTRECOVERABLE : r;
}

/* The batches are per CPU: the pages must come to be, and be drained, on one. */
static int find_and_prove(struct pin *p)
{
	struct proof x = { .fd = -1 };
	cpu_set_t before, one;
	int cpu = sched_getcpu(), r;
	bool moved;

	CPU_ZERO(&one);
	if (cpu >= 0)
		CPU_SET(cpu, &one);
	moved = !sched_getaffinity(0, sizeof(before), &before) &&
		!sched_setaffinity(0, sizeof(one), &one);
	r = proof_open(&x, p->own_pagemap);
	if (!r)
		r = find_map(p, &x);
	if (!r)
		r = prove(p, &x);
	proof_close(&x);
	if (moved)
		sched_setaffinity(0, sizeof(before), &before);
	return r;
}

static int try_method(struct pin *p, const struct kread_ops *ops)
{
	int r = ops->open(&p->kread);

	if (r < 0) {
		p->kread = NULL;
		log_info("pin check by %s: %s", ops->name, strerror(-r));
		return r;
	}
	r = find_and_prove(p);
	if (r < 0) {
		log_info("pin check by %s: %s", ops->name,
			 r == -ENOENT ? "the kernel's memory map was not found"
			 : r == -ENOTRECOVERABLE
				 ? "a pinned page does not read as pinned"
				 : strerror(-r));
		ops->close(p->kread);
		p->kread = NULL;
	}
	return r;
}

int pin_open(enum pin_method method, struct pin **ret)
{
	struct pin *p;
	int r = -EOPNOTSUPP;

	if (method == PIN_OFF)
		return r;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->own_pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (p->own_pagemap >= 0 && method != PIN_KCORE)
		r = try_method(p, &kread_bpf_ops);
	if (p->own_pagemap >= 0 && r < 0 && method != PIN_BPF)
		r = try_method(p, &kread_kcore_ops);
	if (r < 0) {
		pin_close(p);
		return -EOPNOTSUPP;
	}
	*ret = p;
	return 0;
}

void pin_close(struct pin *p)
{
	if (!p)
		return;
	frames_free(p->frames);
	if (p->kread)
		p->kread->ops->close(p->kread);
	if (p->own_pagemap >= 0)
		close(p->own_pagemap);
	free(p);
}

int pin_watch(struct pin *p, const struct guest *g)
{
	p->g = g;
	return frames_new(g, &p->frames);
}

/* ---- looking ---- */

void pin_note(struct pin *p, const uint32_t *pfn, unsigned int n)
{
	frames_note(p->frames, pfn, n);
}

/*
 * Does a noted frame still hold this page? Should the kernel move the page after this was
 * read, it had no references then, and those for writing cannot have come since: so what
 * the counts say of the old frame, read later, does not matter.
 */
static bool is_its_frame(const struct pin *p, uint32_t pfn, const struct frame_words *w)
{
	const struct guest_block *b = guest_block_of(p->g, pfn);

	return w->mapping == p->mapping[b - p->g->block] &&
	       w->index == guest_offset(b, pfn) >> GUEST_PAGE_SHIFT;
}

/* A frame that is certainly this page's shows what its object's pages look like. */
static void learn(struct pin *p, uint32_t pfn, const struct frame_words *w)
{
	const struct guest_block *b = guest_block_of(p->g, pfn);

	if (w->index == guest_offset(b, pfn) >> GUEST_PAGE_SHIFT && !(w->mapping & 3))
		p->mapping[b - p->g->block] = w->mapping;
}

static bool all_seen(const struct pin *p)
{
	for (unsigned int i = 0; i < p->g->nr_blocks; i++)
		if (!p->mapping[i])
			return false;
	return true;
}

static void look(struct pin *p, const uint32_t *pfn, unsigned int n, bool *pinned)
{
	uint64_t frame[KREAD_MAX];
	struct frame_words word[KREAD_MAX];
	bool noted[KREAD_MAX];

	frames_find(p->frames, pfn, n, !all_seen(p), frame, noted);
	if (read_words(p, frame, n, word) < 0) {
		memset(pinned, 1, n * sizeof(*pinned));
		return;
	}
	for (unsigned int i = 0; i < n; i++) {
		pinned[i] = !frame[i] || !is_free_page(&word[i]);
		if (!noted[i] && frame[i])
			learn(p, pfn[i], &word[i]);
		if (noted[i] && !is_its_frame(p, pfn[i], &word[i]))
			pinned[i] = true; /* next time it is looked for */
	}
}

void pin_look(struct pin *p, const uint32_t *pfn, unsigned int n, bool *pinned)
{
	for (unsigned int i = 0; i < n; i += KREAD_MAX)
		look(p, pfn + i, n - i < KREAD_MAX ? n - i : KREAD_MAX, pinned + i);
}
