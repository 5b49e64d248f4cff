/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ascending page numbers in, "mapped" bits out; evictor's thread. */
#include "vmemdirect/pager/sample.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "vmemdirect/pageout.h"
#include "vmemdirect/pager/priv.h"

#define WINDOW_PAGES 512 /* one pread of pagemap: 4 KiB */
#define PRESENT      (UINT64_C(1) << 63)

struct sampler {
	const struct guest *g;
	int pagemap; /* owned */
	bool cannot;
	uint64_t spent_ns, pages;
	struct iovec iov[SAMPLE_MAX];
	uint64_t entry[WINDOW_PAGES];
};

int sampler_new(const struct guest *g, struct sampler **ret)
{
	struct sampler *s = calloc(1, sizeof(*s));
	char path[64];

	if (!s)
		return -ENOMEM;
	s->g = g;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", g->pid);
	s->pagemap = open(path, O_RDONLY | O_CLOEXEC);
	if (s->pagemap < 0) {
		free(s);
		return -errno;
	}
	*ret = s;
	return 0;
}

void sampler_free(struct sampler *s)
{
	if (!s)
		return;
	close(s->pagemap);
	free(s);
}

/* How many from here on follow each other in one block. */
static unsigned int run_length(const struct guest_block *b, const uint32_t *pfn,
			       unsigned int n)
{
	unsigned int i = 1;

	while (i < n && pfn[i] == pfn[i - 1] + 1 && pfn[i] < guest_block_end(b))
		i++;
	return i;
}

/* Others pass: the process is ending (-ESRCH), or has unmapped some (-ENOMEM). What was
 * not unmapped counts as touched. */
static bool is_for_good(int r)
{
	return r == -EPERM || r == -EACCES || r == -EINVAL || r == -ENOSYS;
}

bool sampler_unmap(struct sampler *s, const uint32_t *pfn, unsigned int n)
{
	uint64_t began = clock_ns();
	size_t nr = 0;
	int r;

	if (s->cannot)
		return false;
	for (unsigned int i = 0, len; i < n; i += len) {
		const struct guest_block *b = guest_block_of(s->g, pfn[i]);

		len = run_length(b, pfn + i, n - i);
		s->iov[nr].iov_base = (void *)(uintptr_t)guest_hva(b, pfn[i]);
		s->iov[nr++].iov_len = (size_t)len << GUEST_PAGE_SHIFT;
	}
	r = fault_point("sample.unmap");
	if (!r)
		r = pageout(s->g->pidfd, s->iov, nr);
	if (is_for_good(r)) {
		vm_warn(s->g, "sampling is off: process_madvise: %s", strerror(-r));
		s->cannot = true;
	}
	s->spent_ns += clock_ns() - began;
	s->pages += n;
	return !s->cannot;
}

bool sampler_mapped(struct sampler *s, const uint32_t *pfn, unsigned int n,
		    bool *mapped)
{
	for (unsigned int i = 0; i < n;) {
		const struct guest_block *b = guest_block_of(s->g, pfn[i]);
		uint32_t first = pfn[i];
		unsigned int k = i;
		size_t bytes;

		while (k < n && pfn[k] - first < WINDOW_PAGES &&
		       pfn[k] < guest_block_end(b))
			k++;
		bytes = (size_t)(pfn[k - 1] - first + 1) * sizeof(s->entry[0]);
		if (fault_point("sample.mapped") < 0 ||
		    pread(s->pagemap, s->entry, bytes,
			  (off_t)(guest_hva(b, first) >> GUEST_PAGE_SHIFT) *
				  (off_t)sizeof(s->entry[0])) != (ssize_t)bytes)
			return false;
		for (; i < k; i++)
			mapped[i] = s->entry[pfn[i] - first] & PRESENT;
	}
	return true;
}

void sampler_cost(const struct sampler *s, uint64_t *ret_ns, uint64_t *ret_pages)
{
	*ret_ns = s->spent_ns;
	*ret_pages = s->pages;
}
