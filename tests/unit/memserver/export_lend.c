/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An export that is lent to a borrower who stores in its file. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "memserver/export.h"
#include "memserver/exports.h"
#include "memserver/pool.h"

#define SIZE (UINT64_C(16) << 20)
#define PAGE 4096
#define MS   UINT64_C(1000000)

static char dir[64];
static struct pool *pool;
static struct exports *exports;
static struct export *e;
static int file;

/* The borrower. */
static _Atomic int busy, has_it, overlaps;
static int given, refused, takes, slow_ms;

static int give(struct export *x, void *arg)
{
	given++;
	atomic_store(&has_it, 1);
	return refused;
}

static int take(struct export *x, void *arg, bool force)
{
	takes++;
	usleep((useconds_t)slow_ms * 1000);
	if (atomic_load(&busy) && !force)
		return -EBUSY;
	atomic_store(&has_it, 0);
	return 0;
}

static const struct export_loan loan = { give, take, NULL };

static int setup(void **state)
{
	struct export_cfg cfg = { .name = "x", .size_bytes = SIZE };
	struct pool_cfg p = { .dir = dir, .numa_node = -1 };
	char path[96];

	snprintf(dir, sizeof(dir), "/dev/shm/remem-unit-XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(pool_open(&p, &pool), 0);
	assert_int_equal(exports_open(pool, &exports), 0);
	assert_int_equal(exports_create(exports, &cfg, NULL), 0);
	e = exports_find(exports, "x", 1);
	snprintf(path, sizeof(path), "%s/x.mem", dir);
	file = open(path, O_RDWR);
	assert_true(file >= 0);
	busy = has_it = overlaps = given = refused = 0;
	return 0;
}

static int teardown(void **state)
{
	char cmd[96];

	close(file);
	export_put(e);
	exports_close(exports);
	pool_close(pool);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

static void store(uint64_t offset, char c)
{
	char page[PAGE];

	memset(page, c, sizeof(page));
	assert_int_equal(pwrite(file, page, PAGE, (off_t)offset), PAGE);
}

static char first_byte(uint64_t offset)
{
	const uint8_t *data;
	char c;

	export_grip(e, offset, PAGE);
	assert_true(export_run(e, offset, PAGE, &data, NULL) > 0);
	c = (char)*data;
	export_release(e, offset, PAGE);
	return c;
}

static void write_page(uint64_t offset, char c)
{
	uint8_t *data;

	export_grip(e, offset, PAGE);
	assert_int_equal(export_prepare(e, offset, PAGE, &data), 0);
	memset(data, c, PAGE);
	export_release(e, offset, PAGE);
}

static void who_is_attached_keeps_it(void **state)
{
	assert_int_equal(export_attach(e), 0);
	assert_int_equal(export_lend(e, &loan), -EBUSY);
	assert_int_equal(given, 0);
	export_detach(e);
	assert_int_equal(export_lend(e, &loan), 0);
	assert_int_equal(export_lend(e, &loan), 0);
	assert_int_equal(given, 1);
	assert_true(export_is_lent(e));
}

static void a_loan_that_fails_is_none(void **state)
{
	refused = -EIO;
	assert_int_equal(export_lend(e, &loan), -EIO);
	assert_false(export_is_lent(e));
	assert_int_equal(export_attach(e), 0);
	export_detach(e);
}

static void an_attacher_gets_it_back_unless_it_is_used(void **state)
{
	assert_int_equal(export_lend(e, &loan), 0);
	atomic_store(&busy, 1);
	assert_int_equal(export_attach(e), -EBUSY);
	assert_int_equal(export_users(e), 0);
	assert_true(export_is_lent(e));
	assert_int_equal(export_reclaim(e, true), 0);
	assert_false(export_is_lent(e));
	assert_int_equal(export_attach(e), 0);
	export_detach(e);
}

/* Each take lasts 20 ms: whatever the machine does meanwhile, they are a tenth of the time. */
static void a_borrower_that_refuses_is_asked_for_a_tenth_of_the_time(void **state)
{
	uint64_t begun = clock_ns(), passed;
	int tries = 0;

	assert_int_equal(export_lend(e, &loan), 0);
	atomic_store(&busy, 1);
	slow_ms = 20;
	takes = 0;
	do {
		assert_int_equal(export_reclaim(e, false), -EBUSY);
		tries++;
		passed = clock_ns() - begun;
	} while (passed < 1000 * MS);
	slow_ms = 0;
	assert_true(tries > takes);
	assert_true((uint64_t)(takes - 1) * 200 * MS <= passed);
	assert_int_equal(export_reclaim(e, true), 0);
}

static void what_the_borrower_did_is_what_is_read(void **state)
{
	assert_int_equal(export_attach(e), 0);
	write_page(0, 'a');
	write_page(PAGE, 'b');
	assert_int_equal(first_byte(2 * PAGE), 0);
	export_detach(e);
	assert_int_equal(export_lend(e, &loan), 0);
	assert_int_equal(
		fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE),
		0);
	store(PAGE, 'B');
	store(2 * PAGE, 'c');
	store(SIZE - PAGE, 'z');
	assert_int_equal(export_attach(e), 0);
	assert_int_equal(first_byte(0), 0);
	assert_int_equal(first_byte(PAGE), 'B');
	assert_int_equal(first_byte(2 * PAGE), 'c');
	assert_int_equal(first_byte(SIZE - PAGE), 'z');
	assert_int_equal(export_resident(e), 3 * PAGE);
	assert_int_equal(pool_used(pool), 3 * PAGE);
	/* and it is ours again: trimmed memory goes, written memory comes */
	export_trim(e, PAGE, PAGE, true);
	write_page(0, 'A');
	assert_int_equal(first_byte(PAGE), 0);
	assert_int_equal(export_resident(e), 3 * PAGE);
	export_detach(e);
}

static void the_account_follows_the_borrower(void **state)
{
	assert_int_equal(export_lend(e, &loan), 0);
	store(0, 'a');
	store(PAGE, 'a');
	export_settle(e);
	assert_int_equal(export_resident(e), 2 * PAGE);
	assert_int_equal(pool_used(pool), 2 * PAGE);
	assert_int_equal(
		fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE),
		0);
	export_settle(e);
	assert_int_equal(export_resident(e), PAGE);
	assert_int_equal(pool_used(pool), PAGE);
}

static void a_page_trimmed_under_a_grip_is_a_hole_to_the_borrower(void **state)
{
	uint8_t page[PAGE];

	assert_int_equal(export_attach(e), 0);
	write_page(0, 'a');
	export_grip(e, 0, PAGE);
	export_trim(e, 0, PAGE, true);
	export_release(e, 0, PAGE);
	export_detach(e);
	assert_int_equal(export_lend(e, &loan), 0);
	assert_int_equal(pread(file, page, PAGE, 0), PAGE);
	assert_int_equal(page[0], 0);
	export_settle(e);
	assert_int_equal(export_resident(e), 0);
}

static void *attach_and_look(void *arg)
{
	for (int i = 0; i < 2000; i++) {
		if (export_attach(e) != 0)
			continue;
		if (atomic_load(&has_it))
			atomic_store(&overlaps, 1);
		export_detach(e);
	}
	return NULL;
}

static void nobody_is_attached_while_the_borrower_has_it(void **state)
{
	pthread_t t[3];

	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&t[i], NULL, attach_and_look, NULL), 0);
	for (int i = 0; i < 2000; i++) {
		int r = export_lend(e, &loan);

		assert_true(r == 0 || r == -EBUSY);
	}
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(overlaps, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(who_is_attached_keeps_it),
		T(a_loan_that_fails_is_none),
		T(an_attacher_gets_it_back_unless_it_is_used),
		T(a_borrower_that_refuses_is_asked_for_a_tenth_of_the_time),
		T(what_the_borrower_did_is_what_is_read),
		T(the_account_follows_the_borrower),
		T(a_page_trimmed_under_a_grip_is_a_hole_to_the_borrower),
		T(nobody_is_attached_while_the_borrower_has_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
