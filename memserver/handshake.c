/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sessions and sockets in, sessions that are encrypted (or not) out; a thread of its own. */
#include "memserver/handshake.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/tls.h"

#define SECOND    UINT64_C(1000000000)
#define NR_EVENTS 32

struct handshakes {
	pthread_t thread;
	int epfd, wakefd; /* owned */
	_Atomic bool stop;
	pthread_mutex_t lock;
	struct list inbox; /* under lock */
	bool closed;       /* under lock: the thread takes no more */
	struct list list;  /* the thread's, the oldest first */
	unsigned int nr;
	struct handshake_stats stats;
};

static void count(struct handshakes *hs, int r)
{
	if (!r)
		hs->stats.good++;
	else if (r == -ETIMEDOUT)
		hs->stats.timed_out++;
	else if (r == -EBUSY)
		hs->stats.crowded++;
	else
		hs->stats.failed++;
}

static void finish(struct handshakes *hs, struct handshake *h, int r)
{
	if (h->watched)
		epoll_ctl(hs->epfd, EPOLL_CTL_DEL, h->fd, NULL);
	list_del(&h->link);
	hs->stats.under_way = --hs->nr;
	count(hs, r);
	h->result = r;
	h->done(h);
}

static void step(struct handshakes *hs, struct handshake *h)
{
	int r = tls_handshake(h->session);
	struct epoll_event ev = { .data.ptr = h };

	if (r != -EAGAIN) {
		finish(hs, h, r);
		return;
	}
	ev.events = tls_wants(h->session) == POLLOUT ? EPOLLOUT : EPOLLIN;
	if (epoll_ctl(hs->epfd, h->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, h->fd,
		      &ev) < 0)
		finish(hs, h, -errno);
	else
		h->watched = true;
}

static struct handshake *oldest(struct handshakes *hs)
{
	return container_of(hs->list.next, struct handshake, link);
}

static void take_inbox(struct handshakes *hs)
{
	for (;;) {
		struct handshake *h = NULL;

		pthread_mutex_lock(&hs->lock);
		if (!list_empty(&hs->inbox)) {
			h = container_of(hs->inbox.next, struct handshake, link);
			list_del(&h->link);
		}
		pthread_mutex_unlock(&hs->lock);
		if (!h)
			return;
		if (hs->nr == HANDSHAKES_MAX)
			finish(hs, oldest(hs), -EBUSY);
		h->since_ns = clock_ns();
		list_add_tail(&hs->list, &h->link);
		hs->stats.under_way = ++hs->nr;
		step(hs, h);
	}
}

static void expire(struct handshakes *hs)
{
	uint64_t now = clock_ns();

	while (hs->nr && now - oldest(hs)->since_ns > HANDSHAKE_SECONDS * SECOND)
		finish(hs, oldest(hs), -ETIMEDOUT);
}

static void *shake(void *arg)
{
	struct handshakes *hs = arg;

	pthread_setname_np(pthread_self(), "tls");
	while (!atomic_load(&hs->stop)) {
		struct epoll_event ev[NR_EVENTS];
		int n = epoll_wait(hs->epfd, ev, NR_EVENTS, hs->nr ? 1000 : -1);
		bool woken = false;
		uint64_t wakes;

		for (int i = 0; i < n; i++) {
			if (ev[i].data.ptr)
				step(hs, ev[i].data.ptr);
			else
				woken = true;
		}
		expire(hs);
		/* Last: it may end one that has an event of its own here. */
		if (woken && read(hs->wakefd, &wakes, sizeof(wakes)) > 0)
			take_inbox(hs);
	}
	pthread_mutex_lock(&hs->lock);
	hs->closed = true;
	pthread_mutex_unlock(&hs->lock);
	take_inbox(hs);
	while (hs->nr)
		finish(hs, oldest(hs), -ESHUTDOWN);
	return NULL;
}

void handshakes_free(struct handshakes *hs)
{
	if (!hs)
		return;
	if (hs->epfd >= 0)
		close(hs->epfd);
	if (hs->wakefd >= 0)
		close(hs->wakefd);
	pthread_mutex_destroy(&hs->lock);
	free(hs);
}

int handshakes_start(struct handshakes **ret)
{
	struct handshakes *hs = calloc(1, sizeof(*hs));
	struct epoll_event ev = { .events = EPOLLIN };
	int r;

	if (!hs)
		return -ENOMEM;
	list_init(&hs->inbox);
	list_init(&hs->list);
	pthread_mutex_init(&hs->lock, NULL);
	hs->epfd = epoll_create1(EPOLL_CLOEXEC);
	hs->wakefd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (hs->epfd < 0 || hs->wakefd < 0 ||
	    epoll_ctl(hs->epfd, EPOLL_CTL_ADD, hs->wakefd, &ev) < 0)
		r = -errno;
	else
		r = -pthread_create(&hs->thread, NULL, shake, hs);
	if (r < 0) {
		handshakes_free(hs);
		return r;
	}
	*ret = hs;
	return 0;
}

static void wake(struct handshakes *hs)
{
	uint64_t one = 1;

	if (write(hs->wakefd, &one, sizeof(one)) < 0)
		return; /* EAGAIN: it is awake already */
}

void handshakes_stop(struct handshakes *hs)
{
	if (!hs)
		return;
	atomic_store(&hs->stop, true);
	wake(hs);
	pthread_join(hs->thread, NULL);
}

void handshakes_add(struct handshakes *hs, struct handshake *h)
{
	bool closed;

	h->watched = false;
	h->result = -ESHUTDOWN;
	atomic_store(&h->over, false);
	pthread_mutex_lock(&hs->lock);
	closed = hs->closed;
	if (!closed)
		list_add_tail(&hs->inbox, &h->link);
	pthread_mutex_unlock(&hs->lock);
	if (closed)
		h->done(h);
	else
		wake(hs);
}

const struct handshake_stats *handshakes_stats(const struct handshakes *hs)
{
	return &hs->stats;
}
