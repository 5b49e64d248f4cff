/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * io_uring for block I/O: queue reads and writes, hand them over in one system call,
 * take completions. A thin room around liburing, so that its types stay inside.
 *
 * One thread owns a ring. Nothing allocates after ring_open. The caller keeps count
 * of what is in flight: never more than the depth.
 */
#ifndef LIB_RING_H
#define LIB_RING_H

#include <stddef.h>
#include <stdint.h>

struct ring;

/* One completion: `data` as given at the submission, `result` bytes or -errno. */
struct ring_event {
	void *data;
	int result;
};

/* `depth` requests in flight at most (a power of two is best). -errno of
 * io_uring_setup(2): -ENOSYS or -EPERM where the host forbids io_uring. */
int ring_open(unsigned int depth, struct ring **ret);
void ring_close(struct ring *r); /* NULL is fine; nothing may be in flight */

/* Queues one request; the buffer stays the caller's and must live until its event.
 * -EAGAIN: the queue is full, ring_kick and try again. */
int ring_read(struct ring *r, int fd, void *buf, size_t len, uint64_t offset,
	      void *data);
int ring_write(struct ring *r, int fd, const void *buf, size_t len, uint64_t offset,
	       void *data);

/* Hands what is queued to the kernel. 0, or -errno: then it is still queued. */
int ring_kick(struct ring *r);

/* Takes up to `max` completions, without waiting. Returns how many. */
unsigned int ring_take(struct ring *r, struct ring_event *events, unsigned int max);

/* Hands over what is queued and waits until at least one completion is there. */
int ring_wait(struct ring *r);

/* Readable (poll) while a completion is there. Borrowed. */
int ring_fd(const struct ring *r);

#endif
