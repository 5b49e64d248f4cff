/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The prefetcher on traces: a simulated guest faults on what was not fetched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "vmemdirect/pager/prefetch.h"

#define NR 65536

static uint8_t there[NR];
static uint64_t faults, fetched;

static void start(struct prefetch *f, uint32_t window)
{
	memset(there, 0, sizeof(there));
	faults = fetched = 0;
	prefetch_init(f, NR, window);
}

static void touch(struct prefetch *f, uint64_t pfn)
{
	struct prefetch_plan plan;

	if (there[pfn])
		return;
	faults++;
	there[pfn] = 1;
	if (!prefetch_on_fault(f, pfn, &plan))
		return;
	assert_true(plan.nr > 0);
	for (uint32_t i = 0; i < plan.nr; i++) {
		uint64_t n = plan.pfn + (uint64_t)(plan.stride * (int64_t)i);

		assert_true(n < NR);
		fetched += !there[n];
		there[n] = 1;
	}
}

static uint64_t rnd(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return *seed >> 33;
}

static void sequential(void **state)
{
	struct prefetch f;

	start(&f, 256);
	for (uint64_t i = 0; i < NR; i++)
		touch(&f, i);
	assert_true(faults < NR / 100);
}

static void backward(void **state)
{
	struct prefetch f;

	start(&f, 256);
	for (uint64_t i = NR; i-- > 0;)
		touch(&f, i);
	assert_true(faults < NR / 100);
}

static void strided(void **state)
{
	struct prefetch f;

	start(&f, 256);
	for (uint64_t i = 0; i < NR; i += 7)
		touch(&f, i);
	assert_true(faults < NR / 7 / 50);
	assert_true(fetched < NR / 7 + 512); /* and nothing between */
}

static void mixed(void **state)
{
	struct prefetch f;
	uint64_t seed = 5;

	start(&f, 256);
	for (uint64_t i = 0; i < NR / 2; i++) {
		touch(&f, i);
		if (i % 4 == 0)
			touch(&f, NR / 2 + rnd(&seed) % (NR / 2));
	}
	assert_true(faults < NR / 8 + NR / 50);
}

static void two_walkers(void **state)
{
	struct prefetch f;

	start(&f, 256);
	for (uint64_t i = 0; i < NR / 2; i++) {
		touch(&f, i);
		touch(&f, NR - 1 - i);
	}
	assert_true(faults < NR / 50);
}

static void random_faults(void **state)
{
	struct prefetch f;
	uint64_t seed = 1;

	start(&f, 256);
	for (uint64_t i = 0; i < 5000; i++)
		touch(&f, rnd(&seed) % NR);
	/* The probes, and what looks like a stream by chance. */
	assert_true(fetched < faults / 4);
}

static void off(void **state)
{
	struct prefetch f;

	start(&f, 0);
	for (uint64_t i = 0; i < 1000; i++)
		touch(&f, i);
	assert_int_equal(faults, 1000);
}

static void clusters_follow_the_probes(void **state)
{
	struct prefetch f;

	start(&f, 256);
	assert_int_equal(f.cluster, 1);
	prefetch_probed(&f, 60, 10);
	assert_int_equal(f.cluster, 2);
	for (unsigned int i = 0; i < 10; i++)
		prefetch_probed(&f, 60, 10);
	assert_int_equal(f.cluster, 16);
	for (unsigned int i = 0; i < 10; i++)
		prefetch_probed(&f, 5, 80);
	assert_int_equal(f.cluster, 1);
}

/* Where clusters are read, every second page faults only: no walk in steps of two. */
static void a_walk_through_clusters_has_a_stride_of_one(void **state)
{
	struct prefetch f;

	start(&f, 256);
	prefetch_probed(&f, 60, 10);
	assert_int_equal(f.cluster, 2);
	for (uint64_t i = 0; i < NR; i++)
		touch(&f, i);
	assert_true(faults < NR / 100);
	for (unsigned int i = 0; i < PREFETCH_STREAMS; i++)
		assert_true(!f.stream[i].used || f.stream[i].stride == 1);
}

static void what_was_cut_off_a_plan_is_asked_for_again(void **state)
{
	struct prefetch f;
	struct prefetch_plan plan = { 0 }, rest;
	uint64_t pfn = 100;

	start(&f, 64);
	while (!prefetch_on_fault(&f, pfn, &plan))
		pfn++;
	assert_true(plan.nr > 4 && plan.stride == 1);
	assert_true(plan.walk);
	rest = (struct prefetch_plan){
		.pfn = plan.pfn + 3,
		.stride = 1,
		.nr = plan.nr - 3,
	};
	prefetch_cut(&f, &rest);
	assert_true(prefetch_on_fault(&f, rest.pfn, &plan));
	assert_int_equal(plan.pfn, rest.pfn + 1);
	assert_true(plan.nr > rest.nr); /* it was used, so more of it */
}

static void inflight_extends_in_time(void **state)
{
	struct prefetch f;
	struct prefetch_plan plan = { 0 };
	uint64_t end;

	start(&f, 64);
	for (uint64_t i = 100; i < 110; i++)
		touch(&f, i);
	end = f.stream[0].used ? f.stream[0].next : f.stream[1].next;
	for (unsigned int i = 0; i < PREFETCH_STREAMS; i++)
		if (f.stream[i].used && f.stream[i].stride == 1)
			end = f.stream[i].next;
	assert_true(prefetch_on_inflight(&f, end - 1, &plan));
	assert_int_equal(plan.pfn, end);
	assert_true(plan.nr > 1);
	assert_false(prefetch_on_inflight(&f, 5000, &plan));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sequential),
		cmocka_unit_test(backward),
		cmocka_unit_test(strided),
		cmocka_unit_test(mixed),
		cmocka_unit_test(two_walkers),
		cmocka_unit_test(random_faults),
		cmocka_unit_test(off),
		cmocka_unit_test(clusters_follow_the_probes),
		cmocka_unit_test(a_walk_through_clusters_has_a_stride_of_one),
		cmocka_unit_test(what_was_cut_off_a_plan_is_asked_for_again),
		cmocka_unit_test(inflight_extends_in_time),
	};

	return cmocka_run_group_tests_name("prefetcher", tests, NULL, NULL);
}
