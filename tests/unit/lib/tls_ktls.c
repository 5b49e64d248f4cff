/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A server's session over TCP against OpenSSL's own client. Where the kernel has its
 * module tls, it sends (tests/vm/ktls.sh runs this there); else OpenSSL does, and nobody
 * may notice a difference but in the one point where there is one.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/ssl.h>

#include "lib/tls.h"

#define LEN (1u << 20)

static char dir[64];
static uint8_t there[LEN], back[LEN];

static int begin(void **state)
{
	char cmd[160];

	strcpy(dir, "/tmp/ktls-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < LEN; i++)
		there[i] = (uint8_t)(i * 31 + (i >> 8));
	snprintf(cmd, sizeof(cmd), "tests/make-pki %s", dir);
	return system(cmd);
}

static int end(void **state)
{
	char cmd[160];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

/* ---- the client, on a thread of its own ---- */

struct client {
	const char *suites;
	int update; /* SSL_KEY_UPDATE_..., or -1 */
	int fd;
	size_t echoed;
	int over; /* SSL_get_error of the last read */
	pthread_t thread;
};

/* Sends back all that comes; after the first bytes it may change its keys. */
static void *play(void *arg)
{
	struct client *c = arg;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	static uint8_t buf[16384];
	SSL *ssl;
	int n = -1;

	SSL_CTX_set_ciphersuites(ctx, c->suites);
	ssl = SSL_new(ctx);
	SSL_set_fd(ssl, c->fd);
	if (SSL_connect(ssl) == 1)
		while ((n = SSL_read(ssl, buf, sizeof(buf))) > 0) {
			if (!c->echoed && c->update >= 0)
				SSL_key_update(ssl, c->update);
			if (SSL_write(ssl, buf, n) != n)
				break;
			c->echoed += (size_t)n;
		}
	c->over = SSL_get_error(ssl, n);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	return NULL;
}

/* ---- the server ---- */

static void connect_pair(int *ret_server, int *ret_client)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(l, (void *)&a, len), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (void *)&a, &len), 0);
	*ret_client = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(*ret_client, (void *)&a, len), 0);
	*ret_server = accept(l, NULL, NULL);
	fcntl(*ret_server, F_SETFL, O_NONBLOCK);
	close(l);
}

static void wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	assert_int_equal(poll(&p, 1, 60000), 1);
}

static struct tls_session *shake(int fd)
{
	char cert[96], key[96], error[TLS_ERROR_MAX];
	struct tls_files f = { .cert = cert, .key = key };
	struct tls_session *s;
	struct tls *t;
	int r;

	snprintf(cert, sizeof(cert), "%s/server-cert.pem", dir);
	snprintf(key, sizeof(key), "%s/server-key.pem", dir);
	assert_int_equal(tls_server_new(&f, &t, error), 0);
	assert_int_equal(tls_session_new(t, fd, NULL, &s), 0);
	tls_put(t);
	while ((r = tls_handshake(s)) == -EAGAIN)
		wait_for(fd, tls_wants(s));
	assert_int_equal(r, 0);
	return s;
}

/* Sends all of `there` and receives it back; the last result of a receive. */
static ssize_t exchange(struct tls_session *s, int fd, size_t *ret_got)
{
	size_t sent = 0, got = 0;
	ssize_t n = -1;

	while (got < LEN) {
		/* In two pieces of odd lengths, as headers and data are. */
		size_t first = sent < LEN ? (LEN - sent < 29 ? LEN - sent : 29) : 0;
		size_t rest = LEN - sent - first;
		struct iovec out[2] = { { there + sent, first },
					{ there + sent + first,
					  rest < 70001 ? rest : 70001 } };
		struct iovec in = { back + got, LEN - got };
		struct msghdr mo = { .msg_iov = out, .msg_iovlen = 2 };
		struct msghdr mi = { .msg_iov = &in, .msg_iovlen = 1 };

		if (tls_unsent(s))
			tls_flush(s);
		n = sent < LEN ? tls_sendmsg(s, &mo) : 0;
		if (n < 0 && errno != EAGAIN)
			break;
		sent += n > 0 ? (size_t)n : 0;
		n = tls_recvmsg(s, &mi);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			break;
		got += n > 0 ? (size_t)n : 0;
		if (n < 0 && (sent == LEN || tls_unsent(s)))
			wait_for(fd, POLLIN);
	}
	*ret_got = got;
	return n;
}

static bool by_kernel(const struct tls_session *s)
{
	char how[96];

	tls_describe(s, how, sizeof(how));
	return strstr(how, "sent by the kernel") != NULL;
}

static void run(const char *suites, int update)
{
	struct client c = { .suites = suites, .update = update };
	struct tls_session *s;
	bool kernel, ends;
	size_t got;
	ssize_t n;
	int fd;

	connect_pair(&fd, &c.fd);
	assert_int_equal(pthread_create(&c.thread, NULL, play, &c), 0);
	s = shake(fd);
	kernel = by_kernel(s);
	if (getenv("EXPECT_KTLS"))
		assert_int_equal(kernel, !strstr(suites, "CHACHA20"));
	ends = kernel && update == SSL_KEY_UPDATE_REQUESTED;
	n = exchange(s, fd, &got);
	if (ends) {
		assert_true(n < 0 && errno == EPROTO);
		assert_non_null(strstr(tls_error(s), "change keys"));
		shutdown(fd, SHUT_RDWR);
	} else {
		assert_int_equal(got, LEN);
		assert_memory_equal(there, back, LEN);
		tls_bye(s);
		tls_flush(s);
	}
	pthread_join(c.thread, NULL);
	if (!ends)
		assert_int_equal(c.over, SSL_ERROR_ZERO_RETURN);
	tls_session_free(s);
	close(fd);
	close(c.fd);
}

static void bytes_go_both_ways_and_a_goodbye_is_one(void **state)
{
	run("TLS_AES_128_GCM_SHA256", -1);
}

static void with_the_longer_key_too(void **state)
{
	run("TLS_AES_256_GCM_SHA384", -1);
}

static void a_suite_the_kernel_is_not_given_is_sent_by_openssl(void **state)
{
	run("TLS_CHACHA20_POLY1305_SHA256", -1);
}

static void a_client_may_change_its_keys(void **state)
{
	run("TLS_AES_128_GCM_SHA256", SSL_KEY_UPDATE_NOT_REQUESTED);
}

static void one_that_asks_for_ours_gets_them_or_the_end(void **state)
{
	run("TLS_AES_128_GCM_SHA256", SSL_KEY_UPDATE_REQUESTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_go_both_ways_and_a_goodbye_is_one),
		cmocka_unit_test(with_the_longer_key_too),
		cmocka_unit_test(a_suite_the_kernel_is_not_given_is_sent_by_openssl),
		cmocka_unit_test(a_client_may_change_its_keys),
		cmocka_unit_test(one_that_asks_for_ours_gets_them_or_the_end),
	};

	signal(SIGPIPE, SIG_IGN); /* the client writes to a server that has ended it */
	return cmocka_run_group_tests(tests, begin, end);
}
