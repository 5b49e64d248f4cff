/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <stdio.h>
#include <string.h>

#include "vmemdirect/pager/hash.h"

static uint64_t page[512];
static uint64_t key[8] = { 11, 22, 33, 44, 55, 66, 77, 88 };

static void fill(uint64_t seed)
{
	for (unsigned int i = 0; i < 512; i++)
		page[i] = seed = seed * UINT64_C(6364136223846793005) + 1;
}

static void every_single_bit_counts(void **state)
{
	uint64_t h;

	fill(1);
	h = hash_page(page, key);
	for (unsigned int bit = 0; bit < 512 * 64; bit++) {
		page[bit / 64] ^= UINT64_C(1) << bit % 64;
		assert_true(hash_page(page, key) != h);
		page[bit / 64] ^= UINT64_C(1) << bit % 64;
	}
	assert_true(hash_page(page, key) == h);
}

static void the_order_of_words_counts(void **state)
{
	uint64_t h, x;

	fill(2);
	h = hash_page(page, key);
	for (unsigned int i = 0; i + 8 < 512; i++) {
		x = page[i];
		page[i] = page[i + 8];
		page[i + 8] = x;
		assert_true(hash_page(page, key) != h);
		page[i + 8] = page[i];
		page[i] = x;
	}
}

static void the_keys_count(void **state)
{
	uint64_t h;

	fill(3);
	h = hash_page(page, key);
	for (unsigned int i = 0; i < 8; i++) {
		key[i]++;
		assert_true(hash_page(page, key) != h);
		key[i]--;
	}
}

static void bits_are_spread(void **state)
{
	unsigned int ones[64] = { 0 };

	for (unsigned int n = 0; n < 2000; n++) {
		uint64_t h;

		memset(page, 0, sizeof(page));
		page[n % 512] = n; /* nearly empty pages */
		h = hash_page(page, key);
		for (unsigned int b = 0; b < 64; b++)
			ones[b] += h >> b & 1;
	}
	for (unsigned int b = 0; b < 64; b++)
		assert_in_range(ones[b], 800, 1200);
}

static void zero_is_told(void **state)
{
	memset(page, 0, sizeof(page));
	assert_true(hash_is_zero(page));
	for (unsigned int i = 0; i < 4096; i++) {
		((uint8_t *)page)[i] = 1;
		assert_false(hash_is_zero(page));
		((uint8_t *)page)[i] = 0;
	}
}

/* Real bytes: the C library's. Half of the hash's bits would do for so few pages. */
static void different_pages_of_real_bytes_have_different_hashes(void **state)
{
	static uint64_t seen[4096][512], hash[4096];
	unsigned int n = 0, same = 0;
	Dl_info libc;
	FILE *f;

	assert_true(dladdr((void *)gnu_get_libc_version, &libc));
	f = fopen(libc.dli_fname, "re");
	assert_non_null(f);
	while (n < 4096 && fread(seen[n], sizeof(seen[n]), 1, f) == 1) {
		hash[n] = hash_page(seen[n], key);
		for (unsigned int i = 0; i < n; i++)
			if (!memcmp(seen[i], seen[n], sizeof(seen[n]))) {
				assert_true(hash[i] == hash[n]);
				same++;
			} else {
				assert_true(hash[i] >> 32 != hash[n] >> 32);
				assert_true((uint32_t)hash[i] != (uint32_t)hash[n]);
			}
		n++;
	}
	fclose(f);
	assert_true(n > 100 && same < n * n / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_single_bit_counts),
		cmocka_unit_test(the_order_of_words_counts),
		cmocka_unit_test(the_keys_count),
		cmocka_unit_test(bits_are_spread),
		cmocka_unit_test(zero_is_told),
		cmocka_unit_test(different_pages_of_real_bytes_have_different_hashes),
	};

	return cmocka_run_group_tests_name("hash of a page", tests, NULL, NULL);
}
