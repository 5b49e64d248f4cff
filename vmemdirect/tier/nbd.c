/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests in, libnbd's asynchronous calls out, on one connection for each queue, used
 * by the queue's thread alone. Nothing here waits: connecting and the handshake are
 * driven by the same reaping as everything else. (libnbd allocates a small struct for
 * each command: this tier is the exception to tier.h's "nothing allocates".)
 *
 * A tick (timerfd in the queue's epoll set) runs while something is under way, for
 * what gives no event: silence, and the time to connect again.
 */
#include "vmemdirect/tier/nbd.h"

#include <errno.h>
#include <libnbd.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/fault.h"
#include "lib/list.h"
#include "lib/log.h"

#define TICK_MS    50
#define RETRY_MS   200 /* between attempts to connect */
#define DRIVE_MAX  64  /* replies of one reap */
#define WAIT_MS    100
#define REASON_MAX 160

struct nbd_tier {
	struct tier tier;
	struct nbd_export x;
	_Atomic int state;
	_Atomic uint64_t losses; /* and which life of the server it is */
};

struct slot {
	struct nbd_queue *q;
	struct tier_io *io;
	struct list link; /* in one of the queue's lists */
	int error;        /* 0 or errno's */
};

struct nbd_queue {
	struct tier_queue queue;
	struct nbd_handle *h; /* owned; NULL: no connection */
	bool ready;           /* the handshake is through */
	uint64_t life;        /* of the tier, when it was connected */
	int epfd, timer;      /* owned */
	bool ticking;
	uint32_t interest;
	int64_t not_before_ms, progress_ms, next_tick_ms, reaped_ms;
	unsigned int under_way;
	struct list free, waiting, issued, done;
	struct slot slot[];
};

static struct nbd_tier *tier_of(const struct nbd_queue *q)
{
	return (struct nbd_tier *)q->queue.tier;
}

static void move_all(struct list *from, struct list *to, int error)
{
	while (!list_empty(from)) {
		struct slot *s = container_of(from->next, struct slot, link);

		s->error = error;
		list_del(&s->link);
		list_add_tail(to, &s->link);
	}
}

/* ---- is it there? ---- */

/* Said by the first who notices; the others' connections to that life are dead too. */
static void went_down(struct nbd_tier *t, uint64_t life, const char *why)
{
	int was = NBD_UP;

	if (!atomic_compare_exchange_strong(&t->losses, &life, life + 1))
		return;
	if (atomic_compare_exchange_strong(&t->state, &was, NBD_DOWN))
		log_err("%s: the sub-host is lost: %s; connecting for ever", t->x.url,
			why);
}

static void is_reborn(struct nbd_tier *t, const char *why)
{
	if (atomic_exchange(&t->state, NBD_REBORN) != NBD_REBORN)
		log_err("%s: not the export that was given our pages (%s): its host "
			"was restarted, or it was dropped. Pages that lie only there "
			"are lost: the VM stops where it needs one",
			t->x.url, why);
}

void nbd_tier_label(struct tier *tier, bool ours)
{
	struct nbd_tier *t = (struct nbd_tier *)tier;
	int was;

	if (!ours) {
		is_reborn(t, "its label is gone");
		return;
	}
	was = atomic_exchange(&t->state, NBD_UP);
	if (was == NBD_DOWN)
		log_note("%s: connected again", t->x.url);
	else if (was == NBD_REBORN)
		log_note("%s: it is the old export after all", t->x.url);
}

enum nbd_state nbd_tier_state(const struct tier *tier)
{
	return (enum nbd_state)atomic_load_explicit(
		&((const struct nbd_tier *)tier)->state, memory_order_relaxed);
}

const char *nbd_tier_state_name(const struct tier *tier)
{
	static const char *const names[] = { "up", "down", "reborn" };

	return names[nbd_tier_state(tier)];
}

uint64_t nbd_tier_losses(const struct tier *tier)
{
	return atomic_load_explicit(&((const struct nbd_tier *)tier)->losses,
				    memory_order_relaxed);
}

const struct nbd_export *nbd_tier_export(const struct tier *tier)
{
	return &((const struct nbd_tier *)tier)->x;
}

/* ---- the connection ---- */

/* Ends it; what was issued ends with `error`, what was not with ENOTCONN. */
static void hang_up(struct nbd_queue *q, int error)
{
	nbd_close(q->h); /* (completes nothing later than here) */
	q->h = NULL;
	q->ready = false;
	q->interest = 0;
	q->not_before_ms = clock_ms() + RETRY_MS;
	move_all(&q->issued, &q->done, error);
	move_all(&q->waiting, &q->done, ENOTCONN);
}

static void lose(struct nbd_queue *q, int error, const char *why)
{
	struct nbd_tier *t = tier_of(q);
	char reason[REASON_MAX];
	bool refused = !q->ready && error == ECONNRESET && nbd_get_errno() == ENOENT;

	strncpy(reason, why ? why : "no reason given", sizeof(reason) - 1);
	reason[sizeof(reason) - 1] = 0;
	hang_up(q, error);
	if (refused)
		is_reborn(t, reason);
	else
		went_down(t, q->life, reason);
}

static void watch(struct nbd_queue *q)
{
	unsigned int dir = nbd_aio_get_direction(q->h);
	struct epoll_event ev = { .events = EPOLLIN };

	if (dir & LIBNBD_AIO_DIRECTION_WRITE)
		ev.events |= EPOLLOUT;
	if (!(dir & LIBNBD_AIO_DIRECTION_READ))
		ev.events &= ~(uint32_t)EPOLLIN;
	if (ev.events == q->interest)
		return;
	epoll_ctl(q->epfd, q->interest ? EPOLL_CTL_MOD : EPOLL_CTL_ADD,
		  nbd_aio_get_fd(q->h), &ev);
	q->interest = ev.events;
}

static void dial(struct nbd_queue *q)
{
	struct nbd_tier *t = tier_of(q);

	q->life = atomic_load(&t->losses);
	q->ready = false;
	q->interest = 0;
	q->progress_ms = clock_ms();
	q->h = nbd_create();
	if (!q->h) {
		hang_up(q, ENOTCONN);
		return;
	}
	nbd_set_pread_initialize(q->h, false);
	nbd_set_request_structured_replies(q->h, false); /* two receives more a read */
	if (nbd_export_dial(&t->x, q->h) < 0)
		lose(q, ECONNRESET, nbd_get_error());
	else
		watch(q);
}

/* ---- requests ---- */

static int on_done(void *arg, int *error)
{
	struct slot *s = arg;

	s->error = *error == ENOTCONN ? ECONNRESET : *error;
	list_del(&s->link);
	list_add_tail(&s->q->done, &s->link);
	s->q->progress_ms = clock_ms();
	return 1;
}

static int64_t issue_io(struct nbd_queue *q, struct slot *s)
{
	const nbd_completion_callback cb = { .callback = on_done, .user_data = s };
	const struct tier_io *io = s->io;
	uint64_t at = io->pfn * TIER_PAGE_SIZE;
	size_t len = (size_t)io->nr_pages * TIER_PAGE_SIZE;

	if (io->discard)
		return nbd_aio_trim(q->h, len, at, cb, 0);
	return io->write ? nbd_aio_pwrite(q->h, io->buf, len, at, cb, 0)
			 : nbd_aio_pread(q->h, io->buf, len, at, cb, 0);
}

/* What changes an export is sent only where the label was ours: who answers may be another
 * one, with somebody else's pages. */
static bool may_send(const struct nbd_queue *q, const struct tier_io *io)
{
	return (!io->write && !io->discard) ||
	       nbd_tier_state(&tier_of(q)->tier) == NBD_UP;
}

/* Gives libnbd what waits. (A call that fails may have completed its slot or not.) */
static void issue_all(struct nbd_queue *q)
{
	while (q->h && q->ready && !list_empty(&q->waiting)) {
		struct slot *s = container_of(q->waiting.next, struct slot, link);

		if (list_empty(&q->issued))
			q->progress_ms = clock_ms();
		list_del(&s->link);
		if (!may_send(q, s->io)) {
			s->error = ENOTCONN;
			list_add_tail(&q->done, &s->link);
			continue;
		}
		list_add_tail(&q->issued, &s->link);
		if (s->io->discard && nbd_can_trim(q->h) != 1) {
			int error = EOPNOTSUPP;

			on_done(s, &error);
			continue;
		}
		if (issue_io(q, s) < 0) {
			lose(q, ECONNRESET, nbd_get_error());
			return;
		}
		watch(q);
	}
}

static int nbd_submit(struct tier_queue *queue, struct tier_io *io)
{
	struct nbd_queue *q = (struct nbd_queue *)queue;
	const struct itimerspec tick = {
		.it_interval.tv_nsec = TICK_MS * 1000000,
		.it_value.tv_nsec = TICK_MS * 1000000,
	};
	struct slot *s;

	if (list_empty(&q->free))
		return -EAGAIN;
	if (q->h && list_empty(&q->issued) &&
	    q->life != atomic_load(&tier_of(q)->losses)) {
		hang_up(q, ECONNRESET); /* somebody has noticed that it is dead */
		q->not_before_ms = 0;
	}
	s = container_of(q->free.next, struct slot, link);
	s->io = io;
	list_del(&s->link);
	list_add_tail(&q->waiting, &s->link);
	q->under_way++;
	if (!q->ticking)
		timerfd_settime(q->timer, 0, &tick, NULL);
	q->ticking = true;
	issue_all(q);
	return 0;
}

static int nbd_kick(struct tier_queue *queue)
{
	return 0; /* what could be sent was, when it was queued */
}

/* ---- reaping ---- */

/* One step of libnbd if the socket is ready for it. */
static bool step(struct nbd_queue *q)
{
	unsigned int dir = nbd_aio_get_direction(q->h);
	struct pollfd fd = { .fd = nbd_aio_get_fd(q->h) };

	fd.events = (short)((dir & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
			    (dir & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
	if (poll(&fd, 1, 0) <= 0)
		return false;
	if ((dir & LIBNBD_AIO_DIRECTION_READ) &&
	    (fd.revents & (POLLIN | POLLHUP | POLLERR)))
		nbd_aio_notify_read(q->h);
	else if (dir & LIBNBD_AIO_DIRECTION_WRITE)
		nbd_aio_notify_write(q->h);
	return true;
}

static bool is_over(const struct nbd_queue *q)
{
	return nbd_aio_is_dead(q->h) == 1 || nbd_aio_is_closed(q->h) == 1;
}

/* The handshake is through. False: it was hung up again. */
static bool greet(struct nbd_queue *q)
{
	struct nbd_tier *t = tier_of(q);

	if (nbd_get_size(q->h) < (int64_t)(t->x.nr_pages * TIER_PAGE_SIZE)) {
		hang_up(q, ECONNRESET);
		is_reborn(t, "it is smaller");
		return false;
	}
	q->ready = true;
	issue_all(q);
	return q->h != NULL;
}

static void drive(struct nbd_queue *q)
{
	for (int i = 0; q->h && i < DRIVE_MAX && step(q); i++) {
		if (is_over(q)) {
			lose(q, ECONNRESET, nbd_get_error());
			return;
		}
		if (!q->ready && nbd_aio_is_ready(q->h) == 1 && !greet(q))
			return;
	}
	if (q->h)
		watch(q);
}

/* While nobody reaped nobody could hear an answer: that is not the server's silence. */
static void forgive(struct nbd_queue *q, int64_t now)
{
	int64_t gap = now - q->reaped_ms;

	if (gap > WAIT_MS)
		q->progress_ms =
			gap < now - q->progress_ms ? q->progress_ms + gap : now;
	q->reaped_ms = now;
}

/* What gives no event. */
static void tick(struct nbd_queue *q, int64_t now)
{
	bool waits = !list_empty(&q->issued) || !list_empty(&q->waiting);

	if (!q->h && waits && now >= q->not_before_ms)
		dial(q);
	else if (q->h && waits && now - q->progress_ms > NBD_SILENT_MS)
		lose(q, ETIMEDOUT,
		     q->ready ? "no answer for 3 s" : "no connection within 3 s");
}

static void end_tick(struct nbd_queue *q, int64_t now)
{
	const struct itimerspec never = { 0 };
	uint64_t n;

	if (now < q->next_tick_ms)
		return;
	q->next_tick_ms = now + TICK_MS - 1;
	while (read(q->timer, &n, sizeof(n)) < 0 && errno == EINTR)
		;
	if (q->under_way)
		return;
	timerfd_settime(q->timer, 0, &never, NULL);
	q->ticking = false;
}

static int io_result(const struct slot *s)
{
	int injected = s->io->discard ? fault_point("nbd.trim")
		       : s->io->write ? fault_point("nbd.write")
				      : fault_point("nbd.read");

	return injected < 0 ? injected : -s->error;
}

static unsigned int nbd_reap(struct tier_queue *queue)
{
	struct nbd_queue *q = (struct nbd_queue *)queue;
	struct list done;
	unsigned int n = 0;

	if (q->under_way || q->ticking) {
		int64_t now = clock_ms();

		forgive(q, now);
		if (q->h)
			drive(q);
		tick(q, now);
		end_tick(q, now);
	}
	/* `done` may submit again: only those that were there. */
	list_init(&done);
	while (!list_empty(&q->done)) {
		struct list *l = q->done.next;

		list_del(l);
		list_add_tail(&done, l);
	}
	while (!list_empty(&done)) {
		struct slot *s = container_of(done.next, struct slot, link);
		struct tier_io *io = s->io;
		int result = io_result(s);

		list_del(&s->link);
		list_add_tail(&q->free, &s->link);
		q->under_way--;
		n++;
		tier_finish(queue->tier, io, result);
	}
	return n;
}

static int nbd_wait(struct tier_queue *queue)
{
	const struct nbd_queue *q = (const struct nbd_queue *)queue;
	struct epoll_event ev;

	if (list_empty(&q->done))
		epoll_wait(q->epfd, &ev, 1, WAIT_MS);
	return 0;
}

static int nbd_fd(const struct tier_queue *queue)
{
	return ((const struct nbd_queue *)queue)->epfd;
}

/* ---- life ---- */

static void nbd_queue_close_(struct tier_queue *queue)
{
	struct nbd_queue *q = (struct nbd_queue *)queue;

	nbd_close(q->h);
	if (q->epfd >= 0)
		close(q->epfd);
	if (q->timer >= 0)
		close(q->timer);
	free(q);
}

static int nbd_queue_open_(struct tier *tier, unsigned int depth,
			   struct tier_queue **ret)
{
	struct nbd_queue *q = calloc(1, sizeof(*q) + depth * sizeof(q->slot[0]));
	struct epoll_event ev = { .events = EPOLLIN };

	if (!q)
		return -ENOMEM;
	q->queue.tier = tier;
	list_init(&q->free);
	list_init(&q->waiting);
	list_init(&q->issued);
	list_init(&q->done);
	for (unsigned int i = 0; i < depth; i++) {
		q->slot[i].q = q;
		list_add_tail(&q->free, &q->slot[i].link);
	}
	q->epfd = epoll_create1(EPOLL_CLOEXEC);
	q->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (q->epfd < 0 || q->timer < 0 ||
	    epoll_ctl(q->epfd, EPOLL_CTL_ADD, q->timer, &ev) < 0) {
		int r = -errno;

		nbd_queue_close_(&q->queue);
		return r;
	}
	*ret = &q->queue;
	return 0;
}

static int nbd_open(const struct tier_cfg *cfg, struct tier **ret)
{
	struct nbd_tier *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->x = *cfg->export;
	t->tier.ops = &tier_nbd_ops;
	t->tier.nr_pages = t->tier.room_pages = t->x.nr_pages;
	t->tier.size_bytes = t->x.nr_pages * TIER_PAGE_SIZE;
	*ret = &t->tier;
	return 0;
}

static void nbd_close_(struct tier *tier)
{
	free(tier);
}

const struct tier_ops tier_nbd_ops = {
	.name = "nbd",
	.open = nbd_open,
	.close = nbd_close_,
	.queue_open = nbd_queue_open_,
	.queue_close = nbd_queue_close_,
	.submit = nbd_submit,
	.kick = nbd_kick,
	.reap = nbd_reap,
	.wait = nbd_wait,
	.fd = nbd_fd,
};
