/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys that logins have generated: whose they are, how long, and how many. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "memserver/nvme/generated.h"

#define HOST "nqn.2014-08.org.example:host"
#define SUB  "nqn.2026-11.io.remem:default"

static struct nvme_generated *g;

static int set_up(void **state)
{
	return nvme_generated_new(&g);
}

static int tear_down(void **state)
{
	nvme_generated_put(g);
	return 0;
}

/* Another `n` is another login. */
static struct nvme_generated_key made(uint8_t hash, const char *host, const char *sub,
				      unsigned int n)
{
	uint8_t ks[HKDF_MAX] = { 1 }, c1[HKDF_MAX] = { 2 }, c2[HKDF_MAX] = { 3 };
	struct nvme_generated_key k;

	memcpy(c1, &n, sizeof(n));
	assert_int_equal(nvme_generated_make(hash, ks, c1, c2, host, sub, &k), 0);
	return k;
}

static bool known(const struct nvme_generated_key *k, uint64_t now_ns)
{
	uint8_t key[HKDF_MAX];
	int r = nvme_generated_find(g, &k->id, now_ns, key);

	if (r < 0)
		assert_int_equal(r, -ENOENT);
	else
		assert_memory_equal(key, k->tls_key, hkdf_len(k->id.hash));
	return r == 0;
}

static void a_key_is_found_by_its_whole_identity(void **state)
{
	for (uint8_t hash = 1; hash <= 2; hash++) {
		struct nvme_generated_key k = made(hash, HOST, SUB, hash), x;

		assert_false(known(&k, 1));
		nvme_generated_add(g, &k, false, 1);
		assert_true(known(&k, 1));
		x = k;
		x.id.type = 'R';
		assert_false(known(&x, 1));
		x = k;
		x.id.version = 0;
		assert_false(known(&x, 1));
		x = k;
		x.id.hostnqn[0] = 'N';
		assert_false(known(&x, 1));
		x = k;
		x.id.subnqn[0] = 'N';
		assert_false(known(&x, 1));
		x = k;
		x.id.digest[0] ^= 1;
		assert_false(known(&x, 1));
	}
}

static void a_key_lives_ten_minutes(void **state)
{
	struct nvme_generated_key k = made(1, HOST, SUB, 0);

	nvme_generated_add(g, &k, false, 5);
	assert_true(known(&k, 5 + NVME_GENERATED_LIFE_NS - 1));
	assert_false(known(&k, 5 + NVME_GENERATED_LIFE_NS));
	assert_false(known(&k, 6));
	nvme_generated_add(g, &k, false, 5);
	nvme_generated_sweep(g, 5 + NVME_GENERATED_LIFE_NS);
	assert_false(known(&k, 6));
}

static void all_are_forgotten_at_once(void **state)
{
	struct nvme_generated_key a = made(1, HOST, SUB, 0), b = made(2, HOST, SUB, 1);

	nvme_generated_add(g, &a, false, 5);
	nvme_generated_add(g, &b, false, 5);
	nvme_generated_sweep(g, UINT64_MAX);
	assert_false(known(&a, 5));
	assert_false(known(&b, 5));
}

static void one_that_replaces_is_the_only_one_of_its_pair(void **state)
{
	struct nvme_generated_key a = made(1, HOST, SUB, 0), b = made(1, HOST, SUB, 1),
				  c = made(2, HOST, SUB, 2),
				  other = made(1, HOST, SUB "s", 3),
				  stranger = made(1, HOST "s", SUB, 4);

	nvme_generated_add(g, &a, false, 5);
	nvme_generated_add(g, &b, false, 5);
	nvme_generated_add(g, &other, false, 5);
	nvme_generated_add(g, &stranger, false, 5);
	nvme_generated_add(g, &c, true, 6);
	assert_false(known(&a, 6));
	assert_false(known(&b, 6));
	assert_true(known(&c, 6));
	assert_true(known(&other, 6));
	assert_true(known(&stranger, 6));
}

static void a_pair_has_four_at_most_and_the_oldest_goes(void **state)
{
	struct nvme_generated_key k[NVME_GENERATED_EACH + 1];

	for (unsigned int i = 0; i <= NVME_GENERATED_EACH; i++) {
		k[i] = made(1, HOST, SUB, i);
		nvme_generated_add(g, &k[i], false, 5 + i);
	}
	assert_false(known(&k[0], 9));
	for (unsigned int i = 1; i <= NVME_GENERATED_EACH; i++)
		assert_true(known(&k[i], 9));
}

static void when_there_is_no_room_the_oldest_of_all_goes(void **state)
{
	struct nvme_generated_key first = made(1, HOST, SUB, 0), second, k;
	char sub[64];

	nvme_generated_add(g, &first, false, 1);
	for (unsigned int i = 1; i <= NVME_GENERATED_MAX; i++) {
		snprintf(sub, sizeof(sub), SUB "%u", i);
		k = made(1, HOST, sub, i);
		nvme_generated_add(g, &k, false, 1 + i);
		if (i == 1)
			second = k;
		assert_int_equal(known(&first, 1 + i), i < NVME_GENERATED_MAX);
	}
	assert_true(known(&second, 1));
	assert_true(known(&k, 1));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_key_is_found_by_its_whole_identity),
		TEST(a_key_lives_ten_minutes),
		TEST(all_are_forgotten_at_once),
		TEST(one_that_replaces_is_the_only_one_of_its_pair),
		TEST(a_pair_has_four_at_most_and_the_oldest_goes),
		TEST(when_there_is_no_room_the_oldest_of_all_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
