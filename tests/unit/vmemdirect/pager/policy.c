/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The eviction policy on traces: a simulated guest with an exact reference bit for
 * each page, as PAGEOUT and pagemap give.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "vmemdirect/pager/policy.h"

#define NR    20000
#define LIMIT 5000

static struct page page[NR];
static bool mapped_now[NR];
static uint64_t unmapped;
static struct policy y;
static uint64_t resident, faults;

static bool unmap(void *arg, const uint32_t *pfn, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		assert_true(!i || pfn[i] > pfn[i - 1]);
		mapped_now[pfn[i]] = false;
	}
	unmapped += n;
	return true;
}

static bool count_unmapped(void *arg, const uint32_t *pfn, unsigned int n)
{
	unmapped += n;
	return true;
}

static bool mapped(void *arg, const uint32_t *pfn, unsigned int n, bool *ret)
{
	for (unsigned int i = 0; i < n; i++)
		ret[i] = mapped_now[pfn[i]];
	return true;
}

static bool cannot(void *arg, const uint32_t *pfn, unsigned int n)
{
	return false;
}

static void start(enum policy_kind kind, bool sampling)
{
	const struct policy_sampler s = { sampling ? unmap : cannot, mapped, NULL };

	for (unsigned int i = 0; i < NR; i++) {
		atomic_init(&page[i].word, PAGE_ABSENT);
		page[i].link = 0;
		mapped_now[i] = false;
	}
	resident = faults = unmapped = 0;
	policy_init(&y, page, kind, &s);
}

static void make_room(void)
{
	uint32_t out[64];
	unsigned int n = policy_choose(&y, out, 64);

	assert_true(n > 0);
	for (unsigned int i = 0; i < n; i++) {
		assert_true(!i || out[i] > out[i - 1]); /* ascending, none twice */
		assert_true(page_move(&page[out[i]], PAGE_RESIDENT, PAGE_ABSENT, 0, 0,
				      NULL));
		mapped_now[out[i]] = false;
		policy_gone(&y, out[i]);
	}
	resident -= n;
}

static void touch_as(uint32_t pfn, uint32_t flags)
{
	mapped_now[pfn] = true;
	if (page_state(page_word(&page[pfn])) == PAGE_RESIDENT)
		return;
	faults++;
	if (resident >= LIMIT)
		make_room();
	page_move(&page[pfn], PAGE_ABSENT, PAGE_RESIDENT, flags, PAGE_WALKED & ~flags,
		  NULL);
	policy_add(&y, pfn);
	resident++;
	assert_int_equal(policy_queued(&y), resident);
}

static void touch(uint32_t pfn)
{
	touch_as(pfn, 0);
}

static uint64_t rnd(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return *seed >> 33;
}

/* A hot set of 3000 pages and a scan over all the others, in turn. */
static uint64_t scan_with_hot_set(enum policy_kind kind)
{
	uint64_t seed = 3, scan = 0;

	start(kind, true);
	for (unsigned int i = 0; i < 200000; i++) {
		if (i == 100000)
			faults = 0; /* warm */
		touch(i % 2 ? 3000 + (uint32_t)(scan++ % (NR - 3000))
			    : (uint32_t)(rnd(&seed) % 3000));
	}
	return faults;
}

static void a_scan_leaves_the_hot_set_alone(void **state)
{
	uint64_t s3 = scan_with_hot_set(POLICY_S3FIFO),
		 fifo = scan_with_hot_set(POLICY_FIFO);

	/* 50,000 faults are the scan's own. */
	print_message("# faults: s3fifo %lu, fifo %lu\n", (unsigned long)s3,
		      (unsigned long)fifo);
	assert_true(s3 < 52000);
	assert_true(fifo > 60000);
}

/* The same, the scan's pages read ahead as a walk's. */
static void what_was_read_ahead_for_a_walk_leaves_unsampled(void **state)
{
	uint64_t seed = 3, hot_faults = 0, before;
	uint32_t scan = 3000;

	start(POLICY_S3FIFO, true);
	for (uint32_t i = 0; i < 100000; i++) {
		touch_as(scan, PAGE_WALKED);
		scan = scan + 1 < NR ? scan + 1 : 3000;
		before = faults;
		touch((uint32_t)(rnd(&seed) % 3000));
		hot_faults = i < 50000 ? 0 : hot_faults + faults - before;
	}
	print_message("# faults on the hot set: %lu; %lu pages unmapped\n",
		      (unsigned long)hot_faults, (unsigned long)unmapped);
	assert_true(hot_faults < 2000);
	assert_true(unmapped < 50000);
}

/* A walk's pages that turn out to be worked on come back once, and stay. */
static void who_walks_into_his_hot_set_keeps_it(void **state)
{
	uint64_t seed = 5, before = 0;
	uint32_t other = 3000;

	start(POLICY_S3FIFO, true);
	for (uint32_t i = 0; i < 2000; i++)
		touch_as(i, PAGE_WALKED);
	for (uint32_t i = 0; i < 60000; i++) {
		if (i == 30000)
			before = faults;
		touch((uint32_t)(rnd(&seed) % 2000));
		touch(other);
		other = other + 1 < NR ? other + 1 : 3000;
	}
	assert_true(faults - before < 31500); /* 30,000 are the others */
}

static uint64_t zipf(enum policy_kind kind)
{
	uint64_t seed = 9;

	start(kind, true);
	for (unsigned int i = 0; i < 300000; i++) {
		uint64_t octave = rnd(&seed) % 14;

		touch((uint32_t)(((UINT64_C(1) << octave) +
				  rnd(&seed) % (UINT64_C(1) << octave)) *
				 7919 % NR));
	}
	return faults;
}

static void skewed_accesses_fault_less(void **state)
{
	uint64_t s3 = zipf(POLICY_S3FIFO), fifo = zipf(POLICY_FIFO);

	print_message("# faults: s3fifo %lu, fifo %lu\n", (unsigned long)s3,
		      (unsigned long)fifo);
	assert_true(s3 * 100 < fifo * 85);
}

static void without_sampling_it_is_a_fifo(void **state)
{
	start(POLICY_S3FIFO, false);
	for (uint32_t i = 0; i < NR; i++)
		touch(i);
	assert_int_equal(y.kind, POLICY_FIFO);
	assert_true(resident <= LIMIT);
}

static void everything_hot_still_gives_room(void **state)
{
	start(POLICY_S3FIFO, true);
	for (unsigned int i = 0; i < 20000; i++) {
		touch(i % (LIMIT + 100));
		for (uint32_t k = 0; k < LIMIT + 100; k += 97) /* all touched again */
			if (page_state(page_word(&page[k])) == PAGE_RESIDENT)
				mapped_now[k] = true;
	}
	assert_true(resident <= LIMIT);
}

static bool all_unmapped(void *arg, const uint32_t *pfn, unsigned int n, bool *ret)
{
	memset(ret, 0, n * sizeof(*ret));
	return true;
}

/* Somebody waits for it: a tenth of a large VM is not unmapped at once. */
static void the_first_room_in_a_large_vm_is_made_soon(void **state)
{
	enum { LARGE = 1 << 20 };
	struct page *large = calloc(LARGE, sizeof(*large));
	uint32_t out[64];
	uint64_t most = 0;

	assert_non_null(large);
	unmapped = 0;
	policy_init(&y, large, POLICY_S3FIFO,
		    &(struct policy_sampler){ count_unmapped, all_unmapped, NULL });
	for (uint32_t i = 0; i < LARGE; i++) {
		atomic_init(&large[i].word, PAGE_RESIDENT);
		policy_add(&y, i);
	}
	for (unsigned int i = 0; i < 200; i++) {
		uint64_t before = unmapped;

		assert_int_equal(policy_choose(&y, out, 64), 64);
		if (unmapped - before > most)
			most = unmapped - before;
	}
	assert_in_range(most, 64, 4096);
	assert_in_range(y.probation.len, LARGE / 11, LARGE / 9); /* and is reached */
	free(large);
}

static void a_kept_page_is_not_lost(void **state)
{
	uint32_t out[64];
	unsigned int n;

	start(POLICY_S3FIFO, true);
	for (uint32_t i = 0; i < LIMIT; i++)
		touch(i);
	n = policy_choose(&y, out, 64);
	assert_int_equal(policy_queued(&y), LIMIT - n);
	for (unsigned int i = 0; i < n; i++)
		policy_keep(&y, out[i]);
	assert_int_equal(policy_queued(&y), LIMIT);
}

/* Pages that came with a migration: hot ones by their source's history. */
static uint64_t after_migration(bool warm)
{
	uint32_t scan = 10000;

	start(POLICY_S3FIFO, true);
	for (uint32_t i = 0; i < LIMIT; i++) {
		bool hot = i % 2;

		page_move(&page[i], PAGE_ABSENT, PAGE_RESIDENT, 0, 0, NULL);
		if (warm)
			page_flags(&page[i], hot ? 0xe0u << PAGE_AGE_SHIFT : 0,
				   PAGE_AGE_MASK);
		resident++;
	}
	for (uint32_t i = 0; i < LIMIT; i++)
		if (warm)
			policy_adopt(&y, i);
		else
			policy_add(&y, i);
	for (uint32_t i = 0; i < LIMIT; i++) /* once is enough */
		policy_add(&y, i);
	assert_int_equal(policy_queued(&y), resident);
	for (uint32_t i = 0; i < 2400; i++)
		touch(scan++);
	faults = 0;
	for (uint32_t i = 1; i < LIMIT; i += 2)
		touch(i);
	return faults;
}

static void a_warm_start_keeps_what_was_hot(void **state)
{
	uint64_t warm = after_migration(true), cold = after_migration(false);

	print_message("# hot pages lost: warm start %lu, cold start %lu\n",
		      (unsigned long)warm, (unsigned long)cold);
	assert_true(warm == 0);
	assert_true(cold > 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_scan_leaves_the_hot_set_alone),
		cmocka_unit_test(what_was_read_ahead_for_a_walk_leaves_unsampled),
		cmocka_unit_test(who_walks_into_his_hot_set_keeps_it),
		cmocka_unit_test(skewed_accesses_fault_less),
		cmocka_unit_test(without_sampling_it_is_a_fifo),
		cmocka_unit_test(everything_hot_still_gives_room),
		cmocka_unit_test(the_first_room_in_a_large_vm_is_made_soon),
		cmocka_unit_test(a_kept_page_is_not_lost),
		cmocka_unit_test(a_warm_start_keeps_what_was_hot),
	};

	return cmocka_run_group_tests_name("eviction policy", tests, NULL, NULL);
}
