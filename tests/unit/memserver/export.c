/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The export over a real pool on a real tmpfs: what is stored, what is given back. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/log.h"
#include "memserver/export.h"
#include "memserver/exports.h"
#include "memserver/identity.h"
#include "memserver/pool.h"

#define MIB  (UINT64_C(1) << 20)
#define PAGE 4096
#define SIZE (64 * MIB)

struct world {
	char dir[64];
	struct pool_cfg cfg;
	struct pool *pool;
	struct exports *exports;
};

static void open_world(struct world *w)
{
	assert_int_equal(pool_open(&w->cfg, &w->pool), 0);
	assert_int_equal(exports_open(w->pool, &w->exports), 0);
}

static void close_world(struct world *w)
{
	exports_close(w->exports);
	pool_close(w->pool);
}

static void reopen_world(struct world *w)
{
	close_world(w);
	open_world(w);
}

/* /dev/shm is a tmpfs, so no mount is needed and any user can run this. */
static void make_world(struct world *w, uint64_t limit)
{
	snprintf(w->dir, sizeof(w->dir), "/dev/shm/remem-unit-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->cfg = (struct pool_cfg){ .dir = w->dir,
				    .limit_bytes = limit,
				    .numa_node = -1 };
	open_world(w);
}

static void end_world(struct world *w)
{
	char cmd[96];

	close_world(w);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", w->dir);
	assert_int_equal(system(cmd), 0);
}

static struct export *make(struct world *w, const char *name, uint64_t quota)
{
	struct export_cfg cfg = { .name = name,
				  .size_bytes = SIZE,
				  .quota_bytes = quota };

	assert_int_equal(exports_create(w->exports, &cfg, NULL), 0);
	return exports_find(w->exports, name, strlen(name));
}

static int store(struct export *e, uint64_t offset, const void *data, size_t len)
{
	uint8_t *at;
	int r;

	export_grip(e, offset, len);
	r = export_prepare(e, offset, len, &at);
	if (r == 0)
		memcpy(at, data, len);
	export_release(e, offset, len);
	return r;
}

static int fill(struct export *e, uint64_t offset, int byte, size_t len)
{
	uint8_t *buf = malloc(len);
	int r;

	memset(buf, byte, len);
	r = store(e, offset, buf, len);
	free(buf);
	return r;
}

static void assert_bytes(struct export *e, uint64_t offset, int byte, size_t len)
{
	export_grip(e, offset, len);
	for (uint64_t at = offset; at < offset + len;) {
		const uint8_t *p;
		size_t n = export_run(e, at, offset + len - at, &p, NULL);

		for (size_t i = 0; i < n; i++)
			assert_int_equal(p[i], byte);
		at += n;
	}
	export_release(e, offset, len);
}

/* What the file really takes, as anybody outside sees it. */
static uint64_t blocks_of(struct world *w, const char *name)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s.mem", w->dir, name);
	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static int file_byte(struct world *w, const char *name, uint64_t at)
{
	char path[128];
	uint8_t byte;
	int fd;

	snprintf(path, sizeof(path), "%s/%s.mem", w->dir, name);
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
	close(fd);
	return byte;
}

static void an_export_costs_nothing_until_it_is_written(void **state)
{
	struct world w;
	struct export *e;

	make_world(&w, 0);
	e = make(&w, "a", 0);
	assert_bytes(e, 0, 0, SIZE);
	assert_int_equal(export_resident(e), 0);
	assert_int_equal(blocks_of(&w, "a"), 0);
	export_put(e);
	end_world(&w);
}

static void what_was_written_is_read_and_only_its_pages_are_taken(void **state)
{
	struct world w;
	struct export *e;

	make_world(&w, 0);
	e = make(&w, "a", 0);
	assert_int_equal(fill(e, 5 * MIB - 100, 7, 200), 0);
	assert_bytes(e, 5 * MIB - 100, 7, 200);
	assert_bytes(e, 5 * MIB - PAGE, 0, PAGE - 100);
	assert_int_equal(export_resident(e), 2 * PAGE);
	assert_int_equal(blocks_of(&w, "a"), 2 * PAGE);
	export_put(e);
	end_world(&w);
}

static void a_trim_of_one_page_gives_one_page_back(void **state)
{
	struct world w;
	struct export *e;

	make_world(&w, 0);
	e = make(&w, "a", 0);
	assert_int_equal(fill(e, 0, 1, 8 * PAGE), 0);
	export_trim(e, 3 * PAGE, PAGE, false);
	assert_int_equal(blocks_of(&w, "a"), 7 * PAGE);
	assert_bytes(e, 3 * PAGE, 0, PAGE);
	assert_bytes(e, 2 * PAGE, 1, PAGE);
	assert_bytes(e, 4 * PAGE, 1, PAGE);
	assert_int_equal(pool_used(w.pool), 7 * PAGE);
	export_put(e);
	end_world(&w);
}

static void a_ragged_trim_leaves_its_ends_and_a_zeroing_clears_them(void **state)
{
	struct world w;
	struct export *e;

	make_world(&w, 0);
	e = make(&w, "a", 0);
	assert_int_equal(fill(e, 0, 1, 8 * PAGE), 0);
	export_trim(e, 100, 2 * PAGE, false);
	assert_bytes(e, 100, 1, PAGE - 100);
	assert_bytes(e, PAGE, 0, PAGE);
	assert_bytes(e, 2 * PAGE, 1, PAGE);
	export_trim(e, 4 * PAGE + 100, 2 * PAGE, true);
	assert_bytes(e, 4 * PAGE, 1, 100);
	assert_bytes(e, 4 * PAGE + 100, 0, 2 * PAGE);
	assert_bytes(e, 6 * PAGE + 100, 1, PAGE - 100);
	export_trim(e, 7 * PAGE + 10, 20, true);
	assert_bytes(e, 7 * PAGE + 10, 0, 20);
	assert_bytes(e, 7 * PAGE + 30, 1, 20);
	export_put(e);
	end_world(&w);
}

static void a_trim_under_a_grip_waits_for_it_with_the_memory_not_with_the_zeros(
	void **state)
{
	struct world w;
	struct export *e;

	make_world(&w, 0);
	e = make(&w, "a", 0);
	assert_int_equal(fill(e, 0, 1, 4 * PAGE), 0);
	export_grip(e, 0, PAGE);
	export_trim(e, 0, 4 * PAGE, false);
	assert_bytes(e, 0, 0, 4 * PAGE);
	assert_int_equal(blocks_of(&w, "a"), 4 * PAGE);
	/* A successor of this process would take what the file holds for the bytes. */
	assert_int_equal(file_byte(&w, "a", 0), 0);
	assert_int_equal(file_byte(&w, "a", 4 * PAGE - 1), 0);
	export_release(e, 0, PAGE);
	assert_int_equal(blocks_of(&w, "a"), 0);
	assert_int_equal(pool_used(w.pool), 0);
	export_put(e);
	end_world(&w);
}

static void a_page_rewritten_while_its_trim_waits_shows_nothing_old(void **state)
{
	struct world w;
	struct export *e;

	make_world(&w, 0);
	e = make(&w, "a", 0);
	assert_int_equal(fill(e, 0, 1, 2 * PAGE), 0);
	export_grip(e, 0, PAGE);
	export_trim(e, 0, 2 * PAGE, false);
	assert_int_equal(fill(e, 10, 2, 10), 0);
	export_release(e, 0, PAGE);
	assert_bytes(e, 0, 0, 10);
	assert_bytes(e, 10, 2, 10);
	assert_bytes(e, 20, 0, PAGE - 20);
	assert_int_equal(export_resident(e), PAGE);
	assert_int_equal(blocks_of(&w, "a"), PAGE);
	export_put(e);
	end_world(&w);
}

static void over_its_quota_a_write_fails_and_what_is_stored_stays(void **state)
{
	struct world w;
	struct export *e;

	make_world(&w, 0);
	e = make(&w, "a", 4 * PAGE);
	assert_int_equal(fill(e, 0, 1, 4 * PAGE), 0);
	assert_int_equal(fill(e, 8 * PAGE, 2, PAGE), -ENOSPC);
	assert_int_equal(fill(e, 0, 3, 4 * PAGE), 0);
	assert_bytes(e, 0, 3, 4 * PAGE);
	assert_bytes(e, 8 * PAGE, 0, PAGE);
	export_trim(e, 0, PAGE, false);
	assert_int_equal(fill(e, 8 * PAGE, 2, PAGE), 0);
	export_put(e);
	end_world(&w);
}

static void over_the_pool_limit_a_write_fails_for_whoever_asks(void **state)
{
	struct export *a, *b;
	struct world w;

	make_world(&w, 8 * PAGE);
	a = make(&w, "a", 0);
	b = make(&w, "b", 0);
	assert_int_equal(fill(a, 0, 1, 6 * PAGE), 0);
	assert_int_equal(fill(b, 0, 1, 3 * PAGE), -ENOSPC);
	assert_int_equal(fill(b, 0, 1, 2 * PAGE), 0);
	assert_int_equal(pool_used(w.pool), 8 * PAGE);
	export_put(a);
	export_put(b);
	end_world(&w);
}

static void bytes_and_identity_outlive_the_process(void **state)
{
	char generation[13];
	struct world w;
	struct export *e;
	uint32_t nsid;

	make_world(&w, 0);
	e = make(&w, "a", 0);
	assert_int_equal(fill(e, 9 * MIB, 5, 3 * PAGE), 0);
	strcpy(generation, export_id(e)->generation);
	nsid = export_id(e)->nsid;
	export_put(e);
	reopen_world(&w);
	e = exports_find(w.exports, "a", 1);
	assert_non_null(e);
	assert_string_equal(export_id(e)->generation, generation);
	assert_int_equal(export_id(e)->nsid, nsid);
	assert_bytes(e, 9 * MIB, 5, 3 * PAGE);
	assert_int_equal(export_resident(e), 3 * PAGE);
	assert_int_equal(pool_used(w.pool), 3 * PAGE);
	export_put(e);
	end_world(&w);
}

static void a_reborn_export_is_another_one(void **state)
{
	char qualified[80];
	struct world w;
	struct export *e;

	make_world(&w, 0);
	e = make(&w, "a", 0);
	snprintf(qualified, sizeof(qualified), "a@%s", export_id(e)->generation);
	export_put(e);
	e = exports_find(w.exports, qualified, strlen(qualified));
	assert_non_null(e);
	export_put(e);
	assert_int_equal(exports_drop(w.exports, "a", false), 0);
	e = make(&w, "a", 0);
	assert_null(exports_find(w.exports, qualified, strlen(qualified)));
	export_put(e);
	end_world(&w);
}

static void an_export_in_use_is_dropped_only_by_force_and_then_takes_nobody(
	void **state)
{
	struct world w;
	struct export *e;

	make_world(&w, 0);
	e = make(&w, "a", 0);
	assert_int_equal(fill(e, 0, 1, 16 * PAGE), 0);
	assert_int_equal(export_attach(e), 0);
	assert_int_equal(exports_drop(w.exports, "a", false), -EBUSY);
	assert_int_equal(exports_drop(w.exports, "a", true), 0);
	assert_null(exports_find(w.exports, "a", 1));
	assert_int_equal(export_attach(e), -ESHUTDOWN);
	assert_bytes(e, 0, 1, 16 * PAGE); /* until the last client is gone */
	export_detach(e);
	export_put(e);
	exports_close(w.exports); /* waits for the memory to be free */
	assert_int_equal(pool_used(w.pool), 0);
	assert_int_equal(exports_open(w.pool, &w.exports), 0);
	end_world(&w);
}

static void growing_keeps_the_bytes_and_shrinking_waits_for_the_users(void **state)
{
	struct world w;
	struct export *e;

	make_world(&w, 0);
	e = make(&w, "a", 0);
	assert_int_equal(fill(e, SIZE - PAGE, 1, PAGE), 0);
	assert_int_equal(export_attach(e), 0);
	assert_int_equal(exports_resize(w.exports, "a", 2 * SIZE, 0, NULL), 0);
	assert_true(export_contains(e, 2 * SIZE - PAGE, PAGE));
	assert_int_equal(fill(e, 2 * SIZE - PAGE, 2, PAGE), 0);
	assert_bytes(e, SIZE - PAGE, 1, PAGE);
	assert_int_equal(exports_resize(w.exports, "a", SIZE, 0, NULL), -EBUSY);
	export_detach(e);
	assert_int_equal(exports_resize(w.exports, "a", SIZE, 0, NULL), 0);
	assert_false(export_contains(e, SIZE, PAGE));
	assert_int_equal(export_resident(e), PAGE);
	export_put(e);
	end_world(&w);
}

/* A client that comes, stores at the end if there is one, and goes, again and again. */
struct visitor {
	struct export *e;
	_Atomic bool stop;
	bool ok;
};

static void *visit(void *arg)
{
	struct visitor *v = arg;

	v->ok = true;
	while (!atomic_load(&v->stop)) {
		if (export_attach(v->e) < 0)
			continue;
		if (export_contains(v->e, 2 * SIZE - PAGE, PAGE))
			v->ok &= fill(v->e, 2 * SIZE - PAGE, 1, PAGE) == 0;
		export_detach(v->e);
	}
	return NULL;
}

static void nobody_comes_in_while_it_shrinks(void **state)
{
	struct visitor v = { .ok = false };
	pthread_t t;
	struct world w;
	int r;

	make_world(&w, 0);
	v.e = make(&w, "a", 0);
	assert_int_equal(pthread_create(&t, NULL, visit, &v), 0);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(exports_resize(w.exports, "a", 2 * SIZE, 0, NULL), 0);
		while ((r = exports_resize(w.exports, "a", SIZE, 0, NULL)) == -EBUSY)
			;
		assert_int_equal(r, 0);
	}
	atomic_store(&v.stop, true);
	pthread_join(t, NULL);
	assert_true(v.ok);
	assert_int_equal(export_resident(v.e), 0);
	export_put(v.e);
	end_world(&w);
}

static void a_shrink_cut_short_by_a_crash_is_finished_at_the_next_start(void **state)
{
	struct identity id = { .size_bytes = SIZE / 2 };
	struct world w;
	struct export *e;

	make_world(&w, 0);
	e = make(&w, "a", 0);
	assert_int_equal(fill(e, 0, 1, PAGE), 0);
	assert_int_equal(fill(e, SIZE - PAGE, 2, PAGE), 0);
	id.id = *export_id(e);
	export_put(e);
	assert_int_equal(identity_store(w.pool, "a", &id), 0);
	reopen_world(&w);
	e = exports_find(w.exports, "a", 1);
	assert_non_null(e);
	assert_bytes(e, 0, 1, PAGE);
	assert_int_equal(blocks_of(&w, "a"), PAGE);
	assert_int_equal(export_resident(e), PAGE);
	export_put(e);
	end_world(&w);
}

static void a_shortage_at_start_gives_up_no_export(void **state)
{
	struct rlimit before, tight;
	struct world w;
	struct export *e;
	int next;

	make_world(&w, 0);
	e = make(&w, "a", 0);
	assert_int_equal(fill(e, 0, 1, PAGE), 0);
	export_put(e);
	exports_close(w.exports);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	next = dup(0);
	close(next);
	tight = before;
	tight.rlim_cur = (rlim_t)next + 1; /* the folder opens, no file in it does */
	log_set_level((enum log_level)0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	assert_int_equal(exports_open(w.pool, &w.exports), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	log_set_level(LOG_INFO_);
	assert_int_equal(exports_open(w.pool, &w.exports), 0);
	e = exports_find(w.exports, "a", 1);
	assert_non_null(e);
	assert_bytes(e, 0, 1, PAGE);
	export_put(e);
	end_world(&w);
}

static void offsets_beyond_all_bounds_are_outside(void **state)
{
	struct world w;
	struct export *e;

	make_world(&w, 0);
	e = make(&w, "a", 0);
	assert_true(export_contains(e, 0, SIZE));
	assert_true(export_contains(e, SIZE, 0));
	assert_false(export_contains(e, 1, SIZE));
	assert_false(export_contains(e, UINT64_MAX, 1));
	assert_false(export_contains(e, UINT64_MAX - 4095, 8192));
	assert_false(export_contains(e, 8192, UINT64_MAX - 4095));
	export_put(e);
	end_world(&w);
}

static void names_that_could_leave_the_folder_are_refused(void **state)
{
	static const char *const bad[] = { "",   ".",  "..",  "a/b",
					   "-x", ".a", "a@b", "a b" };
	struct export_cfg cfg = { .size_bytes = SIZE };
	const char *why;
	struct world w;

	make_world(&w, 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cfg.name = bad[i];
		assert_int_equal(exports_create(w.exports, &cfg, &why), -EINVAL);
	}
	end_world(&w);
}

static void a_second_pool_in_the_same_folder_is_refused(void **state)
{
	struct pool *second;
	struct world w;

	make_world(&w, 0);
	log_set_level((enum log_level)0);
	assert_int_equal(pool_open(&w.cfg, &second), -EBUSY);
	log_set_level(LOG_INFO_);
	end_world(&w);
}

/* ---- many threads on few pages ---- */

#define ACTORS    4
#define ROUNDS    20000
#define HOT_PAGES 8

struct actor {
	struct export *e;
	unsigned int seed;
	bool ok;
};

/*
 * A reader may see a page as zeros or as one writer left it, never a mixture: every
 * writer stores whole pages of one byte, under a lock so that writes do not mix.
 */
static pthread_mutex_t page_locks[HOT_PAGES];

static bool page_is_whole(struct export *e, uint64_t offset)
{
	bool whole = true;
	const uint8_t *p;

	export_grip(e, offset, PAGE);
	if (export_run(e, offset, PAGE, &p, NULL) != PAGE)
		whole = false;
	for (int i = 1; whole && i < PAGE; i += 512)
		whole = p[i] == p[0];
	export_release(e, offset, PAGE);
	return whole;
}

static void *act(void *arg)
{
	struct actor *a = arg;

	a->ok = true;
	for (int i = 0; i < ROUNDS && a->ok; i++) {
		unsigned int page = (unsigned int)rand_r(&a->seed) % HOT_PAGES;
		uint64_t offset = page * (uint64_t)PAGE;
		unsigned int what = (unsigned int)rand_r(&a->seed) % 4;

		pthread_mutex_lock(&page_locks[page]);
		if (what == 0)
			export_trim(a->e, offset, PAGE, true);
		else if (what == 1)
			a->ok = fill(a->e, offset, (int)(a->seed & 0xff), PAGE) == 0;
		else
			a->ok = page_is_whole(a->e, offset);
		pthread_mutex_unlock(&page_locks[page]);
	}
	return NULL;
}

static void readers_writers_and_trimmers_keep_the_account_exact(void **state)
{
	struct actor actors[ACTORS];
	pthread_t threads[ACTORS];
	struct world w;
	struct export *e;

	make_world(&w, 0);
	e = make(&w, "a", 0);
	for (int i = 0; i < HOT_PAGES; i++)
		pthread_mutex_init(&page_locks[i], NULL);
	for (unsigned int i = 0; i < ACTORS; i++) {
		actors[i] = (struct actor){ .e = e, .seed = i + 1 };
		assert_int_equal(pthread_create(&threads[i], NULL, act, &actors[i]), 0);
	}
	for (int i = 0; i < ACTORS; i++) {
		pthread_join(threads[i], NULL);
		assert_true(actors[i].ok);
	}
	assert_int_equal(export_resident(e), blocks_of(&w, "a"));
	assert_int_equal(pool_used(w.pool), blocks_of(&w, "a"));
	export_trim(e, 0, HOT_PAGES * PAGE, false);
	assert_int_equal(blocks_of(&w, "a"), 0);
	assert_int_equal(pool_used(w.pool), 0);
	export_put(e);
	end_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_export_costs_nothing_until_it_is_written),
		cmocka_unit_test(what_was_written_is_read_and_only_its_pages_are_taken),
		cmocka_unit_test(a_trim_of_one_page_gives_one_page_back),
		cmocka_unit_test(
			a_ragged_trim_leaves_its_ends_and_a_zeroing_clears_them),
		cmocka_unit_test(
			a_trim_under_a_grip_waits_for_it_with_the_memory_not_with_the_zeros),
		cmocka_unit_test(
			a_page_rewritten_while_its_trim_waits_shows_nothing_old),
		cmocka_unit_test(over_its_quota_a_write_fails_and_what_is_stored_stays),
		cmocka_unit_test(over_the_pool_limit_a_write_fails_for_whoever_asks),
		cmocka_unit_test(bytes_and_identity_outlive_the_process),
		cmocka_unit_test(a_reborn_export_is_another_one),
		cmocka_unit_test(
			an_export_in_use_is_dropped_only_by_force_and_then_takes_nobody),
		cmocka_unit_test(
			growing_keeps_the_bytes_and_shrinking_waits_for_the_users),
		cmocka_unit_test(nobody_comes_in_while_it_shrinks),
		cmocka_unit_test(
			a_shrink_cut_short_by_a_crash_is_finished_at_the_next_start),
		cmocka_unit_test(a_shortage_at_start_gives_up_no_export),
		cmocka_unit_test(offsets_beyond_all_bounds_are_outside),
		cmocka_unit_test(names_that_could_leave_the_folder_are_refused),
		cmocka_unit_test(a_second_pool_in_the_same_folder_is_refused),
		cmocka_unit_test(readers_writers_and_trimmers_keep_the_account_exact),
	};

	log_init("export");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
