/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The data of NBD options, right, cut short, too long and lying about itself. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/proto/nbd.h"
#include "memserver/nbd/option.h"

/* Bytes being put together. */
struct bytes {
	uint8_t data[16384];
	size_t len;
};

static void put(struct bytes *b, const void *p, size_t len)
{
	assert_true(len <= sizeof(b->data) - b->len);
	memcpy(b->data + b->len, p, len);
	b->len += len;
}

static void put16(struct bytes *b, uint16_t v)
{
	put(b, (uint8_t[]){ (uint8_t)(v >> 8), (uint8_t)v }, 2);
}

static void put32(struct bytes *b, uint32_t v)
{
	put16(b, (uint16_t)(v >> 16));
	put16(b, (uint16_t)v);
}

static void put_text(struct bytes *b, const char *text)
{
	put32(b, (uint32_t)strlen(text));
	put(b, text, strlen(text));
}

/* Parsers see a copy of exactly its length: reading past it is found by ASan. */
static int parse_info(const struct bytes *b, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct nbd_opt_info info;
	int r;

	assert_non_null(copy);
	memcpy(copy, b->data, len);
	r = nbd_option_info(copy, len, &info);
	for (uint16_t i = 0; r == 0 && i < info.nr_requests; i++)
		nbd_option_request(&info, i);
	free(copy);
	return r;
}

static int parse_meta(const struct bytes *b, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct nbd_opt_meta m;
	struct nbd_text query;
	const uint8_t *at;
	int r;

	assert_non_null(copy);
	memcpy(copy, b->data, len);
	r = nbd_option_meta(copy, len, &m);
	at = m.queries;
	for (uint32_t i = 0; r == 0 && i < m.nr_queries; i++)
		assert_int_equal(nbd_option_query(&m, &at, &query), 0);
	free(copy);
	return r;
}

static void a_name_and_its_requests_are_found(void **state)
{
	struct bytes b = { .len = 0 };
	struct nbd_opt_info info;

	put_text(&b, "swap0");
	put16(&b, 3);
	put16(&b, NBD_INFO_NAME);
	put16(&b, 0xffff);
	put16(&b, NBD_INFO_BLOCK_SIZE);
	assert_int_equal(nbd_option_info(b.data, b.len, &info), 0);
	assert_int_equal(info.name.len, 5);
	assert_memory_equal(info.name.text, "swap0", 5);
	assert_int_equal(info.nr_requests, 3);
	assert_int_equal(nbd_option_request(&info, 0), NBD_INFO_NAME);
	assert_int_equal(nbd_option_request(&info, 1), 0xffff);
	assert_int_equal(nbd_option_request(&info, 2), NBD_INFO_BLOCK_SIZE);
}

static void no_name_and_no_requests_is_fine(void **state)
{
	struct bytes b = { .len = 0 };
	struct nbd_opt_info info;

	put_text(&b, "");
	put16(&b, 0);
	assert_int_equal(nbd_option_info(b.data, b.len, &info), 0);
	assert_int_equal(info.name.len, 0);
	assert_int_equal(info.nr_requests, 0);
}

static void every_cut_of_an_info_is_refused(void **state)
{
	struct bytes b = { .len = 0 };

	put_text(&b, "default");
	put16(&b, 2);
	put32(&b, 0);
	for (size_t len = 0; len < b.len; len++)
		assert_int_equal(parse_info(&b, len), -EPROTO);
	assert_int_equal(parse_info(&b, b.len), 0);
	put16(&b, 0);
	assert_int_equal(parse_info(&b, b.len), -EPROTO);
	assert_int_equal(parse_info(&b, b.len - 1), -EPROTO);
}

static void a_name_longer_than_the_data_is_refused(void **state)
{
	static const uint32_t lies[] = {
		1, 3, 4, 0x7fffffff, 0x80000000, 0xfffffffb, 0xfffffffc, 0xffffffff
	};

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct bytes b = { .len = 0 };

		put32(&b, lies[i]);
		put16(&b, 0);
		assert_int_equal(parse_info(&b, b.len), -EPROTO);
		assert_int_equal(parse_meta(&b, b.len), -EPROTO);
	}
}

static void a_name_may_have_4096_bytes_and_no_more(void **state)
{
	char name[4098];

	for (uint32_t len = 4096; len <= 4097; len++) {
		struct bytes b = { .len = 0 };
		int want = len == 4096 ? 0 : -EPROTO;

		memset(name, 'x', sizeof(name));
		name[len] = '\0';
		put_text(&b, name);
		put32(&b, 0);
		assert_int_equal(parse_meta(&b, b.len), want);
		assert_int_equal(parse_info(&b, b.len - 2), want);
	}
}

static void queries_are_walked_in_order(void **state)
{
	static const char *const queries[] = { "base:allocation", "", "x-y:z" };
	struct bytes b = { .len = 0 };
	struct nbd_opt_meta m;
	struct nbd_text query;
	const uint8_t *at;

	put_text(&b, "e");
	put32(&b, 3);
	for (int i = 0; i < 3; i++)
		put_text(&b, queries[i]);
	assert_int_equal(nbd_option_meta(b.data, b.len, &m), 0);
	assert_int_equal(m.name.len, 1);
	assert_int_equal(m.nr_queries, 3);
	at = m.queries;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(nbd_option_query(&m, &at, &query), 0);
		assert_int_equal(query.len, strlen(queries[i]));
		assert_memory_equal(query.text, queries[i], query.len);
	}
	assert_int_equal(nbd_option_query(&m, &at, &query), -EPROTO);
}

static void every_cut_of_a_meta_query_is_refused(void **state)
{
	struct bytes b = { .len = 0 };

	put_text(&b, "default");
	put32(&b, 2);
	put_text(&b, "base:");
	put_text(&b, "base:allocation");
	for (size_t len = 0; len < b.len; len++)
		assert_int_equal(parse_meta(&b, len), -EPROTO);
	assert_int_equal(parse_meta(&b, b.len), 0);
	put(&b, "", 1);
	assert_int_equal(parse_meta(&b, b.len), -EPROTO);
}

static void more_queries_than_there_are_is_refused(void **state)
{
	static const uint32_t lies[] = { 2, 3, 0x40000000, 0x7fffffff, 0xffffffff };

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct bytes b = { .len = 0 };

		put_text(&b, "");
		put32(&b, lies[i]);
		put_text(&b, "");
		assert_int_equal(parse_meta(&b, b.len), -EPROTO);
	}
}

static void nothing_is_written_when_it_is_refused(void **state)
{
	struct nbd_opt_info info, info_before;
	struct nbd_opt_meta m, m_before;

	memset(&info, 0x5a, sizeof(info));
	memset(&m, 0x5a, sizeof(m));
	info_before = info;
	m_before = m;
	assert_int_equal(nbd_option_info((const uint8_t *)"\0\0\0\0\0\1", 6, &info),
			 -EPROTO);
	assert_int_equal(nbd_option_meta((const uint8_t *)"\0\0\0\0\0\0\0\1", 8, &m),
			 -EPROTO);
	assert_memory_equal(&info, &info_before, sizeof(info));
	assert_memory_equal(&m, &m_before, sizeof(m));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_and_its_requests_are_found),
		cmocka_unit_test(no_name_and_no_requests_is_fine),
		cmocka_unit_test(every_cut_of_an_info_is_refused),
		cmocka_unit_test(a_name_longer_than_the_data_is_refused),
		cmocka_unit_test(a_name_may_have_4096_bytes_and_no_more),
		cmocka_unit_test(queries_are_walked_in_order),
		cmocka_unit_test(every_cut_of_a_meta_query_is_refused),
		cmocka_unit_test(more_queries_than_there_are_is_refused),
		cmocka_unit_test(nothing_is_written_when_it_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
