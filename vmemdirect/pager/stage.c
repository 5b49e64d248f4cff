/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Page numbers and bytes in, pages of the object out; fault thread. See stage.h. */
#include "vmemdirect/pager/stage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/log.h"
#include "vmemdirect/uffd.h"

struct stage {
	const struct guest *g;
	int uffd;                        /* owned: of this process; -1: no stage */
	uint8_t *view[GUEST_BLOCKS_MAX]; /* owned mappings of the blocks' objects */
};

static void drop_views(struct stage *s)
{
	for (unsigned int i = 0; i < s->g->nr_blocks; i++)
		if (s->view[i]) {
			munmap(s->view[i], s->g->block[i].size_bytes);
			s->view[i] = NULL;
		}
}

/* (Locked pages, mlockall came before, would be out of PAGEOUT's reach.) */
static int make_view(struct stage *s, unsigned int i)
{
	const struct guest_block *b = &s->g->block[i];
	void *m = mmap(NULL, b->size_bytes, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_NORESERVE, b->fd, (off_t)b->offset);

	if (m == MAP_FAILED)
		return -errno;
	s->view[i] = m;
	if (munlock(m, b->size_bytes) < 0)
		return -errno;
	return uffd_register(s->uffd, (uintptr_t)m, b->size_bytes);
}

static int make_views(struct stage *s)
{
	int r = 0;

	for (unsigned int i = 0; i < s->g->nr_blocks && !r; i++)
		r = make_view(s, i);
	return r;
}

int stage_new(const struct guest *g, struct stage **ret)
{
	struct stage *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->g = g;
	r = uffd_open(&s->uffd);
	if (!r)
		r = make_views(s);
	if (r < 0) {
		vm_err(g, "a second mapping of the memory, by userfaultfd: %s",
		       strerror(-r));
		stage_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void stage_free(struct stage *s)
{
	if (!s)
		return;
	drop_views(s);
	if (s->uffd >= 0)
		close(s->uffd);
	free(s);
}

int stage_copy(struct stage *s, uint64_t pfn, const void *from, uint64_t len_bytes,
	       uint64_t *ret_done)
{
	const struct guest_block *b = guest_block_of(s->g, pfn);
	uint8_t *view = s->view[b - s->g->block];

	*ret_done = 0;
	if (s->uffd < 0)
		return -EOPNOTSUPP;
	return uffd_copy(s->uffd,
			 (uintptr_t)view + ((pfn - b->first_pfn) << GUEST_PAGE_SHIFT),
			 from, len_bytes, ret_done);
}

/* The whole mapping goes and comes: one flush for all pages, wherever they lie, and the
 * page tables go with it. */
int stage_unmap(struct stage *s)
{
	int r;

	if (s->uffd < 0)
		return 0;
	drop_views(s);
	r = make_views(s);
	if (r < 0) {
		vm_warn(s->g, "pages are mapped as they come from now on: %s",
			strerror(-r));
		drop_views(s);
		close(s->uffd);
		s->uffd = -1;
	}
	return r;
}
