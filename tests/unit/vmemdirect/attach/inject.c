/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Thousands of system calls injected into a process whose threads sleep in ppoll,
 * nanosleep, futex and read, or compute: each call gives the right result, and no
 * thread ever sees an interrupted call or a changed register.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vmemdirect/attach/inject.h"
#include "vmemdirect/attach/proc.h"

#define ROUNDS 3500 /* three flavours: ten thousand */

static struct shared {
	_Atomic bool stop;
	_Atomic int errors;
	_Atomic uint64_t turns[4];
} * shared;
static int pipe_fd[2];

static void *sleeper(void *arg)
{
	const struct timespec nap = { .tv_nsec = 300000 };
	struct pollfd fd = { .fd = pipe_fd[0], .events = POLLIN };
	sigset_t none;

	sigemptyset(&none);
	while (!shared->stop) {
		if (syscall(SYS_ppoll, &fd, 1, &(struct timespec){ .tv_nsec = 300000 },
			    &none, 8) != 0)
			shared->errors++;
		if (nanosleep(&nap, NULL) != 0)
			shared->errors++;
		shared->turns[0]++;
	}
	return arg;
}

static void *waiter(void *arg)
{
	static uint32_t word;
	const struct timespec nap = { .tv_nsec = 300000 };

	while (!shared->stop) {
		if (syscall(SYS_futex, &word, FUTEX_WAIT, 0, &nap, NULL, 0) != -1 ||
		    errno != ETIMEDOUT)
			shared->errors++;
		shared->turns[1]++;
	}
	return arg;
}

static void *computer(void *arg)
{
	while (!shared->stop) {
		volatile double d = 1;
		uint64_t x = 88172645463325252;

		for (unsigned int i = 0; i < 10000; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			d = d * 1.0000001;
		}
		if (shared->turns[3] && shared->turns[3] != x)
			shared->errors++;
		shared->turns[3] = x; /* the same every time */
		shared->turns[2]++;
	}
	return arg;
}

static void child(void)
{
	pthread_t t[2];

	pthread_create(&t[0], NULL, waiter, NULL);
	pthread_create(&t[1], NULL, computer, NULL);
	sleeper(NULL); /* the main thread: it is the one that gets most of them */
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	_exit(0);
}

static void nobody_notices(void **state)
{
	const uint64_t args[6] = { 0 };
	int64_t value;
	int status;
	pid_t pid;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_int_equal(pipe(pipe_fd), 0);
	pid = fork();
	if (!pid)
		child();
	while (!shared->turns[0] || !shared->turns[1] || !shared->turns[2])
		usleep(100);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		assert_int_equal(inject_syscall(pid, SYS_getpid, args, &value), 0);
		assert_int_equal(value, pid);
	}
	assert_int_equal(inject_syscall(pid, SYS_close, (uint64_t[6]){ 9999 }, &value),
			 0);
	assert_int_equal(value, -EBADF);
	assert_int_equal(proc_tracer(pid), 0);
	shared->stop = true;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(shared->errors, 0);
}

static void a_process_that_is_gone(void **state)
{
	const uint64_t args[6] = { 0 };
	int64_t value;
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
	assert_true(inject_syscall(pid, SYS_getpid, args, &value) < 0);
}

static void lines_of_maps(void **state)
{
	struct proc_map m;

	assert_true(
		proc_parse_map("7f028bfff000-7f029bfff000 rw-s 00001000 00:01 1058  "
			       "/memfd:memory-backend-memfd (deleted)\n",
			       &m));
	assert_true(m.start == 0x7f028bfff000 && m.end == 0x7f029bfff000);
	assert_true(m.offset == 0x1000 && m.dev == 1 && m.ino == 1058);
	assert_true(m.shared && m.writable);
	assert_string_equal(m.path, "/memfd:memory-backend-memfd (deleted)");
	assert_true(proc_parse_map("00400000-00401000 r-xp 00000000 00:00 0\n", &m));
	assert_false(m.shared || m.writable || m.path[0]);
	assert_false(proc_parse_map("", &m));
	assert_false(proc_parse_map("7f02-7f01 rw-s 0 00:01 1\n", &m));
	assert_false(proc_parse_map("nonsense", &m));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_notices),
		cmocka_unit_test(a_process_that_is_gone),
		cmocka_unit_test(lines_of_maps),
	};

	return cmocka_run_group_tests_name("injected system calls", tests, NULL, NULL);
}
