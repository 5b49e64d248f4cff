/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Both ends of an access history's connection over loopback: the real sender with the
 * real inbox, and strangers that say what they like. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/crc32c.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "vmemdirect/history/inbox.h"
#include "vmemdirect/history/sender.h"

#define FIRST  300 /* pages of the first block */
#define SECOND 40000
#define PAGES  (FIRST + SECOND)

static struct guest g;
static struct inbox *in;
static struct addr where;
static uint8_t sent[PAGES];

static int setup(void **state)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct inbox_cfg cfg = { .uuid = { 7 } };

	memset(&g, 0, sizeof(g));
	strcpy(g.name, "vm");
	g.nr_blocks = 2;
	g.nr_pages = PAGES;
	strcpy(g.block[0].name, "a");
	g.block[0].size_bytes = FIRST * GUEST_PAGE_SIZE;
	strcpy(g.block[1].name, "b");
	g.block[1].size_bytes = SECOND * GUEST_PAGE_SIZE;
	g.block[1].first_pfn = FIRST;
	for (unsigned int i = 0; i < PAGES; i++)
		sent[i] = (uint8_t)(i * 7 + i / 256);
	cfg.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	memset(&where, 0, sizeof(where));
	where.len = sizeof(a);
	if (bind(cfg.listen_fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(cfg.listen_fd, 4) < 0 ||
	    getsockname(cfg.listen_fd, &where.sa, &where.len) < 0)
		return -1;
	return inbox_open(&cfg, &g, &in);
}

static int teardown(void **state)
{
	inbox_close(in);
	return 0;
}

/* The source lists its blocks the other way round. */
static struct history_hello hello_of_source(void)
{
	struct history_hello h = { .uuid = { 7 }, .name = "web1", .nr_blocks = 2 };

	strcpy(h.block[0].name, "b");
	h.block[0].size_bytes = SECOND * GUEST_PAGE_SIZE;
	strcpy(h.block[1].name, "a");
	h.block[1].size_bytes = FIRST * GUEST_PAGE_SIZE;
	return h;
}

static int stranger(const void *said, size_t len)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, &where.sa, where.len), 0);
	assert_int_equal(send(fd, said, len, MSG_NOSIGNAL), len);
	return fd;
}

static int greets(const struct history_hello *h)
{
	uint8_t buf[HISTORY_HELLO_MAX];

	return stranger(buf, history_put_hello(h, buf));
}

/* What the inbox answers; 0: it has closed. */
static int answer(int fd)
{
	uint8_t buf[HISTORY_WORD_BYTES];
	enum history_word w;

	if (recv(fd, buf, sizeof(buf), MSG_WAITALL) != sizeof(buf))
		return 0;
	assert_int_equal(history_take_word(buf, &w), 0);
	return (int)w;
}

struct taker {
	pthread_t thread;
	uint8_t *ages;
	uint32_t samples;
	int result;
};

static void *take(void *arg)
{
	struct taker *t = arg;

	t->result = inbox_take(in, &t->ages, &t->samples);
	return NULL;
}

static void begin_to_take(struct taker *t)
{
	*t = (struct taker){ .ages = NULL };
	assert_int_equal(pthread_create(&t->thread, NULL, take, t), 0);
}

static int end_of_taking(struct taker *t)
{
	pthread_join(t->thread, NULL);
	free(t->ages);
	return t->result;
}

/* ---- the real sender ---- */

static const uint8_t *ages(void *arg, uint32_t *ret_samples)
{
	*ret_samples = 12;
	return sent;
}

static void from_end_to_end(void **state)
{
	struct sender_cfg cfg = { .to = where, .guest = &g, .ages = ages };
	struct sender *s;
	struct loop *l;
	struct taker t;

	cfg.hello = hello_of_source();
	assert_int_equal(loop_new(&l), 0);
	assert_int_equal(sender_open(&cfg, l, &s), 0);
	while (!inbox_has_watcher(in))
		assert_true(loop_once(l, 100) >= 0);
	begin_to_take(&t);
	while (inbox_has_watcher(in))
		assert_true(loop_once(l, 10) >= 0);
	pthread_join(t.thread, NULL);
	assert_int_equal(t.result, 0);
	assert_int_equal(t.samples, 12);
	assert_memory_equal(t.ages + FIRST, sent, SECOND);
	assert_memory_equal(t.ages, sent + SECOND, FIRST);
	free(t.ages);
	sender_close(s);
	loop_free(l);
}

/* ---- strangers ---- */

static void only_one(void **state)
{
	struct history_hello h = hello_of_source();
	int first = greets(&h), second;

	assert_int_equal(answer(first), HISTORY_WELCOME);
	second = greets(&h);
	assert_int_equal(answer(second), HISTORY_BUSY);
	assert_int_equal(answer(second), 0);
	close(second);
	close(first); /* its place is free again */
	while (inbox_has_watcher(in))
		usleep(1000);
	first = greets(&h);
	assert_int_equal(answer(first), HISTORY_WELCOME);
	close(first);
}

static void others(void **state)
{
	struct history_hello h = hello_of_source();
	int fd;

	h.uuid[0] = 8;
	fd = greets(&h);
	assert_int_equal(answer(fd), HISTORY_OTHER);
	assert_int_equal(answer(fd), 0);
	close(fd);
	fd = stranger("GET / HTTP/1.0", 14);
	assert_int_equal(answer(fd), HISTORY_BAD);
	close(fd);
	assert_false(inbox_has_watcher(in));
}

static void talks_too_early(void **state)
{
	struct history_hello h = hello_of_source();
	int fd = greets(&h);

	assert_int_equal(answer(fd), HISTORY_WELCOME);
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), 1);
	assert_int_equal(answer(fd), 0);
	assert_false(inbox_has_watcher(in));
	close(fd);
}

static void nobody(void **state)
{
	struct taker t;

	begin_to_take(&t);
	assert_int_equal(end_of_taking(&t), -ENOENT);
}

static int taken_from(const struct history_head *head, size_t nr)
{
	struct history_hello h = hello_of_source();
	uint8_t buf[HISTORY_HEAD_BYTES];
	struct taker t;
	int fd = greets(&h);

	assert_int_equal(answer(fd), HISTORY_WELCOME);
	begin_to_take(&t);
	assert_int_equal(answer(fd), HISTORY_SEND);
	history_put_head(head, buf);
	send(fd, buf, sizeof(buf), MSG_NOSIGNAL);
	send(fd, sent, nr, MSG_NOSIGNAL);
	shutdown(fd, SHUT_WR);
	end_of_taking(&t);
	close(fd);
	return t.result;
}

static void right(void **state)
{
	struct history_head head = { 1, PAGES, crc32c_add(0, sent, PAGES) };

	assert_int_equal(taken_from(&head, PAGES), 0);
}

static void wrong_sum(void **state)
{
	struct history_head head = { 1, PAGES, crc32c_add(0, sent, PAGES) + 1 };

	assert_int_equal(taken_from(&head, PAGES), -EPROTO);
}

static void wrong_length(void **state)
{
	struct history_head head = { 1, PAGES + 1, crc32c_add(0, sent, PAGES) };

	assert_int_equal(taken_from(&head, PAGES), -EPROTO);
}

static void no_sample(void **state)
{
	struct history_head head = { 0, PAGES, crc32c_add(0, sent, PAGES) };

	assert_int_equal(taken_from(&head, PAGES), -ENODATA);
}

static void cut_short(void **state)
{
	struct history_head head = { 1, PAGES, crc32c_add(0, sent, PAGES) };

	assert_int_equal(taken_from(&head, PAGES - 1), -ECONNRESET);
}

static void broken_off(void **state)
{
	struct history_hello h = hello_of_source();
	struct taker t;
	int fd = greets(&h);

	assert_int_equal(answer(fd), HISTORY_WELCOME);
	begin_to_take(&t);
	assert_int_equal(answer(fd), HISTORY_SEND);
	inbox_cancel(in);
	assert_int_equal(end_of_taking(&t), -ECANCELED);
	close(fd);
}

#define TEST(fn, name)                          \
	{                                       \
		name, fn, setup, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(from_end_to_end, "ages arrive at their pages, whatever the order "
				      "of the blocks"),
		TEST(only_one, "one watcher at a time; when it goes another may come"),
		TEST(others, "another VM's watcher and no watcher are told so"),
		TEST(talks_too_early, "who talks before being asked is sent away"),
		TEST(nobody, "without a watcher there is no history"),
		TEST(right, "a history of the right length and sum is taken"),
		TEST(wrong_sum, "a wrong checksum is refused"),
		TEST(wrong_length, "a wrong length is refused"),
		TEST(no_sample, "a history without a sample is none"),
		TEST(cut_short, "a history that ends early is refused"),
		TEST(broken_off, "waiting for a history can be broken off"),
	};

	log_set_level(LOG_ERR_);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
