/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where pages lie while they are out: a row of pages numbered like the guest's, read
 * and written in runs. A tier knows page numbers and buffers, never the pager.
 *
 * A tier is opened once; every thread that uses it opens a queue of its own. Requests
 * are queued, kicked (handed to the device together), and reaped: reaping calls each
 * finished request's `done` in the queue's thread. Nothing allocates after
 * tier_queue_open. At most the queue's depth may be under way (queued or kicked).
 *
 * A write that is `done` with 0 is acknowledged: a later read of any queue gives those
 * bytes. Reads and writes of one page at the same time are the caller's mistake.
 */
#ifndef VMEMDIRECT_TIER_TIER_H
#define VMEMDIRECT_TIER_TIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIER_PAGE_SIZE    4096
#define TIER_BUFFER_ALIGN 4096 /* of every buffer: O_DIRECT */

struct tier;
struct tier_queue;

struct tier_io {
	void *buf; /* borrowed until done */
	uint64_t pfn;
	uint32_t nr_pages;
	bool write;
	bool discard;    /* neither: the pages' bytes count no more; no buffer */
	uint8_t attempt; /* where a page lies more than once: read the n-th copy */
	int result;      /* 0 or -errno; short transfers are -EIO */
	void (*done)(struct tier_io *io);
};

struct tier_stats {
	uint64_t read_bytes, written_bytes, reads, writes;
	uint64_t size_bytes; /* what the tier has reserved for us */
};

struct tier_cfg {
	const char *path; /* ssd: file or block device; borrowed for the open */
	uint64_t nr_pages;
	bool preallocate;
	bool resume; /* an existing file's content counts: never truncate it */
	const struct nbd_export *export; /* nbd; borrowed for the open */
	const struct spill_cfg *spill;   /* spill; borrowed for the open */
};

/* One of the places a tier is composed of, for people. */
struct tier_place {
	const char *name;  /* file or URL; borrowed from the tier */
	const char *state; /* "up", "down" or "reborn" */
	uint64_t size_bytes, used_bytes;
	uint64_t unused_bytes; /* of these: to be given back, or held for a while */
	uint64_t losses;       /* how often the connection was lost */
	uint64_t reads, read_bytes, writes, written_bytes;
};

/* How well the pages of a tier with places are kept. */
struct tier_health {
	unsigned int copies; /* that each remote page should have */
	uint64_t degraded;   /* pages of which fewer can be had */
	bool alarm;          /* a place is not there */
};

/* A kind of tier. `t` and `q` are first members of the kind's own structs. */
struct tier_ops {
	const char *name;
	int (*open)(const struct tier_cfg *cfg, struct tier **ret);
	void (*close)(struct tier *t);
	int (*queue_open)(struct tier *t, unsigned int depth, struct tier_queue **ret);
	void (*queue_close)(struct tier_queue *q);
	int (*submit)(struct tier_queue *q, struct tier_io *io);
	int (*kick)(struct tier_queue *q);
	unsigned int (*reap)(struct tier_queue *q);
	int (*wait)(struct tier_queue *q);
	int (*fd)(const struct tier_queue *q);
	/* A read may span so many pages that nobody wants between two that somebody
	 * does: cheaper than two reads. What it brings of them means nothing. */
	uint32_t gap_pages;
	/* May be NULL: */
	bool (*holds)(const struct tier *t, uint64_t pfn);
	void (*forget)(struct tier *t, uint64_t pfn, uint32_t nr_pages);
	void (*clear)(struct tier *t);
	int (*place)(const struct tier *t, unsigned int i, struct tier_place *ret);
	void (*health)(const struct tier *t, struct tier_health *ret);
};

struct tier {
	const struct tier_ops *ops;
	uint64_t nr_pages;
	uint64_t room_pages; /* how many of them it can hold at a time */
	_Atomic uint64_t read_bytes, written_bytes, reads, writes;
	uint64_t size_bytes;
};

struct tier_queue {
	struct tier *tier;
};

extern const struct tier_ops tier_null_ops, tier_ssd_ops, tier_nbd_ops, tier_spill_ops;

/* Opens a tier of this kind. The reason of a failure is logged by the kind. */
static inline int tier_open(const struct tier_ops *ops, const struct tier_cfg *cfg,
			    struct tier **ret)
{
	return ops->open(cfg, ret);
}

static inline void tier_close(struct tier *t) /* NULL is fine; all queues are closed */
{
	if (t)
		t->ops->close(t);
}

static inline int tier_queue_open(struct tier *t, unsigned int depth,
				  struct tier_queue **ret)
{
	return t->ops->queue_open(t, depth, ret);
}

static inline void tier_queue_close(struct tier_queue *q) /* NULL is fine */
{
	if (q)
		q->tier->ops->queue_close(q);
}

/* Queues a request. -EAGAIN: full; -EINVAL: outside the tier. */
int tier_submit(struct tier_queue *q, struct tier_io *io);

/* Hands over what is queued. */
static inline int tier_kick(struct tier_queue *q)
{
	return q->tier->ops->kick(q);
}

/* Calls `done` of what has finished, without waiting. Returns how many. */
static inline unsigned int tier_reap(struct tier_queue *q)
{
	return q->tier->ops->reap(q);
}

/* Hands over what is queued and sleeps until something has finished: reap then. */
static inline int tier_wait(struct tier_queue *q)
{
	return q->tier->ops->wait(q);
}

/* Readable while something has finished (poll), or -1: everything finishes in kick. */
static inline int tier_fd(const struct tier_queue *q)
{
	return q->tier->ops->fd(q);
}

/*
 * Could this page, that is stored, be read now? False: its bytes are, as far as is known,
 * not to be had, for a while or for ever, and who has them should not let them go. The
 * page's owner asks; any thread, at once.
 */
static inline bool tier_holds(const struct tier *t, uint64_t pfn)
{
	return !t->ops->holds || t->ops->holds(t, pfn);
}

/*
 * These pages' bytes count no more. The caller owns the pages, or knows otherwise that
 * no request of them is under way, nor will be until this returns. Any thread.
 */
static inline void tier_forget(struct tier *t, uint64_t pfn, uint32_t nr_pages)
{
	if (t->ops->forget)
		t->ops->forget(t, pfn, nr_pages);
}

/*
 * Does it hold fewer pages than the guest has? Then it needs every page forgotten that
 * came back into memory.
 */
static inline bool tier_is_small(const struct tier *t)
{
	return t->room_pages < t->nr_pages;
}

/* Before the close: nothing that is stored counts any more. All queues are closed. */
static inline void tier_clear(struct tier *t) /* NULL is fine */
{
	if (t && t->ops->clear)
		t->ops->clear(t);
}

/* The i-th place of a tier that is composed of some; -ENOENT: it has no more. */
int tier_get_place(const struct tier *t, unsigned int i, struct tier_place *ret);

/* False: it has no places. */
bool tier_get_health(const struct tier *t, struct tier_health *ret);

void tier_get_stats(const struct tier *t, struct tier_stats *ret);

/* For the kinds: counts a finished request and tells its owner. */
void tier_finish(struct tier *t, struct tier_io *io, int result);

#endif
