/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A control server and its clients, well-behaved and not, on a loop in a thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <json-c/json.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/ctl_client.h"
#include "lib/ctl_server.h"
#include "lib/loop.h"

#define TIMEOUT_MS 60000

static char dir[64], path[96];
static struct loop *l;
static struct ctl_server *server;
static pthread_t thread;

static int do_echo(struct ctl_call *call, void *arg)
{
	const char *text;

	if (ctl_arg_string(call->req, "text", &text) < 0)
		return ctl_fail(call, EINVAL, "no text");
	call->result = json_object_new_string(text);
	return 0;
}

static int do_who(struct ctl_call *call, void *arg)
{
	call->result = json_object_new_int(call->peer->pid);
	return 0;
}

static int do_big(struct ctl_call *call, void *arg)
{
	uint64_t len;
	char *text;

	if (ctl_arg_u64(call->req, "len", &len) < 0)
		return -EINVAL;
	text = malloc(len);
	memset(text, 'x', len);
	call->result = json_object_new_string_len(text, (int)len);
	free(text);
	return 0;
}

static const struct ctl_handler table[] = {
	{ "echo", do_echo, "text=TEXT: says it back", CTL_NOBODY },
	{ "who", do_who, "who asks", CTL_NOBODY },
	{ "big", do_big, "len=N: a long answer", CTL_NOBODY },
	{ NULL, NULL, NULL, CTL_NOBODY },
};

static void *run(void *arg)
{
	loop_run(l);
	return NULL;
}

static int setup(void **state)
{
	strcpy(dir, "/tmp/ctl-unit.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/run/control", dir);
	if (loop_new(&l) < 0 || ctl_server_open(l, path, table, NULL, &server) < 0)
		return -1;
	return pthread_create(&thread, NULL, run, NULL);
}

static int teardown(void **state)
{
	char run_dir[80];

	loop_stop(l);
	pthread_join(thread, NULL);
	ctl_server_close(server);
	loop_free(l);
	snprintf(run_dir, sizeof(run_dir), "%s/run", dir);
	/* Fails if the server left a file behind. */
	return rmdir(run_dir) < 0 || rmdir(dir) < 0 ? -1 : 0;
}

static struct ctl_client *dial(void)
{
	struct ctl_client *c;
	char error[CTL_ERROR_MAX];

	assert_int_equal(ctl_client_open(path, "x", "start it", TIMEOUT_MS, &c, error),
			 0);
	return c;
}

/* Calls and frees the result's text into `ret`. */
static int call(struct ctl_client *c, const char *req, char *ret, size_t len)
{
	struct json_object *o = json_tokener_parse(req), *result = NULL;
	char error[CTL_ERROR_MAX];
	int r = ctl_client_call(c, o, &result, error);
	const char *text = r < 0 ? error : json_object_to_json_string_ext(result, 0);

	snprintf(ret, len, "%.*s", (int)len - 1, text);
	json_object_put(o);
	json_object_put(result);
	return r;
}

static int dial_raw(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(a.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static void works(void)
{
	struct ctl_client *c = dial();
	char text[64];

	assert_int_equal(
		call(c, "{\"cmd\":\"echo\",\"text\":\"hi\"}", text, sizeof(text)), 0);
	assert_string_equal(text, "\"hi\"");
	ctl_client_close(c);
}

static void calls(void **state)
{
	struct ctl_client *c = dial();
	char text[256], pid[16];

	for (int i = 0; i < 3; i++) {
		assert_int_equal(call(c, "{\"cmd\":\"echo\"}", text, sizeof(text)),
				 -EINVAL);
		assert_string_equal(text, "no text");
		assert_int_equal(call(c, "{\"cmd\":\"who\"}", text, sizeof(text)), 0);
		snprintf(pid, sizeof(pid), "%d", getpid());
		assert_string_equal(text, pid);
	}
	assert_int_equal(call(c, "{\"cmd\":\"nope\"}", text, sizeof(text)),
			 -EOPNOTSUPP);
	assert_string_equal(text, "no command 'nope'; try help");
	assert_int_equal(call(c, "{\"cmd\":\"help\"}", text, sizeof(text)), 0);
	assert_non_null(strstr(text, "says it back"));
	ctl_client_close(c);
}

static void mode(void **state)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
}

static void pipelined(void **state)
{
	static const char two[] = "\n{\"cmd\":\"echo\",\"text\":\"a\"}\n{bad\n"
				  "{\"cmd\":\"echo\",\"text\":\"b\"}\n{\"cmd\":";
	int fd = dial_raw();
	char buf[1024];
	size_t len = 0;
	ssize_t n;

	assert_int_equal(write(fd, two, strlen(two)), strlen(two));
	shutdown(fd, SHUT_WR);
	while ((n = read(fd, buf + len, sizeof(buf) - 1 - len)) > 0)
		len += (size_t)n;
	buf[len] = '\0';
	assert_non_null(strstr(buf, "\"a\"}\n{\"ok\":false"));
	assert_non_null(strstr(buf, "\"b\"}\n"));
	close(fd);
}

static void oversized(void **state)
{
	static char chunk[CTL_REQUEST_MAX + 1];
	int fd = dial_raw();
	char buf[256];
	size_t len = 0;
	ssize_t n;

	memset(chunk, 'x', sizeof(chunk));
	for (size_t done = 0; done < sizeof(chunk); done += (size_t)n) {
		n = send(fd, chunk + done, sizeof(chunk) - done, MSG_NOSIGNAL);
		assert_true(n > 0);
	}
	while ((n = read(fd, buf + len, sizeof(buf) - 1 - len)) > 0)
		len += (size_t)n;
	assert_int_equal(n, 0);
	buf[len] = '\0';
	assert_non_null(strstr(buf, "longer than 64 KiB"));
	close(fd);
	works();
}

static void big_answers(void **state)
{
	struct ctl_client *c = dial();
	char text[64];

	assert_int_equal(
		call(c, "{\"cmd\":\"big\",\"len\":4000000}", text, sizeof(text)), 0);
	assert_int_equal(
		call(c, "{\"cmd\":\"big\",\"len\":4194304}", text, sizeof(text)),
		-EMSGSIZE);
	assert_string_equal(text, "the answer is too long");
	ctl_client_close(c);
	works();
}

static void slow_reader(void **state)
{
	static const char req[] = "{\"cmd\":\"big\",\"len\":4000000}\n";
	int fd = dial_raw();

	for (int i = 0; i < 50; i++)
		assert_int_equal(write(fd, req, strlen(req)), strlen(req));
	works();
	close(fd);
	works();
}

static void crowd(void **state)
{
	int fds[3 * CTL_CLIENTS_MAX];

	for (size_t i = 0; i < 3 * CTL_CLIENTS_MAX; i++) {
		fds[i] = dial_raw();
		assert_int_equal(write(fds[i], "{", 1), 1);
	}
	works();
	for (size_t i = 0; i < 3 * CTL_CLIENTS_MAX; i++)
		close(fds[i]);
	works();
}

static void occupied(void **state)
{
	struct ctl_server *other = NULL;
	struct loop *l2;

	assert_int_equal(loop_new(&l2), 0);
	assert_int_equal(ctl_server_open(l2, path, table, NULL, &other), -EADDRINUSE);
	assert_null(other);
	loop_free(l2);
	works();
}

/* What a killed server leaves: a socket file nobody listens at, and a lock file. */
static void leave_stale(const char *where)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(a.sun_path, where);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 1), 0);
	close(fd);
}

static void stale(void **state)
{
	char where[128], lock[136];
	struct ctl_server *other;
	struct loop *l2;
	FILE *f;

	snprintf(where, sizeof(where), "%s.2", path);
	snprintf(lock, sizeof(lock), "%s.lock", where);
	f = fopen(lock, "w");
	fclose(f);
	leave_stale(where);
	assert_int_equal(loop_new(&l2), 0);
	assert_int_equal(ctl_server_open(l2, where, table, NULL, &other), 0);
	ctl_server_close(other);
	assert_int_equal(access(where, F_OK), -1);
	assert_int_equal(access(lock, F_OK), -1);
	loop_free(l2);
}

static void not_a_socket(void **state)
{
	struct ctl_server *other;
	char where[128];
	struct loop *l2;
	FILE *f;

	snprintf(where, sizeof(where), "%s.3", path);
	f = fopen(where, "w");
	fclose(f);
	assert_int_equal(loop_new(&l2), 0);
	assert_int_equal(ctl_server_open(l2, where, table, NULL, &other), -EADDRINUSE);
	assert_int_equal(unlink(where), 0); /* still there */
	loop_free(l2);
}

static void nobody_there(void **state)
{
	struct ctl_client *c;
	char error[CTL_ERROR_MAX];

	assert_int_equal(ctl_client_open("/tmp/no/such/control", "memserver",
					 "start it: memserver --export 4G", TIMEOUT_MS,
					 &c, error),
			 -ENOENT);
	assert_string_equal(error, "no memserver listens at /tmp/no/such/control; "
				   "start it: memserver --export 4G");
}

#define TEST(fn, name)                          \
	{                                       \
		name, fn, setup, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(calls, "requests are answered one after the other"),
		TEST(mode, "owner and group may use the socket, others not"),
		TEST(pipelined,
		     "several lines in one piece are each answered, bad ones "
		     "with an error"),
		TEST(oversized, "a line past 64 KiB gets an error and the end"),
		TEST(big_answers, "an answer may be long but not too long"),
		TEST(slow_reader, "a client that does not read delays nobody"),
		TEST(crowd, "however many connect and stay, the next one is served"),
		TEST(occupied, "the socket of a living server is not taken"),
		TEST(stale, "the socket of a dead server is replaced"),
		TEST(not_a_socket, "a file that is no socket is left alone"),
		{ "where nobody listens the error says which socket and what to do",
		  nobody_there, NULL, NULL, NULL },
	};

	return cmocka_run_group_tests_name("ctl_server", tests, NULL, NULL);
}
