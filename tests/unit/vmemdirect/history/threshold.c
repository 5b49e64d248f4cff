/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ages, chunks and the threshold, against what the rule says in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vmemdirect/history/threshold.h"

#define PAGES 5000

static uint8_t score[PAGES];

static void ages(void **state)
{
	uint8_t a = 0;

	a = threshold_age(a, true, 0);
	assert_int_equal(a, 0x80);
	a = threshold_age(a, false, 1); /* every second look shifts */
	assert_int_equal(a, 0x40);
	a = threshold_age(a, true, 2);
	assert_int_equal(a, 0xc0);
	a = threshold_age(a, true, 3);
	assert_int_equal(a, 0xe0);
	for (uint32_t i = 4; i < 20; i++)
		a = threshold_age(a, false, i);
	assert_int_equal(a, 0); /* forgotten after sixteen */
}

/* The rule, the slow way: sort by score, then address. */
static bool belongs(uint64_t page, uint64_t room)
{
	uint64_t better = 0;

	for (uint64_t i = 0; i < PAGES; i++)
		better +=
			score[i] > score[page] || (score[i] == score[page] && i < page);
	return better < room;
}

static void chooses(void **state)
{
	struct threshold t;

	srand(7);
	for (unsigned int round = 0; round < 20; round++) {
		uint64_t room = (uint64_t)rand() % PAGES, equal, sum = 0;
		unsigned int kinds = 1 + (unsigned int)rand() % 256;

		for (uint64_t i = 0; i < PAGES; i++)
			score[i] = (uint8_t)((unsigned int)rand() % kinds);
		threshold_find(score, PAGES, room, &t);
		for (unsigned int i = 0; i < 256; i++)
			sum += t.histogram[i];
		assert_int_equal(sum, PAGES);
		equal = t.equal_room;
		for (uint64_t i = 0; i < PAGES; i++) {
			bool in = score[i] > t.score;

			if (score[i] == t.score && equal) {
				equal--;
				in = true;
			}
			assert_int_equal(in, belongs(i, room));
		}
	}
}

static void extremes(void **state)
{
	struct threshold t;

	memset(score, 255, PAGES);
	threshold_find(score, PAGES, 10, &t); /* all hot: the first ten */
	assert_int_equal(t.score, 255);
	assert_int_equal(t.above, 0);
	assert_int_equal(t.equal_room, 10);
	threshold_find(score, PAGES, PAGES, &t); /* all fit */
	assert_int_equal(t.score, 0);
	assert_int_equal(t.above, PAGES);
	threshold_find(score, PAGES, 0, &t);
	assert_int_equal(t.equal_room, 0);
	memset(score, 0, PAGES);
	threshold_find(score, PAGES, 10, &t); /* all cold: address order */
	assert_int_equal(t.score, 0);
	assert_int_equal(t.equal_room, 10);
	threshold_find(score, 0, 10, &t);
	assert_int_equal(t.above, 0);
}

static void chunks(void **state)
{
	memset(score, 1, PAGES);
	score[300] = 77;
	score[PAGES - 1] = 99;
	threshold_spread(score, PAGES, 1);
	assert_int_equal(score[299], 1);
	threshold_spread(score, PAGES, 256);
	for (uint64_t i = 0; i < PAGES; i++)
		assert_int_equal(score[i], i / 256 == 1                   ? 77
					   : i / 256 == (PAGES - 1) / 256 ? 99
									  : 1);
}

#define TEST(fn, name)                     \
	{                                  \
		name, fn, NULL, NULL, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ages, "an aging byte remembers sixteen looks, the last one most"),
		TEST(chooses, "the hottest pages get the room, equal ones by address"),
		TEST(extremes, "all hot, all cold, all room and none"),
		TEST(chunks, "a chunk is as hot as its hottest page"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
