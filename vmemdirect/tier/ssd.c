/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The private swap of one VM: a file or block device, page N at byte N * 4096, so that
 * neighbours in the guest are neighbours on the disk. O_DIRECT: the page cache would
 * hold a second copy of what was paged out to save memory. One io_uring for each
 * queue, used by the queue's thread alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fault.h"
#include "lib/log.h"
#include "lib/ring.h"
#include "lib/size.h"
#include "vmemdirect/tier/tier.h"

#define REAP_MAX 32

struct ssd_tier {
	struct tier tier;
	int fd; /* owned, locked */
};

struct ssd_queue {
	struct tier_queue queue;
	struct ring *ring; /* owned */
	unsigned int depth, under_way;
};

/* ---- opening ---- */

static int open_file(struct ssd_tier *t, const char *path)
{
	t->fd = open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
	if (t->fd < 0) {
		int r = -errno;

		log_err("%s: %s%s", path, strerror(-r),
			r == -EINVAL
				? " (its file system has no O_DIRECT; tmpfs before "
				  "Linux 6.6 has none)"
				: "");
		return r;
	}
	if (flock(t->fd, LOCK_EX | LOCK_NB) < 0) {
		log_err("%s: another vmemdirect uses it: one swap file for each VM",
			path);
		return -EBUSY;
	}
	return 0;
}

static int size_device(struct ssd_tier *t, const char *path, uint64_t need)
{
	char want[SIZE_FORMAT_MAX], got[SIZE_FORMAT_MAX];
	uint64_t size = 0;

	if (ioctl(t->fd, BLKGETSIZE64, &size) < 0)
		return -errno;
	if (size < need) {
		log_err("%s has %s, the VM needs %s", path,
			size_format(size, got, sizeof(got)),
			size_format(need, want, sizeof(want)));
		return -ENOSPC;
	}
	t->tier.size_bytes = size;
	return 0;
}

static int size_file(struct ssd_tier *t, const char *path, const struct tier_cfg *cfg,
		     uint64_t have)
{
	uint64_t need = cfg->nr_pages * TIER_PAGE_SIZE;
	char want[SIZE_FORMAT_MAX];
	int r = 0;

	if (cfg->resume) {
		r = have < need ? -ESTALE : 0;
		if (r < 0)
			log_err("%s has lost a part of itself", path);
	} else if (cfg->preallocate) {
		r = fallocate(t->fd, 0, 0, (off_t)need) < 0 ? -errno : 0;
	} else {
		r = ftruncate(t->fd, (off_t)need) < 0 ? -errno : 0;
	}
	if (r == -ENOSPC || r == -EFBIG)
		log_err("%s: no room for %s on its file system", path,
			size_format(need, want, sizeof(want)));
	else if (r == -EOPNOTSUPP)
		log_err("%s: its file system cannot preallocate: --no-preallocate",
			path);
	else if (r < 0 && !cfg->resume)
		log_err("%s: %s", path, strerror(-r));
	t->tier.size_bytes = need;
	return r;
}

static void ssd_close(struct tier *tier)
{
	struct ssd_tier *t = (struct ssd_tier *)tier;

	if (t->fd >= 0)
		close(t->fd);
	free(t);
}

static int ssd_open(const struct tier_cfg *cfg, struct tier **ret)
{
	struct ssd_tier *t = calloc(1, sizeof(*t));
	struct stat st;
	int r;

	if (!t)
		return -ENOMEM;
	t->fd = -1;
	t->tier.ops = &tier_ssd_ops;
	t->tier.nr_pages = t->tier.room_pages = cfg->nr_pages;
	r = open_file(t, cfg->path);
	if (!r && fstat(t->fd, &st) < 0)
		r = -errno;
	if (!r && S_ISBLK(st.st_mode))
		r = size_device(t, cfg->path, cfg->nr_pages * TIER_PAGE_SIZE);
	else if (!r)
		r = size_file(t, cfg->path, cfg, (uint64_t)st.st_size);
	if (r < 0) {
		ssd_close(&t->tier);
		return r;
	}
	*ret = &t->tier;
	return 0;
}

/* ---- a queue ---- */

static int ssd_queue_open(struct tier *tier, unsigned int depth,
			  struct tier_queue **ret)
{
	struct ssd_queue *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return -ENOMEM;
	q->queue.tier = tier;
	q->depth = depth;
	r = ring_open(depth, &q->ring);
	if (r < 0) {
		log_err("io_uring: %s%s", strerror(-r),
			r == -EPERM || r == -ENOSYS
				? " (kernel.io_uring_disabled must be 0, or 1 for root)"
				: "");
		free(q);
		return r;
	}
	*ret = &q->queue;
	return 0;
}

static void ssd_queue_close(struct tier_queue *queue)
{
	struct ssd_queue *q = (struct ssd_queue *)queue;

	ring_close(q->ring);
	free(q);
}

static int ssd_submit(struct tier_queue *queue, struct tier_io *io)
{
	struct ssd_queue *q = (struct ssd_queue *)queue;
	const struct ssd_tier *t = (const struct ssd_tier *)queue->tier;
	size_t len = (size_t)io->nr_pages * TIER_PAGE_SIZE;
	uint64_t at = io->pfn * TIER_PAGE_SIZE;
	int r;

	if (q->under_way == q->depth)
		return -EAGAIN;
	r = io->write ? ring_write(q->ring, t->fd, io->buf, len, at, io)
		      : ring_read(q->ring, t->fd, io->buf, len, at, io);
	if (!r)
		q->under_way++;
	return r;
}

static int ssd_kick(struct tier_queue *queue)
{
	return ring_kick(((struct ssd_queue *)queue)->ring);
}

static int io_result(const struct tier_io *io, int result)
{
	int injected = io->write ? fault_point("ssd.write") : fault_point("ssd.read");

	if (injected < 0)
		return injected;
	if (result < 0)
		return result;
	if (fault_point("ssd.short") < 0)
		result /= 2;
	return (uint64_t)result == (uint64_t)io->nr_pages * TIER_PAGE_SIZE ? 0 : -EIO;
}

static unsigned int ssd_reap(struct tier_queue *queue)
{
	struct ssd_queue *q = (struct ssd_queue *)queue;
	struct ring_event ev[REAP_MAX];
	unsigned int n = ring_take(q->ring, ev, REAP_MAX);

	q->under_way -= n;
	for (unsigned int i = 0; i < n; i++) {
		struct tier_io *io = ev[i].data;

		tier_finish(queue->tier, io, io_result(io, ev[i].result));
	}
	return n;
}

static int ssd_wait(struct tier_queue *queue)
{
	return ring_wait(((struct ssd_queue *)queue)->ring);
}

static int ssd_fd(const struct tier_queue *queue)
{
	return ring_fd(((const struct ssd_queue *)queue)->ring);
}

const struct tier_ops tier_ssd_ops = {
	.name = "ssd",
	.open = ssd_open,
	.close = ssd_close,
	.queue_open = ssd_queue_open,
	.queue_close = ssd_queue_close,
	.submit = ssd_submit,
	.kick = ssd_kick,
	.reap = ssd_reap,
	.wait = ssd_wait,
	.fd = ssd_fd,
	.gap_pages = 4, /* 3.4 us of the disk each; a read is 5-10 us of a CPU */
};
