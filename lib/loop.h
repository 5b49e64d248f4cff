/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The event loop of control planes (a memserver's main thread, the memswap keeper,
 * vmemdirect): descriptors, timers, signals and a wake from other threads. Level
 * triggered epoll; nothing here is fast enough for, or used by, a data path.
 *
 * One thread runs a loop and makes every call to it, but for those marked (any
 * thread). Watches are embedded in their owners, who remove them before they die; a
 * callback may remove any watch, its own included, and events of a removed watch
 * that were already fetched are not delivered.
 */
#ifndef LIB_LOOP_H
#define LIB_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct loop;

typedef void (*loop_fd_fn)(void *arg, uint32_t events);
typedef void (*loop_fn)(void *arg);
typedef void (*loop_signal_fn)(void *arg, int signo);

/* The fields are the loop's. Zeroed: not watched. */
struct loop_fd {
	struct loop *loop; /* borrowed while watched, else NULL */
	int fd;            /* borrowed: the owner closes it, after loop_fd_del */
	loop_fd_fn fn;
	void *arg;
};

struct loop_timer {
	struct loop_fd watch;
	int fd; /* owned timerfd */
	loop_fn fn;
	void *arg;
};

int loop_new(struct loop **ret);
void loop_free(struct loop *l); /* after every watch and timer is gone; NULL is fine */

/* Serves until loop_stop. 0 or -errno of epoll_wait. */
int loop_run(struct loop *l);

/* Serves once what is ready, waiting up to `timeout_ms` (-1: for ever) for it.
 * Returns how many callbacks ran, or -errno. */
int loop_once(struct loop *l, int timeout_ms);

/* (any thread, and signal handlers) loop_run returns after the present callback. A
 * loop that was stopped can be run again. */
void loop_stop(struct loop *l);

/* Calls `fn` with the EPOLL* events that are ready. */
int loop_fd_add(struct loop *l, struct loop_fd *w, int fd, uint32_t events,
		loop_fd_fn fn, void *arg);
int loop_fd_set(struct loop_fd *w, uint32_t events);
void loop_fd_del(struct loop_fd *w); /* fine when it is not watched */

/* CLOCK_MONOTONIC; made disarmed. */
int loop_timer_init(struct loop *l, struct loop_timer *t, loop_fn fn, void *arg);
void loop_timer_fini(struct loop_timer *t); /* fine when zeroed */

/* First in `first_ns` (0: disarm), then every `period_ns` (0: once). Expiries that
 * were missed are told once. */
void loop_timer_set(struct loop_timer *t, uint64_t first_ns, uint64_t period_ns);

/*
 * SIGTERM, SIGINT and SIGHUP come to `fn` from now on. Blocks them in the calling
 * thread, so call it before other threads are made. At most once per loop.
 */
int loop_signals(struct loop *l, loop_signal_fn fn, void *arg);

/* loop_wake (any thread, and signal handlers) makes `fn` run soon on the loop;
 * several wakes may be one run. */
void loop_on_wake(struct loop *l, loop_fn fn, void *arg);
void loop_wake(struct loop *l);

#endif
