/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A tier in the daemon's own memory: pages in and out with no device between, for
 * tests and for measuring what the pager itself costs. Saves no memory. Everything is
 * done in submit, by the caller's thread; `done` is called in reap, as everywhere.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/log.h"
#include "vmemdirect/tier/tier.h"

struct null_tier {
	struct tier tier;
	uint8_t *mem; /* owned mapping */
};

struct null_queue {
	struct tier_queue queue;
	unsigned int depth, nr;
	struct tier_io *io[]; /* carried out, not told yet */
};

static int null_open(const struct tier_cfg *cfg, struct tier **ret)
{
	struct null_tier *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->mem = mmap(NULL, cfg->nr_pages * TIER_PAGE_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (t->mem == MAP_FAILED) {
		free(t);
		return -errno;
	}
	t->tier.ops = &tier_null_ops;
	t->tier.nr_pages = t->tier.room_pages = cfg->nr_pages;
	*ret = &t->tier;
	return 0;
}

static void null_close(struct tier *tier)
{
	struct null_tier *t = (struct null_tier *)tier;

	munmap(t->mem, tier->nr_pages * TIER_PAGE_SIZE);
	free(t);
}

static int null_queue_open(struct tier *tier, unsigned int depth,
			   struct tier_queue **ret)
{
	struct null_queue *q = calloc(1, sizeof(*q) + depth * sizeof(q->io[0]));

	if (!q)
		return -ENOMEM;
	q->queue.tier = tier;
	q->depth = depth;
	*ret = &q->queue;
	return 0;
}

static void null_queue_close(struct tier_queue *queue)
{
	free(queue);
}

static int null_submit(struct tier_queue *queue, struct tier_io *io)
{
	struct null_queue *q = (struct null_queue *)queue;
	struct null_tier *t = (struct null_tier *)queue->tier;
	uint8_t *at = t->mem + io->pfn * TIER_PAGE_SIZE;
	size_t len = (size_t)io->nr_pages * TIER_PAGE_SIZE;

	if (q->nr == q->depth)
		return -EAGAIN;
	if (io->write)
		memcpy(at, io->buf, len);
	else
		memcpy(io->buf, at, len);
	q->io[q->nr++] = io;
	return 0;
}

static int null_kick(struct tier_queue *queue)
{
	return 0;
}

static unsigned int null_reap(struct tier_queue *queue)
{
	struct null_queue *q = (struct null_queue *)queue;
	unsigned int n = q->nr;

	/* `done` may submit again: only those that were there. */
	for (unsigned int i = 0; i < n; i++)
		tier_finish(queue->tier, q->io[i], 0);
	q->nr -= n;
	memmove(q->io, q->io + n, q->nr * sizeof(q->io[0]));
	return n;
}

static int null_wait(struct tier_queue *queue)
{
	return 0;
}

static int null_fd(const struct tier_queue *queue)
{
	return -1;
}

const struct tier_ops tier_null_ops = {
	.name = "null",
	.open = null_open,
	.close = null_close,
	.queue_open = null_queue_open,
	.queue_close = null_queue_close,
	.submit = null_submit,
	.kick = null_kick,
	.reap = null_reap,
	.wait = null_wait,
	.fd = null_fd,
};
