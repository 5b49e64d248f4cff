/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two TLS sessions at the ends of a socket pair, one thread playing both. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/tls.h"

static char dir[64];
static _Atomic long nr_blocks; /* OpenSSL has at present */

static void *count_malloc(size_t n, const char *file, int line)
{
	nr_blocks++;
	return malloc(n);
}

static void *count_realloc(void *p, size_t n, const char *file, int line)
{
	nr_blocks += !p;
	return realloc(p, n);
}

static void plain_free(void *p, const char *file, int line)
{
	nr_blocks -= p != NULL;
	free(p);
}

static int make_dir(void **state)
{
	char cmd[160];

	strcpy(dir, "/tmp/tls-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(cmd, sizeof(cmd), "tests/make-pki %s", dir);
	return system(cmd);
}

static int remove_dir(void **state)
{
	char cmd[160];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

static const char *in(const char *name)
{
	static char paths[8][128];
	static int at;

	at = (at + 1) % 8;
	snprintf(paths[at], sizeof(paths[at]), "%s/%s", dir, name);
	return paths[at];
}

/* ---- a pair ---- */

static struct tls *server_tls, *client_tls;
static struct tls_session *server, *client;
static int fds[2], server_r, client_r;
static char error[TLS_ERROR_MAX];

static struct tls *a_server(const char *ca)
{
	struct tls_files f = { .cert = in("server-cert.pem"),
			       .key = in("server-key.pem"),
			       .ca = ca ? in(ca) : NULL };
	struct tls *t = NULL;

	if (tls_server_new(&f, &t, error) < 0)
		fail_msg("%s", error);
	return t;
}

static struct tls *a_client(const char *who)
{
	char cert[64], key[64];
	struct tls_files f = { .ca = in("ca-cert.pem") };
	struct tls *t = NULL;

	snprintf(cert, sizeof(cert), "%s/client-cert.pem", who ? who : "");
	snprintf(key, sizeof(key), "%s/client-key.pem", who ? who : "");
	if (who) {
		f.cert = in(cert);
		f.key = in(key);
	}
	if (tls_client_new(&f, &t, error) < 0)
		fail_msg("%s", error);
	return t;
}

/* Both sides step until neither wants to go on. */
static void shake(const char *ca, const char *who, const char *host)
{
	server_tls = a_server(ca);
	client_tls = a_client(who);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(tls_session_new(server_tls, fds[0], NULL, &server), 0);
	assert_int_equal(tls_session_new(client_tls, fds[1], host, &client), 0);
	server_r = client_r = -EAGAIN;
	for (int i = 0; i < 20; i++) {
		if (client_r == -EAGAIN)
			client_r = tls_handshake(client);
		if (server_r == -EAGAIN)
			server_r = tls_handshake(server);
	}
}

static void part(void)
{
	tls_session_free(server);
	tls_session_free(client);
	tls_put(server_tls);
	tls_put(client_tls);
	close(fds[0]);
	close(fds[1]);
}

static ssize_t put(struct tls_session *s, const void *p, size_t len)
{
	struct iovec v = { (void *)(uintptr_t)p, len };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	return tls_sendmsg(s, &m);
}

static ssize_t get(struct tls_session *s, void *p, size_t len)
{
	struct iovec v = { p, len };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	return tls_recvmsg(s, &m);
}

/* ---- who it is ---- */

static void a_client_is_known_by_its_certificate(void **state)
{
	shake("ca-cert.pem", "alice", "localhost");
	assert_int_equal(server_r, 0);
	assert_int_equal(client_r, 0);
	assert_true(tls_peer_is(server, "CN:alice"));
	assert_true(tls_peer_is(server, "DNS:alice.test"));
	assert_true(tls_peer_is(server, "DN:CN=alice,O=remem"));
	assert_false(tls_peer_is(server, "CN:bob"));
	assert_true(tls_peer_is(client, "IP:127.0.0.1"));
	assert_string_equal(tls_peer_name(server, 99), "");
	assert_true(tls_expires(server_tls) > 0);
	part();
}

static void without_an_authority_clients_are_anonymous(void **state)
{
	shake(NULL, NULL, "127.0.0.1");
	assert_int_equal(server_r, 0);
	assert_string_equal(tls_peer_name(server, 0), "");
	part();
}

static void who_may_not_come_is_refused_with_the_reason(void **state)
{
	static const struct {
		const char *who, *why;
	} bad[] = {
		{ "expired", "expired" },
		{ "stranger", "certificate" },
		{ "revoked", "revoked" },
		{ NULL, "did not return a certificate" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		shake("crl.pem", bad[i].who, "localhost");
		assert_true(server_r < 0 && server_r != -EAGAIN);
		if (!strstr(tls_error(server), bad[i].why))
			fail_msg("'%s' has no '%s'", tls_error(server), bad[i].why);
		part();
	}
}

static void a_server_of_another_name_is_refused(void **state)
{
	shake(NULL, NULL, "elsewhere");
	assert_int_equal(client_r, -EACCES);
	assert_non_null(strstr(tls_error(client), "mismatch"));
	part();
}

static void garbage_is_no_handshake(void **state)
{
	static uint8_t noise[4096];

	for (int round = 0; round < 64; round++) {
		struct tls *t = a_server(NULL);
		int r;

		for (size_t i = 0; i < sizeof(noise); i++)
			noise[i] = (uint8_t)(rand() >> 8);
		if (round % 2) { /* looks like a record for a while */
			memcpy(noise, "\x16\x03\x01\x3f\xff\x01\x00\x3f\xfb\x03\x03",
			       11);
		}
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		assert_int_equal(tls_session_new(t, fds[0], NULL, &server), 0);
		assert_int_equal(write(fds[1], noise, sizeof(noise)), sizeof(noise));
		shutdown(fds[1], SHUT_WR);
		while ((r = tls_handshake(server)) == -EAGAIN)
			;
		assert_true(r < 0);
		assert_true(*tls_error(server));
		assert_true(tls_handshake(server) < 0);
		tls_session_free(server);
		tls_put(t);
		close(fds[0]);
		close(fds[1]);
	}
}

/* ---- bytes ---- */

static void bytes_arrive_whole_however_they_are_cut(void **state)
{
	static uint8_t out[300000], back[300000];
	size_t sent = 0, got = 0;

	shake("ca-cert.pem", "bob", "localhost");
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7 + i / 251);
	while (got < sizeof(out)) {
		size_t want = 1 + (size_t)rand() % 50000;
		ssize_t n = 0;

		if (sent < sizeof(out)) {
			n = put(client, out + sent,
				want < sizeof(out) - sent ? want : sizeof(out) - sent);
			sent += n > 0 ? (size_t)n : 0;
		}
		tls_flush(client);
		want = 1 + (size_t)rand() % 50000;
		n = get(server, back + got,
			want < sizeof(back) - got ? want : sizeof(back) - got);
		got += n > 0 ? (size_t)n : 0;
	}
	assert_memory_equal(out, back, sizeof(out));
	errno = 0;
	assert_int_equal(get(server, back, 1), -1);
	assert_int_equal(errno, EAGAIN);
	assert_false(tls_pending(server));
	assert_int_equal(put(client, "end", 3), 3);
	tls_bye(client);
	assert_int_equal(tls_flush(client), 0);
	assert_int_equal(get(server, back, sizeof(back)), 3);
	assert_true(tls_pending(server)); /* the end, which came with the bytes */
	assert_int_equal(get(server, back, 1), 0);
	part();
}

/* OpenSSL 3.0 takes two small blocks for a record and gives them back at once: malloc's
 * cache of the thread has them, the heap stays as it is. */
static void sending_and_receiving_take_no_new_memory(void **state)
{
	static uint8_t block[40000];
	struct mallinfo2 heap = { 0 };
	long before = 0;

	shake("ca-cert.pem", "alice", "localhost");
	for (int i = 0; i < 200; i++) {
		if (i == 10) {
			before = nr_blocks;
			heap = mallinfo2();
		}
		assert_int_equal(put(server, block, sizeof(block)), sizeof(block));
		for (size_t got = 0; got < sizeof(block);) {
			ssize_t n = get(client, block, sizeof(block));

			got += n > 0 ? (size_t)n : 0;
			tls_flush(server);
		}
		assert_int_equal(put(client, block, 100), 100);
		assert_int_equal(get(server, block, 100), 100);
	}
	assert_true(before > 0);
	assert_int_equal(nr_blocks, before);
	assert_int_equal(mallinfo2().arena, heap.arena);
	assert_int_equal(mallinfo2().hblks, heap.hblks);
	part();
}

static void a_changed_byte_ends_it(void **state)
{
	char buf[100] = { 0 };
	ssize_t n;

	shake(NULL, NULL, "localhost");
	assert_int_equal(put(client, "hello", 5), 5);
	n = recv(fds[0], buf, sizeof(buf), 0);
	assert_true(n > 10);
	buf[n - 1] ^= 1;
	assert_int_equal(send(fds[1], buf, (size_t)n, 0), n);
	errno = 0;
	assert_int_equal(get(server, buf, sizeof(buf)), -1);
	assert_int_equal(errno, EPROTO);
	assert_true(*tls_error(server));
	part();
}

/* ---- files ---- */

static void files_that_will_not_do_are_told_why(void **state)
{
	struct tls_files f = { .cert = in("server-cert.pem"),
			       .key = in("alice/client-key.pem") };
	struct tls *t = NULL;

	assert_int_equal(tls_server_new(&f, &t, error), -EINVAL);
	assert_non_null(strstr(error, "alice/client-key.pem"));
	f.key = in("server-key.pem");
	chmod(f.key, 0640);
	assert_int_equal(tls_server_new(&f, &t, error), -EPERM);
	assert_non_null(strstr(error, "chmod 600"));
	chmod(f.key, 0600);
	f.ca = in("keys.psk");
	assert_int_equal(tls_server_new(&f, &t, error), -EINVAL);
	f.ca = in("nowhere.pem");
	assert_int_equal(tls_server_new(&f, &t, error), -ENOENT);
	f.ca = NULL;
	f.psk = in("ca.conf");
	chmod(f.psk, 0600);
	assert_int_equal(tls_server_new(&f, &t, error), -EINVAL);
	assert_non_null(strstr(error, "ca.conf:1: "));
	chmod(in("keys.psk"), 0644);
	f.psk = in("keys.psk");
	assert_int_equal(tls_server_new(&f, &t, error), -EPERM);
	chmod(f.psk, 0600);
	assert_int_equal(tls_server_new(&f, &t, error), 0);
	tls_put(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_client_is_known_by_its_certificate),
		cmocka_unit_test(without_an_authority_clients_are_anonymous),
		cmocka_unit_test(who_may_not_come_is_refused_with_the_reason),
		cmocka_unit_test(a_server_of_another_name_is_refused),
		cmocka_unit_test(garbage_is_no_handshake),
		cmocka_unit_test(bytes_arrive_whole_however_they_are_cut),
		cmocka_unit_test(sending_and_receiving_take_no_new_memory),
		cmocka_unit_test(a_changed_byte_ends_it),
		cmocka_unit_test(files_that_will_not_do_are_told_why),
	};

	CRYPTO_set_mem_functions(count_malloc, count_realloc, plain_free);
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
