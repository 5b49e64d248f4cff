/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads and writes in, completions out, through one io_uring owned by one thread. No
 * setup flags: DEFER_TASKRUN would save a little, but needs 6.1 and a system call in
 * each take.
 */
#include "lib/ring.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>

#include "lib/fault.h"

struct ring {
	struct io_uring uring;
};

int ring_open(unsigned int depth, struct ring **ret)
{
	struct ring *r = calloc(1, sizeof(*r));
	int e;

	if (!r)
		return -ENOMEM;
	e = io_uring_queue_init(depth, &r->uring, 0);
	if (e < 0) {
		free(r);
		return e;
	}
	*ret = r;
	return 0;
}

void ring_close(struct ring *r)
{
	if (!r)
		return;
	io_uring_queue_exit(&r->uring);
	free(r);
}

int ring_read(struct ring *r, int fd, void *buf, size_t len, uint64_t offset,
	      void *data)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->uring);

	if (!sqe)
		return -EAGAIN;
	io_uring_prep_read(sqe, fd, buf, (unsigned int)len, offset);
	io_uring_sqe_set_data(sqe, data);
	return 0;
}

int ring_write(struct ring *r, int fd, const void *buf, size_t len, uint64_t offset,
	       void *data)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->uring);

	if (!sqe)
		return -EAGAIN;
	io_uring_prep_write(sqe, fd, buf, (unsigned int)len, offset);
	io_uring_sqe_set_data(sqe, data);
	return 0;
}

int ring_kick(struct ring *r)
{
	int n;

	if (!io_uring_sq_ready(&r->uring))
		return 0;
	n = fault_point("ring.submit");
	if (!n)
		n = io_uring_submit(&r->uring);
	if (n >= 0 && io_uring_sq_ready(&r->uring)) /* some of them only */
		n = -EAGAIN;
	return n < 0 ? n : 0;
}

unsigned int ring_take(struct ring *r, struct ring_event *events, unsigned int max)
{
	unsigned int n = 0;
	struct io_uring_cqe *cqe;

	while (n < max && io_uring_peek_cqe(&r->uring, &cqe) == 0 && cqe) {
		events[n].data = io_uring_cqe_get_data(cqe);
		events[n].result = cqe->res;
		io_uring_cqe_seen(&r->uring, cqe);
		n++;
	}
	return n;
}

int ring_wait(struct ring *r)
{
	int n;

	do {
		n = io_uring_submit_and_wait(&r->uring, 1);
	} while (n == -EINTR);
	return n < 0 ? n : 0;
}

int ring_fd(const struct ring *r)
{
	return r->uring.ring_fd;
}
