/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Readiness in (epoll, signalfd, timerfd, eventfd), callbacks out; on the thread that
 * runs the loop.
 */
#include "lib/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define LOOP_BATCH 32

struct loop {
	int epoll_fd;
	int wake_fd;
	int signal_fd; /* -1: no signals wanted */
	atomic_bool stop;
	struct loop_fd wake_watch, signal_watch;
	loop_fn wake_fn;
	void *wake_arg;
	loop_signal_fn signal_fn;
	void *signal_arg;

	/* What epoll_wait gave and is not served yet; loop_fd_del strikes out. */
	struct epoll_event batch[LOOP_BATCH];
	int batch_at, batch_nr;
};

static void on_wake(void *arg, uint32_t events)
{
	struct loop *l = arg;
	uint64_t n;

	if (read(l->wake_fd, &n, sizeof(n)) < 0)
		return;
	if (l->wake_fn)
		l->wake_fn(l->wake_arg);
}

static void on_signal(void *arg, uint32_t events)
{
	struct loop *l = arg;
	struct signalfd_siginfo si;

	if (read(l->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
		l->signal_fn(l->signal_arg, (int)si.ssi_signo);
}

int loop_new(struct loop **ret)
{
	struct loop *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->signal_fd = -1;
	l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->wake_fd < 0 || l->epoll_fd < 0) {
		r = -errno;
		goto fail;
	}
	r = loop_fd_add(l, &l->wake_watch, l->wake_fd, EPOLLIN, on_wake, l);
	if (r < 0)
		goto fail;
	*ret = l;
	return 0;
fail:
	loop_free(l);
	return r;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	if (l->signal_fd >= 0)
		close(l->signal_fd);
	if (l->wake_fd >= 0)
		close(l->wake_fd);
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	free(l);
}

int loop_once(struct loop *l, int timeout_ms)
{
	int n = epoll_wait(l->epoll_fd, l->batch, LOOP_BATCH, timeout_ms);
	int served = 0;

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	l->batch_nr = n;
	for (l->batch_at = 0; l->batch_at < l->batch_nr; l->batch_at++) {
		struct epoll_event *ev = &l->batch[l->batch_at];
		struct loop_fd *w = ev->data.ptr;

		if (!w)
			continue;
		w->fn(w->arg, ev->events);
		served++;
	}
	l->batch_nr = 0;
	return served;
}

int loop_run(struct loop *l)
{
	int r = 0;

	while (r >= 0 && !atomic_load(&l->stop))
		r = loop_once(l, -1);
	atomic_store(&l->stop, false);
	return r < 0 ? r : 0;
}

void loop_stop(struct loop *l)
{
	atomic_store(&l->stop, true);
	loop_wake(l);
}

int loop_fd_add(struct loop *l, struct loop_fd *w, int fd, uint32_t events,
		loop_fd_fn fn, void *arg)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return -errno;
	*w = (struct loop_fd){ .loop = l, .fd = fd, .fn = fn, .arg = arg };
	return 0;
}

int loop_fd_set(struct loop_fd *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	return epoll_ctl(w->loop->epoll_fd, EPOLL_CTL_MOD, w->fd, &ev) < 0 ? -errno : 0;
}

void loop_fd_del(struct loop_fd *w)
{
	struct loop *l = w->loop;

	if (!l)
		return;
	epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	for (int i = l->batch_at + 1; i < l->batch_nr; i++)
		if (l->batch[i].data.ptr == w)
			l->batch[i].data.ptr = NULL;
	w->loop = NULL;
}

static void on_timer(void *arg, uint32_t events)
{
	struct loop_timer *t = arg;
	uint64_t n;

	/* Nothing to read: it was set anew since epoll reported it. */
	if (read(t->fd, &n, sizeof(n)) == (ssize_t)sizeof(n))
		t->fn(t->arg);
}

int loop_timer_init(struct loop *l, struct loop_timer *t, loop_fn fn, void *arg)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	int r;

	if (fd < 0)
		return -errno;
	r = loop_fd_add(l, &t->watch, fd, EPOLLIN, on_timer, t);
	if (r < 0) {
		close(fd);
		return r;
	}
	t->fd = fd;
	t->fn = fn;
	t->arg = arg;
	return 0;
}

void loop_timer_fini(struct loop_timer *t)
{
	if (!t->watch.loop)
		return;
	loop_fd_del(&t->watch);
	close(t->fd);
}

static struct timespec to_timespec(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / 1000000000),
				  .tv_nsec = (long)(ns % 1000000000) };
}

void loop_timer_set(struct loop_timer *t, uint64_t first_ns, uint64_t period_ns)
{
	struct itimerspec its = { .it_value = to_timespec(first_ns),
				  .it_interval = to_timespec(period_ns) };

	/* Fails only for values that are no time at all. */
	timerfd_settime(t->fd, 0, &its, NULL);
}

int loop_signals(struct loop *l, loop_signal_fn fn, void *arg)
{
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	r = pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (r)
		return -r;
	l->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (l->signal_fd < 0)
		return -errno;
	l->signal_fn = fn;
	l->signal_arg = arg;
	return loop_fd_add(l, &l->signal_watch, l->signal_fd, EPOLLIN, on_signal, l);
}

void loop_on_wake(struct loop *l, loop_fn fn, void *arg)
{
	l->wake_fn = fn;
	l->wake_arg = arg;
}

void loop_wake(struct loop *l)
{
	int saved = errno; /* this may run in a signal handler */
	uint64_t one = 1;

	/* Fails only when 2^64-2 wakes are pending: it is awake then. */
	if (write(l->wake_fd, &one, sizeof(one)) < 0)
		errno = saved;
}
