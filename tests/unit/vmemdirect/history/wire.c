/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The messages of an access history: there and back, cut short, and hostile. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vmemdirect/history/wire.h"

#define MIB (UINT64_C(1) << 20)

static const struct history_hello vm = {
	.uuid = { 1, 2, 3 },
	.name = "web1",
	.nr_blocks = 2,
	.block = { { "mem0", 64 * MIB }, { "dimm1", 32 * MIB } },
};

static int take(const uint8_t *p, size_t len, struct history_hello *h, size_t *used)
{
	uint8_t *exact = malloc(len ? len : 1); /* ASan sees a byte too far */
	int r;

	memcpy(exact, p, len);
	r = history_take_hello(exact, len, h, used);
	free(exact);
	return r;
}

static void hello_comes_back(void **state)
{
	uint8_t buf[HISTORY_HELLO_MAX + 3];
	struct history_hello h;
	size_t len = history_put_hello(&vm, buf), used = 0;

	assert_int_equal(len, 96 + 2 * 72);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(take(buf, i, &h, &used), 0);
	assert_int_equal(take(buf, len + 3, &h, &used), 1);
	assert_int_equal(used, len);
	assert_memory_equal(&h, &vm, sizeof(h));
	assert_int_equal(history_pages(&h), 96 * 256);
}

static void hostile_hello(void **state)
{
	static const struct {
		size_t at;
		uint8_t byte;
	} wrong[] = {
		{ 0, 'Q' },         { 7, 0 }, /* magic */
		{ 11, 2 },                    /* version */
		{ 15, 0 },          { 15, 17 },
		{ 12, 0x80 },                         /* blocks */
		{ 32, '\n' },       { 32 + 10, 'x' }, /* name: dirt, tail */
		{ 96, 0x7f },       { 96 + 63, 'x' },
		{ 96 + 64 + 7, 1 }, /* bytes: not whole pages */
		{ 96 + 64, 0xff },  /* too many */
		{ 96 + 64 + 4, 0 }, /* 64 MiB becomes none */
	};
	uint8_t buf[HISTORY_HELLO_MAX];
	struct history_hello h;
	size_t used;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		size_t len = history_put_hello(&vm, buf);

		buf[wrong[i].at] = wrong[i].byte;
		assert_int_equal(take(buf, len, &h, &used), -EPROTO);
	}
	memset(buf, 'a', sizeof(buf));
	assert_int_equal(take(buf, 1, &h, &used), -EPROTO); /* at the first byte */
}

static void names_without_end(void **state)
{
	uint8_t buf[HISTORY_HELLO_MAX];
	struct history_hello h;
	size_t len = history_put_hello(&vm, buf), used;

	memset(buf + 96, 'n', 64);
	assert_int_equal(take(buf, len, &h, &used), -EPROTO);
	buf[96 + 63] = 0;
	assert_int_equal(take(buf, len, &h, &used), 1);
	assert_int_equal(strlen(h.block[0].name), 63);
}

static void sum_of_blocks(void **state)
{
	struct history_hello big = { .nr_blocks = 16 }, h;
	uint8_t buf[HISTORY_HELLO_MAX];
	size_t used;

	for (unsigned int i = 0; i < 16; i++)
		big.block[i].size_bytes = UINT64_C(1) << 42; /* together 64 TiB */
	assert_int_equal(take(buf, history_put_hello(&big, buf), &h, &used), 1);
	big.block[3].size_bytes += 4096;
	assert_int_equal(take(buf, history_put_hello(&big, buf), &h, &used), -EPROTO);
}

static void words_and_heads(void **state)
{
	const struct history_head head = { 7, 24576, 0xdeadbeef };
	uint8_t w[HISTORY_WORD_BYTES], b[HISTORY_HEAD_BYTES];
	struct history_head got;
	enum history_word word;

	for (unsigned int i = HISTORY_WELCOME; i <= HISTORY_BAD; i++) {
		history_put_word((enum history_word)i, w);
		assert_int_equal(history_take_word(w, &word), 0);
		assert_int_equal(word, i);
	}
	w[7] = 0;
	assert_int_equal(history_take_word(w, &word), -EPROTO);
	w[7] = HISTORY_BAD + 1;
	assert_int_equal(history_take_word(w, &word), -EPROTO);
	w[7] = 1;
	w[0] = 'Q';
	assert_int_equal(history_take_word(w, &word), -EPROTO);
	history_put_head(&head, b);
	assert_int_equal(history_take_head(b, &got), 0);
	assert_int_equal(got.samples, 7);
	assert_int_equal(got.nr_pages, 24576);
	assert_int_equal(got.crc, 0xdeadbeef);
	b[23] = 1;
	assert_int_equal(history_take_head(b, &got), -EPROTO);
	b[23] = 0;
	b[3] = 'B';
	assert_int_equal(history_take_head(b, &got), -EPROTO);
}

static void whose(void **state)
{
	static const uint8_t same[16] = { 1, 2, 3 }, other[16] = { 9 }, none[16];
	const char *const renamed[GUEST_BLOCKS_MAX] = { "mem0", NULL };
	struct guest g = { .nr_blocks = 2 };
	struct history_hello h = vm;
	int map[GUEST_BLOCKS_MAX];

	strcpy(g.block[0].name, "ram");
	g.block[0].size_bytes = 64 * MIB;
	strcpy(g.block[1].name, "dimm1");
	g.block[1].size_bytes = 32 * MIB;
	assert_int_equal(history_match(&h, &g, NULL, same, map), -ESTALE); /* ram? */
	assert_int_equal(history_match(&h, &g, renamed, same, map), 0);
	assert_true(map[0] == 0 && map[1] == 1);
	assert_int_equal(history_match(&h, &g, renamed, none, map), 0);
	assert_int_equal(history_match(&h, &g, renamed, other, map), -ESTALE);
	g.nr_blocks = 1; /* the other is not placed here */
	assert_int_equal(history_match(&h, &g, renamed, same, map), 0);
	assert_true(map[0] == 0 && map[1] == -1);
	g.nr_blocks = 2;
	g.block[1].size_bytes += 4096;
	assert_int_equal(history_match(&h, &g, renamed, same, map), -ESTALE);
}

static void without_names(void **state)
{
	struct guest g = { .nr_blocks = 3 };
	struct history_hello h = { .nr_blocks = 3 };
	int map[GUEST_BLOCKS_MAX];

	for (unsigned int i = 0; i < 3; i++) {
		g.block[i].size_bytes = (i == 1 ? 2 : 1) * MIB;
		h.block[i].size_bytes = (i == 0 ? 2 : 1) * MIB;
	}
	assert_int_equal(history_match(&h, &g, NULL, h.uuid, map), 0);
	assert_true(map[0] == 1 && map[1] == 0 && map[2] == 2);
}

#define TEST(fn, name)                     \
	{                                  \
		name, fn, NULL, NULL, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(hello_comes_back,
		     "a hello comes back, and needs all of its bytes"),
		TEST(hostile_hello, "each wrong field of a hello is refused"),
		TEST(names_without_end, "a name without an end is refused"),
		TEST(sum_of_blocks, "the blocks' sum has a bound"),
		TEST(words_and_heads, "words and heads come back, others are refused"),
		TEST(whose, "another VM's history is told by uuid, names and sizes"),
		TEST(without_names,
		     "nameless blocks are told by their sizes, in order"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
