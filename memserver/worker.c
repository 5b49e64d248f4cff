/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sockets that are ready in, connections served out: the serving threads. The main
 * thread starts and stops them and hands over what it accepted; the rest is theirs.
 */
#include "memserver/worker.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/clock.h"
#include "memserver/conn_priv.h"
#include "memserver/handshake.h"

#define TICK_NS   UINT64_C(1000000000)
#define NR_EVENTS 64
/* Of this many polls of the active sockets one looks at all the others. */
#define POLLS_PER_EPOLL 16

unsigned int engine_nr_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	return (unsigned int)CPU_COUNT(&set);
}

void worker_wake(struct worker *w)
{
	uint64_t one = 1;

	atomic_store(&w->poked, true);
	if (write(w->wakefd, &one, sizeof(one)) < 0)
		return; /* EAGAIN: it is awake already */
}

/* ---- connections ---- */

/* A connection with traffic moves to the front of those worth polling. */
static void make_hot(struct worker *w, struct conn *c)
{
	int i;

	if (w->hot[0] == c)
		return;
	for (i = 1; i < NR_HOT - 1 && w->hot[i] && w->hot[i] != c; i++)
		;
	memmove(&w->hot[1], &w->hot[0], (size_t)i * sizeof(w->hot[0]));
	w->hot[0] = c;
}

static void take_inbox(struct worker *w)
{
	struct conn *c, *tmp;
	struct list mine;

	list_init(&mine);
	pthread_mutex_lock(&w->inbox_lock);
	list_for_each_entry_safe(c, tmp, &w->inbox, link) {
		list_del(&c->link);
		list_add_tail(&mine, &c->link);
	}
	pthread_mutex_unlock(&w->inbox_lock);
	list_for_each_entry_safe(c, tmp, &mine, link) {
		list_del(&c->link);
		list_add_tail(&w->conns, &c->link);
		conn_start(c);
		conn_reap(c);
	}
}

static void tick_all(struct worker *w, bool only_poked)
{
	struct conn *c, *tmp;

	list_for_each_entry_safe(c, tmp, &w->conns, link) {
		if (only_poked && !atomic_load(&c->poke))
			continue;
		conn_tick(c);
		conn_reap(c);
	}
}

/* One slice for each connection that has long work, then the sockets again. */
static void work_all(struct worker *w)
{
	struct conn *c, *tmp;
	struct list mine;

	list_init(&mine);
	list_for_each_entry_safe(c, tmp, &w->busy, busy) {
		list_del(&c->busy);
		list_add_tail(&mine, &c->busy);
	}
	list_for_each_entry_safe(c, tmp, &mine, busy) {
		conn_work(c);
		conn_reap(c);
	}
}

static void on_wake(struct worker *w)
{
	uint64_t n;

	if (read(w->wakefd, &n, sizeof(n)) < 0)
		return;
	take_inbox(w);
	if (atomic_exchange(&w->poked, false))
		tick_all(w, true);
}

/* ---- waiting ---- */

/* Handles what epoll has, waiting up to `timeout_ms`. True if there was anything. */
static bool poll_events(struct worker *w, int timeout_ms)
{
	struct epoll_event ev[NR_EVENTS];
	int n = epoll_wait(w->epfd, ev, NR_EVENTS, timeout_ms);
	bool woken = false;

	if (n <= 0)
		return false;
	if (timeout_ms)
		w->now = clock_ns();
	for (int i = 0; i < n; i++) {
		struct conn *c = ev[i].data.ptr;

		if (!c) {
			woken = true;
			continue;
		}
		make_hot(w, c);
		conn_event(c, ev[i].events);
		conn_reap(c);
	}
	/* Last: it may free a connection that has an event of its own here. */
	if (woken)
		on_wake(w);
	return true;
}

static bool poll_hot(struct worker *w)
{
	bool some = false;

	for (int i = 0; i < NR_HOT && w->hot[i]; i++) {
		struct conn *c = w->hot[i];

		some |= conn_input(c);
		if (conn_reap(c))
			break;
	}
	return some;
}

/* Polls for spin_ns after the last byte: a wake-up costs more than an I/O. */
static void spin(struct worker *w)
{
	struct engine *g = w->engine;
	uint64_t until = w->now + g->spin_ns;

	if (!g->spin_ns || !w->hot[0])
		return;
	if (atomic_fetch_add(&g->spinners, 1) >= g->max_spinners) {
		atomic_fetch_sub(&g->spinners, 1);
		return;
	}
	for (unsigned int i = 1; !atomic_load_explicit(&w->stop, memory_order_relaxed);
	     i++) {
		bool some;

		w->now = clock_ns();
		some = i % POLLS_PER_EPOLL ? poll_hot(w) : poll_events(w, 0);
		if (some)
			until = w->now + g->spin_ns;
		else if (w->now >= until)
			break;
		if (w->now >= w->next_tick || w->now >= w->next_resume ||
		    !list_empty(&w->busy))
			break;
	}
	atomic_fetch_sub(&g->spinners, 1);
}

static void *serve(void *arg)
{
	struct worker *w = arg;
	char name[16];

	/* By itself: of another it is a file of /proc that a user without rights can't write. */
	snprintf(name, sizeof(name), "serve/%u", w->id);
	pthread_setname_np(pthread_self(), name);
	w->now = clock_ns();
	w->next_tick = w->now + TICK_NS;
	while (!atomic_load(&w->stop)) {
		uint64_t next =
			w->next_resume < w->next_tick ? w->next_resume : w->next_tick;
		int64_t left = (int64_t)(next - w->now);
		int timeout_ms = left <= 0 ? 0 : (int)(left / 1000000) + 1;

		if (!list_empty(&w->busy)) {
			work_all(w);
			timeout_ms = 0;
		}

		if (poll_events(w, timeout_ms))
			spin(w);
		w->now = clock_ns();
		conn_resume_due(w);
		if (w->now >= w->next_tick) {
			tick_all(w, false);
			w->next_tick = w->now + TICK_NS;
		}
	}
	return NULL;
}

/* ---- start and stop ---- */

static int worker_init(struct worker *w, struct engine *g, unsigned int id)
{
	struct epoll_event ev = { .events = EPOLLIN };
	size_t buffers = RX_BUFFER + TX_HEADS;

	w->engine = g;
	w->id = id;
	w->epfd = w->wakefd = -1;
	list_init(&w->inbox);
	list_init(&w->conns);
	list_init(&w->busy);
	list_init(&w->paused);
	w->next_resume = UINT64_MAX;
	pthread_mutex_init(&w->inbox_lock, NULL);
	/* Touched now, and locked by mlockall: serving never waits for memory. */
	w->rx = mmap(NULL, buffers, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (w->rx == MAP_FAILED) {
		w->rx = NULL;
		return -ENOMEM;
	}
	w->heads = w->rx + RX_BUFFER;
	w->epfd = epoll_create1(EPOLL_CLOEXEC);
	w->wakefd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->epfd < 0 || w->wakefd < 0 ||
	    epoll_ctl(w->epfd, EPOLL_CTL_ADD, w->wakefd, &ev) < 0)
		return -errno;
	return 0;
}

static int worker_start(struct worker *w)
{
	int r = pthread_create(&w->thread, NULL, serve, w);

	if (r)
		return -r;
	w->started = true;
	return 0;
}

static void worker_stop(struct worker *w)
{
	struct conn *c, *tmp;

	if (w->started) {
		atomic_store(&w->stop, true);
		worker_wake(w);
		pthread_join(w->thread, NULL);
	}
	if (!w->engine)
		return;
	/* Its thread is gone: its connections are ours. */
	take_inbox(w);
	list_for_each_entry_safe(c, tmp, &w->conns, link) {
		conn_abort(c);
		conn_reap(c);
	}
	if (w->epfd >= 0)
		close(w->epfd);
	if (w->wakefd >= 0)
		close(w->wakefd);
	if (w->rx)
		munmap(w->rx, RX_BUFFER + TX_HEADS);
	pthread_mutex_destroy(&w->inbox_lock);
}

int engine_start(struct engine *g)
{
	int r = 0;

	g->max_spinners = engine_nr_cpus();
	g->workers = calloc(g->nr_workers, sizeof(*g->workers));
	if (!g->workers)
		return -ENOMEM;
	if (g->secure || g->nvme_tls)
		r = handshakes_start(&g->handshakes);
	for (unsigned int i = 0; i < g->nr_workers && r == 0; i++)
		r = worker_init(&g->workers[i], g, i);
	for (unsigned int i = 0; i < g->nr_workers && r == 0; i++)
		r = worker_start(&g->workers[i]);
	if (r < 0)
		engine_stop(g);
	return r;
}

void engine_stop(struct engine *g)
{
	if (!g->workers)
		return;
	handshakes_stop(g->handshakes); /* first: connections wait for it */
	for (unsigned int i = 0; i < g->nr_workers; i++)
		worker_stop(&g->workers[i]);
	handshakes_free(g->handshakes);
	g->handshakes = NULL;
	free(g->workers);
	g->workers = NULL;
}

void engine_assign(struct engine *g, struct conn *c)
{
	struct worker *w = &g->workers[0];

	for (unsigned int i = 1; i < g->nr_workers; i++)
		if (atomic_load(&g->workers[i].nr_conns) < atomic_load(&w->nr_conns))
			w = &g->workers[i];
	atomic_fetch_add(&w->nr_conns, 1);
	c->worker = w;
	conns_add(g->conns, c);
	pthread_mutex_lock(&w->inbox_lock);
	list_add_tail(&w->inbox, &c->link);
	pthread_mutex_unlock(&w->inbox_lock);
	worker_wake(w);
}
