/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Page numbers in, "pinned" out. A page the VM has mapped is found by the VM's
 * pagemap; one that the sampler unmapped is mapped here for a moment, for a page can
 * be pinned and mapped by nobody. Evictor's thread.
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

#include "lib/cleanup.h"
#include "lib/log.h"
#include "vmemdirect/pager/kread.h"

#define LOOK_MAX 256
#define PRESENT  (UINT64_C(1) << 63)
#define PFN_MASK ((UINT64_C(1) << 55) - 1)
#define AROUND   16 /* pages the kernel maps around a read fault */

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
	int vm_pagemap;      /* owned; -1 before pin_watch */
	const struct guest *g;
	uint8_t *object[GUEST_BLOCKS_MAX]; /* owned mappings, never touched for long */
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

/* A physical frame's number, 0 if it is not mapped there (or we may not know). */
static uint64_t frame_at(int pagemap, uint64_t address)
{
	uint64_t entry;

	if (pread(pagemap, &entry, sizeof(entry),
		  (off_t)(address / GUEST_PAGE_SIZE * 8)) != (ssize_t)sizeof(entry))
		return 0;
	return entry & PRESENT ? entry & PFN_MASK : 0;
}

static bool is_free_word(uint64_t counts)
{
	int64_t mapcount = (int64_t)(int32_t)(uint32_t)counts + 1;
	int64_t refcount = (int64_t)(int32_t)(uint32_t)(counts >> 32);

	return mapcount >= 0 && refcount == mapcount + 1;
}

/* Are these frames free of other references? A frame of 0 is not. */
static int look_at(struct pin *p, const uint64_t *frame, unsigned int n, bool *is_free)
{
	uint64_t address[KREAD_MAX] = { 0 }, counts[KREAD_MAX], head[KREAD_MAX];
	int r;

	for (unsigned int i = 0; i < n; i++)
		address[i] = p->vmemmap + frame[i] * STRUCT_PAGE + AT_COMPOUND;
	r = p->kread->ops->read(p->kread, address, n, head);
	for (unsigned int i = 0; i < n; i++)
		address[i] += AT_COUNTS - AT_COMPOUND;
	if (!r)
		r = p->kread->ops->read(p->kread, address, n, counts);
	for (unsigned int i = 0; !r && i < n; i++)
		is_free[i] = frame[i] && !(head[i] & 1) && is_free_word(counts[i]);
	return r;
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
	bool is_free = false;

	for (int i = 0; i < 100 && !is_free; i++) {
		/* Drains this CPU's batches. */
		madvise(address, GUEST_PAGE_SIZE, MADV_COLD);
		if (look_at(p, &frame, 1, &is_free) < 0)
			return false;
		if (!is_free)
			usleep(1000);
	}
	return is_free;
}

/* A reference as a disk read holds it: the page lies in a pipe. */
static int prove(struct pin *p, const struct proof *x)
{
	struct iovec v = { x->mem, GUEST_PAGE_SIZE };
	bool is_free = true;
	int fd[2], r = 0;

	if (!proved_free(p, x->frame[0], x->mem))
		return -ENOTRECOVERABLE;
	if (pipe(fd) < 0)
		return -errno;
	if (vmsplice(fd[1], &v, 1, 0) != (ssize_t)GUEST_PAGE_SIZE)
		r = -errno;
	if (!r)
		r = look_at(p, &x->frame[0], 1, &is_free);
	if (!r && is_free)
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
	p->vm_pagemap = -1;
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
	for (unsigned int i = 0; i < GUEST_BLOCKS_MAX; i++)
		if (p->object[i])
			munmap(p->object[i], p->g->block[i].size_bytes);
	if (p->kread)
		p->kread->ops->close(p->kread);
	if (p->own_pagemap >= 0)
		close(p->own_pagemap);
	if (p->vm_pagemap >= 0)
		close(p->vm_pagemap);
	free(p);
}

int pin_watch(struct pin *p, const struct guest *g)
{
	char path[64];

	p->g = g;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", g->pid);
	p->vm_pagemap = open(path, O_RDONLY | O_CLOEXEC);
	if (p->vm_pagemap < 0)
		return -errno;
	for (unsigned int i = 0; i < g->nr_blocks; i++) {
		const struct guest_block *b = &g->block[i];
		void *m = mmap(NULL, b->size_bytes, PROT_READ, MAP_SHARED, b->fd,
			       (off_t)b->offset);

		if (m == MAP_FAILED)
			return -errno;
		p->object[i] = m;
		/* Locked pages would be in nobody's reach (mlockall came before). */
		munlock(m, b->size_bytes);
	}
	return 0;
}

/* ---- looking ---- */

/* Frames of n pages from an address on, as a pagemap has them; 0: not mapped. */
static void read_frames(int pagemap, uint64_t address, unsigned int n, uint64_t *frame)
{
	ssize_t len = (ssize_t)(n * sizeof(*frame));

	if (pread(pagemap, frame, (size_t)len,
		  (off_t)(address / GUEST_PAGE_SIZE * 8)) != len)
		memset(frame, 0, (size_t)len);
	for (unsigned int i = 0; i < n; i++)
		frame[i] = frame[i] & PRESENT ? frame[i] & PFN_MASK : 0;
}

/*
 * Maps here what of a run the VM has not mapped, so that its frames can be asked for,
 * and unmaps it again: were it mapped twice, the sampler could not unmap it. The kernel
 * maps up to sixteen neighbours with each.
 */
static void frames_by_touch(struct pin *p, const struct guest_block *b, uint64_t pfn,
			    unsigned int n, uint64_t *frame)
{
	uint8_t *object = p->object[b - p->g->block];
	uint64_t at = pfn - b->first_pfn, all = b->size_bytes >> GUEST_PAGE_SHIFT;
	uint64_t from = at / AROUND * AROUND, to = (at + n + AROUND) / AROUND * AROUND;
	uint64_t own[KREAD_MAX];

	for (unsigned int i = 0; i < n; i++)
		if (!frame[i])
			(void)*(volatile uint8_t *)(object +
						    ((at + i) << GUEST_PAGE_SHIFT));
	read_frames(p->own_pagemap, (uintptr_t)object + (at << GUEST_PAGE_SHIFT), n,
		    own);
	for (unsigned int i = 0; i < n; i++)
		if (!frame[i])
			frame[i] = own[i];
	if (to > all)
		to = all;
	madvise(object + (from << GUEST_PAGE_SHIFT), (to - from) << GUEST_PAGE_SHIFT,
		MADV_DONTNEED);
}

static void frames_of_run(struct pin *p, uint64_t pfn, unsigned int n, uint64_t *frame)
{
	const struct guest_block *b = guest_block_of(p->g, pfn);

	read_frames(p->vm_pagemap, guest_hva(b, pfn), n, frame);
	for (unsigned int i = 0; i < n; i++)
		if (!frame[i]) {
			frames_by_touch(p, b, pfn, n, frame);
			return;
		}
}

static void look(struct pin *p, const uint32_t *pfn, unsigned int n, bool *pinned)
{
	uint64_t frame[KREAD_MAX] = { 0 };
	bool is_free[KREAD_MAX];
	unsigned int i, k;

	for (i = 0; i < n; i = k) {
		const struct guest_block *b = guest_block_of(p->g, pfn[i]);

		for (k = i + 1;
		     k < n && pfn[k] == pfn[k - 1] + 1 && pfn[k] < guest_block_end(b);)
			k++;
		frames_of_run(p, pfn[i], k - i, frame + i);
	}
	if (look_at(p, frame, n, is_free) < 0)
		memset(is_free, 0, sizeof(is_free));
	for (i = 0; i < n; i++)
		pinned[i] = !is_free[i];
}

void pin_look(struct pin *p, const uint32_t *pfn, unsigned int n, bool *pinned)
{
	for (unsigned int i = 0; i < n; i += KREAD_MAX)
		look(p, pfn + i, n - i < KREAD_MAX ? n - i : KREAD_MAX, pinned + i);
}
