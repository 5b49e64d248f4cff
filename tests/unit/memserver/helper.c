/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a memserver that somebody has taken over gets from the helper: its operations, no more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memserver/helper_priv.h"

static char folder[] = "/tmp/helper.XXXXXX";
static char key[64], audit[64], control[64];

struct world {
	struct server_cfg cfg;
	struct drop drop;
	struct helper_words words;
	int sock;
	pid_t pid;
};

static void put_file(char *path, size_t len, const char *name, const char *text)
{
	FILE *f;

	snprintf(path, len, "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int begin(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	int socks[2];

	strcpy(folder, "/tmp/helper.XXXXXX");
	assert_non_null(mkdtemp(folder));
	put_file(key, sizeof(key), "key", "secret");
	put_file(audit, sizeof(audit), "audit", "line\n");
	put_file(control, sizeof(control), "control", "no socket");
	w->cfg.control_path = control;
	w->words = (struct helper_words){ .files = { audit, key },
					  .audit = 0,
					  .nr_files = 2,
					  .cfg = &w->cfg,
					  .drop = &w->drop };
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks),
			 0);
	w->pid = fork();
	if (w->pid == 0) {
		close(socks[1]);
		helper_serve(socks[0], &w->words);
		_exit(7);
	}
	close(socks[0]);
	w->sock = socks[1];
	*state = w;
	return 0;
}

static int end(void **state)
{
	struct world *w = *state;
	int status = 0;

	close(w->sock);
	assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	unlink(key);
	unlink(audit);
	unlink(control);
	free(w);
	return rmdir(folder);
}

static struct helper_answer ask(struct world *w, struct helper_request q, int nr_fds,
				int *ret_fd)
{
	static const int some[] = { 0, 0 };
	struct helper_answer a = { 0 };
	int fds[HELPER_FDS];

	assert_int_equal(helper_send(w->sock, &q, sizeof(q), some, (size_t)nr_fds), 0);
	assert_int_equal(helper_receive(w->sock, &a, sizeof(a), fds), 1);
	assert_int_equal(fds[1], -1);
	if (ret_fd)
		*ret_fd = fds[0];
	else
		assert_int_equal(fds[0], -1);
	return a;
}

static void only_its_files(void **state)
{
	struct world *w = *state;
	char text[16] = "";
	int fd;

	assert_int_equal(
		ask(w, (struct helper_request){ HELPER_OPEN, 1, 0 }, 0, &fd).result, 0);
	assert_int_equal(read(fd, text, sizeof(text)), 6);
	assert_string_equal(text, "secret");
	assert_int_equal(write(fd, "x", 1), -1); /* to read only */
	close(fd);
	assert_int_equal(
		ask(w, (struct helper_request){ HELPER_OPEN, 2, 0 }, 0, NULL).result,
		-EPERM);
	assert_int_equal(
		ask(w, (struct helper_request){ HELPER_OPEN, UINT32_MAX, 0 }, 0, NULL)
			.result,
		-EPERM);
}

/* Without iSCSI there is neither tgtd nor a pool that grows and shrinks. */
static void nothing_it_was_not_told(void **state)
{
	struct world *w = *state;

	assert_int_equal(
		ask(w, (struct helper_request){ HELPER_TGTD, 0, 0 }, 1, NULL).result,
		-EPERM);
	assert_int_equal(
		ask(w, (struct helper_request){ HELPER_POOL_SIZE, 0, 4096 }, 0, NULL)
			.result,
		-EPERM);
}

static void nothing_else(void **state)
{
	static const struct {
		struct helper_request q;
		int nr_fds;
	} bad[] = {
		{ { 0, 0, 0 }, 0 },
		{ { HELPER_END + 1, 0, 0 }, 0 },
		{ { UINT32_MAX, 1, 1 }, 2 },
		{ { HELPER_LOGIN, 0, 0 }, 0 },
		{ { HELPER_LOGIN, 0, 0 }, 1 },
		{ { HELPER_LOGIN, 1, 0 }, 2 },
		{ { HELPER_TGTD, 0, 0 }, 0 },
		{ { HELPER_TGTD, 0, 0 }, 2 },
		{ { HELPER_OPEN, 1, 1 }, 0 },
		{ { HELPER_OPEN, 1, 0 }, 1 },
		{ { HELPER_POOL_SIZE, 1, 4096 }, 0 },
		{ { HELPER_END, 0, 1 }, 0 },
	};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(ask(w, bad[i].q, bad[i].nr_fds, NULL).result, -EPROTO);
}

static void packets_of_other_lengths(void **state)
{
	struct world *w = *state;
	char bytes[200] = { HELPER_END };
	struct helper_answer a;
	int fds[HELPER_FDS];

	for (size_t len = 1; len <= sizeof(bytes); len++) {
		if (len == sizeof(struct helper_request))
			continue;
		assert_int_equal(helper_send(w->sock, bytes, len, NULL, 0), 0);
		assert_int_equal(helper_receive(w->sock, &a, sizeof(a), fds), 1);
		assert_int_equal(a.result, -EPROTO);
	}
}

/* Three descriptors: the kernel cuts what does not fit, and none stays open there. */
static void too_many_descriptors(void **state)
{
	_Alignas(struct cmsghdr) char control_bytes[CMSG_SPACE(3 * sizeof(int))] = "";
	struct helper_request q = { HELPER_OPEN, 1, 0 };
	struct iovec v = { &q, sizeof(q) };
	struct msghdr m = { .msg_iov = &v,
			    .msg_iovlen = 1,
			    .msg_control = control_bytes,
			    .msg_controllen = sizeof(control_bytes) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	struct world *w = *state;
	struct helper_answer a;
	int fds[HELPER_FDS];

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(3 * sizeof(int));
	memset(CMSG_DATA(c), 0, 3 * sizeof(int));
	assert_int_equal(sendmsg(w->sock, &m, 0), sizeof(q));
	assert_int_equal(helper_receive(w->sock, &a, sizeof(a), fds), 1);
	assert_int_equal(a.result, -EPROTO);
}

static void its_end_removes_sockets_only(void **state)
{
	struct world *w = *state;
	struct stat st;

	assert_int_equal(
		ask(w, (struct helper_request){ HELPER_END, 0, 0 }, 0, NULL).result, 0);
	assert_int_equal(stat(control, &st),
			 0); /* a plain file under that name stays */
	assert_int_equal(stat(key, &st), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(only_its_files, begin, end),
		cmocka_unit_test_setup_teardown(nothing_it_was_not_told, begin, end),
		cmocka_unit_test_setup_teardown(nothing_else, begin, end),
		cmocka_unit_test_setup_teardown(packets_of_other_lengths, begin, end),
		cmocka_unit_test_setup_teardown(too_many_descriptors, begin, end),
		cmocka_unit_test_setup_teardown(its_end_removes_sockets_only, begin,
						end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
