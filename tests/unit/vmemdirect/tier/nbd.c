/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What becomes of a connection's bytes: seen by a server that accepts and says nothing. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "vmemdirect/tier/nbd.h"

static int listener;
static struct tier *tier;
static struct tier_queue *queue;
static struct tier_io io;
static char page[TIER_PAGE_SIZE];

static void done(struct tier_io *unused)
{
}

static int open_tier(void **state)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	struct nbd_export x;
	char url[64];

	listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(listener, 1), 0);
	getsockname(listener, (struct sockaddr *)&a, &len);
	snprintf(url, sizeof(url), "nbd://127.0.0.1:%u/x", ntohs(a.sin_port));
	assert_int_equal(nbd_export_parse(url, &x), 0);
	x.nr_pages = 2;
	assert_int_equal(
		tier_open(&tier_nbd_ops, &(struct tier_cfg){ .export = &x }, &tier), 0);
	return 0;
}

static int close_tier(void **state)
{
	tier_close(tier);
	close(listener);
	return 0;
}

static void begin(void)
{
	assert_int_equal(tier_queue_open(tier, 1, &queue), 0);
	io = (struct tier_io){ .buf = page, .nr_pages = 1, .done = done };
	assert_int_equal(tier_submit(queue, &io), 0);
	tier_reap(queue); /* connects */
}

/* (An ordinary close would be an end of file.) */
static void check_reset(int peer)
{
	char byte;

	assert_int_equal(recv(peer, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	close(peer);
}

static void resets_when_it_hangs_up(void **state)
{
	int peer;

	begin();
	peer = accept(listener, NULL, NULL);
	tier_queue_close(queue);
	check_reset(peer);
}

static void resets_when_it_is_killed(void **state)
{
	int begun[2], peer;
	pid_t child;
	char byte;

	assert_int_equal(pipe(begun), 0);
	child = fork();
	if (!child) {
		begin();
		if (write(begun[1], "k", 1) == 1)
			pause();
		_exit(1);
	}
	peer = accept(listener, NULL, NULL);
	/* (Accepted is sooner than the call that connects returns.) */
	assert_int_equal(read(begun[0], &byte, 1), 1);
	close(begun[0]);
	close(begun[1]);
	kill(child, SIGKILL);
	check_reset(peer);
	waitpid(child, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(resets_when_it_hangs_up, open_tier,
						close_tier),
		cmocka_unit_test_setup_teardown(resets_when_it_is_killed, open_tier,
						close_tier),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
