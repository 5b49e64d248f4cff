/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whose memory an export's is: with a real pool in a folder of its own. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/log.h"
#include "memserver/accounts.h"
#include "memserver/exports.h"
#include "memserver/pool.h"

#define PAGE  4096u
#define PAGES 256u
#define TURNS 2000

struct world {
	char dir[64];
	struct pool *pool;
	struct exports *x;
	struct accounts *as;
	struct export *a, *b;
};

static struct export *make(struct world *w, const char *name)
{
	const struct export_cfg cfg = { .name = name, .size_bytes = PAGES * PAGE };

	assert_int_equal(exports_create(w->x, &cfg, NULL), 0);
	return exports_find(w->x, name, strlen(name));
}

static int begin(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct pool_cfg cfg = { .dir = w->dir, .numa_node = -1 };

	strcpy(w->dir, "/dev/shm/remem-own.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	assert_int_equal(pool_open(&cfg, &w->pool), 0);
	assert_int_equal(exports_open(w->pool, &w->x), 0);
	assert_int_equal(accounts_new(&w->as), 0);
	w->a = make(w, "a");
	w->b = make(w, "b");
	*state = w;
	return 0;
}

static int end(void **state)
{
	struct world *w = *state;
	char command[96];

	export_put(w->a);
	export_put(w->b);
	exports_close(w->x);
	accounts_free(w->as);
	pool_close(w->pool);
	snprintf(command, sizeof(command), "rm -r %s", w->dir);
	assert_int_equal(system(command), 0);
	free(w);
	return 0;
}

static int store(struct export *e, unsigned int page)
{
	uint8_t *at;
	int r;

	export_grip(e, page * PAGE, PAGE);
	r = export_prepare(e, page * PAGE, PAGE, &at);
	if (r == 0)
		memset(at, 1, PAGE);
	export_release(e, page * PAGE, PAGE);
	return r;
}

static uint64_t held(struct world *w, const char *name)
{
	struct account *a = accounts_get(w->as, name);
	uint64_t n = account_held(a);

	account_put(a);
	return n;
}

static void a_quota_is_over_all_exports_and_a_trim_gives_back(void **state)
{
	struct world *w = *state;

	accounts_set_quota(w->as, 2 * PAGE);
	assert_true(export_own(w->a, w->as, "one"));
	assert_true(export_own(w->b, w->as, "one"));
	assert_int_equal(store(w->a, 0), 0);
	assert_int_equal(store(w->b, 0), 0);
	assert_int_equal(store(w->b, 1), -ENOSPC);
	assert_int_equal(export_resident(w->b), PAGE);
	assert_int_equal(store(w->a, 0), 0);
	export_trim(w->a, 0, PAGE, true);
	assert_int_equal(store(w->b, 1), 0);
	assert_int_equal(held(w, "one"), 2 * PAGE);
	export_disown(w->a);
	export_disown(w->b);
}

static void an_owner_stays_until_somebody_else_is_alone_with_it(void **state)
{
	struct world *w = *state;

	assert_true(export_own(w->a, w->as, "one"));
	assert_int_equal(store(w->a, 0), 0);
	assert_false(export_own(w->a, w->as, "two"));
	assert_int_equal(store(w->a, 1), 0);
	assert_int_equal(held(w, "two"), 0);
	export_disown(w->a);
	assert_int_equal(held(w, "one"), 2 * PAGE);
	assert_true(export_own(w->a, w->as, "two"));
	assert_int_equal(held(w, "one"), 0);
	assert_int_equal(held(w, "two"), 2 * PAGE);
	export_disown(w->a);
}

static void a_dropped_export_is_nobodys(void **state)
{
	struct world *w = *state;
	struct export *c = make(w, "c");

	assert_true(export_own(c, w->as, "one"));
	assert_int_equal(store(c, 0), 0);
	export_disown(c);
	export_put(c);
	assert_int_equal(exports_drop(w->x, "c", false), 0);
	for (int i = 0; i < 10000 && held(w, "one"); i++)
		usleep(1000);
	assert_int_equal(held(w, "one"), 0);
}

struct worker {
	struct world *w;
	const char *name;
	unsigned int first;
};

static void *come_and_go(void *arg)
{
	struct worker *k = arg;

	for (unsigned int i = 0; i < TURNS; i++) {
		unsigned int page = k->first + i % (PAGES / 2);
		bool owns = export_own(k->w->a, k->w->as, k->name);

		store(k->w->a, page);
		if (i % 3)
			export_trim(k->w->a, page * PAGE, PAGE, true);
		if (owns)
			export_disown(k->w->a);
	}
	return NULL;
}

static void what_is_held_is_what_is_there_however_owners_change(void **state)
{
	struct world *w = *state;
	struct worker one = { w, "one", 0 }, two = { w, "two", PAGES / 2 };
	pthread_t t;

	accounts_set_quota(w->as, 100 * PAGE);
	assert_int_equal(pthread_create(&t, NULL, come_and_go, &two), 0);
	come_and_go(&one);
	pthread_join(t, NULL);
	assert_true(export_resident(w->a) > 0);
	assert_int_equal(held(w, "one") + held(w, "two"), export_resident(w->a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_quota_is_over_all_exports_and_a_trim_gives_back, begin, end),
		cmocka_unit_test_setup_teardown(
			an_owner_stays_until_somebody_else_is_alone_with_it, begin,
			end),
		cmocka_unit_test_setup_teardown(a_dropped_export_is_nobodys, begin,
						end),
		cmocka_unit_test_setup_teardown(
			what_is_held_is_what_is_there_however_owners_change, begin,
			end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
