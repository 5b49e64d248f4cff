/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The log never stops and never ends who writes it, whatever standard error is. */
#include <fcntl.h>
#include <pthread.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/log.h"

#define MANY 4000 /* lines: more than a pipe, a socket or a terminal takes */

/* Standard error is `fd` until restore(). */
static int real_stderr;

static void replace(int fd)
{
	real_stderr = dup(STDERR_FILENO);
	assert_true(dup2(fd, STDERR_FILENO) >= 0);
	log_init("test");
	/* Nothing here may be waited for; a wait ends the test. */
	alarm(60);
}

static void restore(void)
{
	alarm(0);
	assert_true(dup2(real_stderr, STDERR_FILENO) >= 0);
	close(real_stderr);
	log_init("test");
}

static uint64_t lose_lines(void)
{
	uint64_t before = log_dropped();

	for (int i = 0; i < MANY; i++)
		log_info("line %d of a log that nobody reads", i);
	return log_dropped() - before;
}

static void a_full_pipe_loses_lines(void **state)
{
	uint64_t lost;
	char text[256];
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	replace(fds[1]);
	lost = lose_lines();
	restore();
	assert_true(lost > 0 && lost < MANY);
	assert_false(fcntl(fds[1], F_GETFL) & O_NONBLOCK); /* others share it */
	memset(text, 0, sizeof(text));
	assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
	assert_non_null(strstr(text, "test: line 0 of"));
	close(fds[0]);
	close(fds[1]);
}

static void a_pipe_without_reader_does_not_kill(void **state)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	signal(SIGPIPE, SIG_DFL);
	replace(fds[1]);
	close(fds[0]);
	assert_int_equal(lose_lines(), MANY);
	restore();
	close(fds[1]);
}

static void a_full_socket_loses_lines(void **state)
{
	uint64_t lost;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	replace(fds[1]);
	lost = lose_lines();
	assert_true(lost > 0 && lost < MANY);
	close(fds[0]);
	assert_int_equal(lose_lines(), MANY);
	restore();
	close(fds[1]);
}

static void a_stopped_terminal_loses_lines(void **state)
{
	uint64_t lost;
	int master, slave;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	replace(slave);
	assert_int_equal(tcflow(slave, TCOOFF), 0);
	lost = lose_lines();
	restore();
	assert_true(lost > 0);
	close(master);
	close(slave);
}

static void a_file_gets_every_line(void **state)
{
	FILE *f = tmpfile();

	assert_non_null(f);
	replace(fileno(f));
	assert_int_equal(lose_lines(), 0);
	restore();
	fclose(f);
}

/* ---- the budget ---- */

static void a_budget_holds_lines_back_and_says_how_many(void **state)
{
	struct log_limit l = { .burst = 3, .period_s = 3600 };
	unsigned int held;

	for (int i = 0; i < 3; i++) {
		assert_true(log_limit_ok(&l, &held));
		assert_int_equal(held, 0);
	}
	for (int i = 0; i < 5; i++)
		assert_false(log_limit_ok(&l, &held));
	l.since -= 3601;
	assert_true(log_limit_ok(&l, &held));
	assert_int_equal(held, 5);
	assert_true(log_limit_ok(&l, &held));
	assert_int_equal(held, 0);
}

static void *spend(void *arg)
{
	unsigned int held;

	for (int i = 0; i < 10000; i++)
		log_limit_ok(arg, &held);
	return NULL;
}

static void a_budget_is_shared_by_threads(void **state)
{
	struct log_limit l = LOG_LIMIT_INIT;
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, spend, &l), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_true(l.used <= l.burst + 3); /* a count may be lost, no more */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_pipe_loses_lines),
		cmocka_unit_test(a_pipe_without_reader_does_not_kill),
		cmocka_unit_test(a_full_socket_loses_lines),
		cmocka_unit_test(a_stopped_terminal_loses_lines),
		cmocka_unit_test(a_file_gets_every_line),
		cmocka_unit_test(a_budget_holds_lines_back_and_says_how_many),
		cmocka_unit_test(a_budget_is_shared_by_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
