/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The journal file in, a page table out; and the transitions of one page's word, any
 * thread.
 */
#include "vmemdirect/pager/page.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define MAGIC   "vmempage"
#define VERSION 1
#define HEADER  (16u << 10)

_Static_assert(sizeof(struct page_header) <= HEADER, "the header fits its room");

static int open_locked(const char *path, int flags)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC | flags, 0600);

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	return take_fd(&fd);
}

static int map_table(int fd, uint64_t nr_pages, struct page_table *t)
{
	t->map_bytes = HEADER + nr_pages * sizeof(struct page);
	t->header = mmap(NULL, t->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (t->header == MAP_FAILED)
		return -errno;
	t->page = (struct page *)((char *)t->header + HEADER);
	t->nr_pages = nr_pages;
	return 0;
}

int page_table_create(const char *path, const struct guest *g, struct page_table *ret)
{
	_cleanup_close_ int fd = open_locked(path, O_CREAT);
	struct page_table t;
	size_t bytes = HEADER + g->nr_pages * sizeof(struct page);
	int r;

	if (fd < 0)
		return fd;
	/* Reserved now: a full /run must not kill the daemon later (SIGBUS). */
	if (ftruncate(fd, 0) < 0)
		return -errno;
	r = posix_fallocate(fd, 0, (off_t)bytes);
	if (r)
		return -r;
	r = map_table(fd, g->nr_pages, &t);
	if (r < 0)
		return r;
	t.header->version = VERSION;
	t.header->header_bytes = HEADER;
	t.header->nr_pages = g->nr_pages;
	t.header->guest = *g;
	if (getrandom(t.header->hash_key, sizeof(t.header->hash_key), 0) !=
	    (ssize_t)sizeof(t.header->hash_key)) {
		munmap(t.header, t.map_bytes);
		return -EIO;
	}
	for (uint64_t i = 0; i < g->nr_pages; i++)
		atomic_init(&t.page[i].word, PAGE_ABSENT | PAGE_ZERO);
	memcpy(t.header->magic, MAGIC, sizeof(t.header->magic));
	t.fd = take_fd(&fd);
	*ret = t;
	return 0;
}

static bool header_ok(const struct page_header *h, uint64_t file_bytes)
{
	uint64_t nr = 0;

	if (memcmp(h->magic, MAGIC, sizeof(h->magic)) || h->version != VERSION ||
	    h->header_bytes != HEADER || h->guest.nr_pages != h->nr_pages ||
	    h->nr_pages > file_bytes / sizeof(struct page) ||
	    file_bytes < HEADER + h->nr_pages * sizeof(struct page) ||
	    h->guest.nr_blocks > GUEST_BLOCKS_MAX)
		return false;
	for (unsigned int i = 0; i < h->guest.nr_blocks; i++) {
		if (h->guest.block[i].first_pfn != nr)
			return false;
		nr += h->guest.block[i].size_bytes >> GUEST_PAGE_SHIFT;
	}
	return nr == h->nr_pages;
}

int page_table_open(const char *path, struct page_table *ret)
{
	_cleanup_close_ int fd = open_locked(path, 0);
	struct page_header *h;
	struct page_table t;
	struct stat st;
	bool ok;
	int r;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < (off_t)HEADER)
		return -EPROTO;
	h = mmap(NULL, HEADER, PROT_READ, MAP_SHARED, fd, 0);
	if (h == MAP_FAILED)
		return -errno;
	ok = header_ok(h, (uint64_t)st.st_size);
	t.nr_pages = h->nr_pages;
	munmap(h, HEADER);
	if (!ok)
		return -EPROTO;
	r = map_table(fd, t.nr_pages, &t);
	if (r < 0)
		return r;
	t.fd = take_fd(&fd);
	*ret = t;
	return 0;
}

void page_table_close(struct page_table *t)
{
	if (!t->header)
		return;
	munmap(t->header, t->map_bytes);
	close(t->fd);
	*t = (struct page_table){ .fd = -1 };
}

void page_table_discard(struct page_table *t)
{
	/* (Removed, it could be locked by one who has opened it already.) */
	if (t->header && ftruncate(t->fd, 0) < 0)
		t->header->magic[0] = 0;
}

bool page_move(struct page *p, enum page_state from, enum page_state to, uint32_t set,
	       uint32_t clear, uint32_t *ret_word)
{
	uint32_t was = atomic_load_explicit(&p->word, memory_order_relaxed);

	do {
		if (page_state(was) != from)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&p->word, &was,
		(((was & ~PAGE_STATE_MASK) | (uint32_t)to) & ~clear) | set,
		memory_order_acq_rel, memory_order_relaxed));
	if (ret_word)
		*ret_word = was;
	return true;
}

void page_flags(struct page *p, uint32_t set, uint32_t clear)
{
	uint32_t was = atomic_load_explicit(&p->word, memory_order_relaxed);

	while (!atomic_compare_exchange_weak_explicit(
		&p->word, &was, (was & ~clear) | set, memory_order_acq_rel,
		memory_order_relaxed))
		;
}

bool page_flags_if(struct page *p, enum page_state state, uint32_t set, uint32_t clear)
{
	return page_move(p, state, state, set, clear, NULL);
}

const char *page_state_name(enum page_state s)
{
	static const char *const names[] = { "absent", "filling", "resident",
					     "evicting", "punching" };

	return s <= PAGE_PUNCHING ? names[s] : "?";
}
