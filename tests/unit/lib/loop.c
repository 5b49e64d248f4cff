/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control planes' event loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "lib/loop.h"

struct pipe_watch {
	struct loop_fd w;
	int fd[2];
	unsigned int calls;
	struct loop_fd *victim; /* removed by the callback */
};

static struct loop *l;

static int setup(void **state)
{
	return loop_new(&l);
}

static int teardown(void **state)
{
	loop_free(l);
	return 0;
}

static void on_pipe(void *arg, uint32_t events)
{
	struct pipe_watch *p = arg;

	p->calls++;
	if (p->victim)
		loop_fd_del(p->victim);
}

static void pipe_open(struct pipe_watch *p)
{
	memset(p, 0, sizeof(*p));
	assert_int_equal(pipe(p->fd), 0);
	assert_int_equal(loop_fd_add(l, &p->w, p->fd[0], EPOLLIN, on_pipe, p), 0);
	assert_int_equal(write(p->fd[1], "x", 1), 1);
}

static void pipe_close(struct pipe_watch *p)
{
	loop_fd_del(&p->w);
	close(p->fd[0]);
	close(p->fd[1]);
}

static void readable(void **state)
{
	struct pipe_watch p;

	pipe_open(&p);
	assert_int_equal(loop_once(l, -1), 1);
	assert_int_equal(p.calls, 1);
	assert_int_equal(loop_fd_set(&p.w, 0), 0);
	assert_int_equal(loop_once(l, 0), 0);
	assert_int_equal(p.calls, 1);
	pipe_close(&p);
}

static void removed_in_batch(void **state)
{
	struct pipe_watch a, b;

	pipe_open(&a);
	pipe_open(&b);
	a.victim = &b.w;
	b.victim = &a.w;
	assert_int_equal(loop_once(l, -1), 1);
	assert_int_equal(a.calls + b.calls, 1);
	pipe_close(&a);
	pipe_close(&b);
}

static void remove_oneself(void **state)
{
	struct pipe_watch a;

	pipe_open(&a);
	a.victim = &a.w;
	assert_int_equal(loop_once(l, -1), 1);
	assert_int_equal(loop_once(l, 0), 0);
	assert_int_equal(a.calls, 1);
	pipe_close(&a);
}

static void count(void *arg)
{
	++*(unsigned int *)arg;
}

static void timer(void **state)
{
	struct loop_timer t = { 0 };
	unsigned int fired = 0;

	assert_int_equal(loop_timer_init(l, &t, count, &fired), 0);
	assert_int_equal(loop_once(l, 0), 0);
	loop_timer_set(&t, 1, 1000000);
	while (fired < 3)
		assert_true(loop_once(l, -1) >= 0);
	loop_timer_set(&t, 0, 0);
	fired = 0;
	assert_int_equal(loop_once(l, 0), 0);
	loop_timer_set(&t, 1, 0);
	while (!fired)
		assert_true(loop_once(l, -1) >= 0);
	loop_timer_fini(&t);
	assert_int_equal(loop_once(l, 0), 0);
	assert_int_equal(fired, 1);
	loop_timer_fini(&t);
}

static void *stopper(void *arg)
{
	loop_stop(l);
	return NULL;
}

static void stop_from_thread(void **state)
{
	pthread_t thread;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(pthread_create(&thread, NULL, stopper, NULL), 0);
		assert_int_equal(loop_run(l), 0);
		pthread_join(thread, NULL);
	}
}

static void count_and_stop(void *arg)
{
	++*(unsigned int *)arg;
	loop_stop(l);
}

static void *waker(void *arg)
{
	loop_wake(l);
	return NULL;
}

static void wake(void **state)
{
	pthread_t thread;
	unsigned int woken = 0;

	loop_on_wake(l, count_and_stop, &woken);
	assert_int_equal(pthread_create(&thread, NULL, waker, NULL), 0);
	assert_int_equal(loop_run(l), 0);
	pthread_join(thread, NULL);
	assert_true(woken >= 1);
}

static void on_signal(void *arg, int signo)
{
	*(int *)arg = signo;
	loop_stop(l);
}

static void signals(void **state)
{
	static const int each[] = { SIGTERM, SIGINT, SIGHUP };
	int seen = 0;

	assert_int_equal(loop_signals(l, on_signal, &seen), 0);
	for (size_t i = 0; i < 3; i++) {
		kill(getpid(), each[i]);
		assert_int_equal(loop_run(l), 0);
		assert_int_equal(seen, each[i]);
	}
}

#define TEST(fn, name)                          \
	{                                       \
		name, fn, setup, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(readable,
		     "a readable descriptor calls back until it is unwatched"),
		TEST(removed_in_batch,
		     "a watch removed by another callback is not called"),
		TEST(remove_oneself, "a callback may remove its own watch"),
		TEST(timer, "a timer fires once or periodically and can be disarmed"),
		TEST(stop_from_thread,
		     "another thread stops the loop, which can run again"),
		TEST(wake, "another thread wakes the loop"),
		TEST(signals, "SIGTERM, SIGINT and SIGHUP arrive as callbacks"),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
