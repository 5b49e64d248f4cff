/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of places against a model: every slot has one owner or is free, whatever is
 * allocated, moved, forgotten, trimmed and repaired; and all is there after a reopening. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "vmemdirect/tier/spill_map.h"

#define PAGES  512
#define SLOTS  300
#define EVENTS 40000

static char path[64];
static struct spill_map *map;
static struct spill_places places;

static void open_map(unsigned int copies)
{
	memset(&places, 0, sizeof(places));
	places.nr_pages = PAGES;
	places.copies = copies;
	places.nr = 3;
	for (unsigned int i = 0; i < 3; i++) {
		places.place[i].nr_slots = i ? SLOTS : 40;
		places.place[i].local = !i;
		places.place[i].export.host = i;
	}
	snprintf(path, sizeof(path), "/tmp/places.%d", getpid());
	assert_int_equal(spill_map_create(path, &places, &map), 0);
}

static int close_map(void **state)
{
	spill_map_close(map);
	map = NULL;
	unlink(path);
	return 0;
}

/* No slot belongs to two pages, and the counts are right. `out`: slots the caller has. */
static void check_slots(const uint64_t out[3])
{
	static uint8_t seen[3][SLOTS];
	uint64_t used[3] = { out[0], out[1] + 1, out[2] + 1 };
	struct spill_usage u;

	memset(seen, 0, sizeof(seen));
	for (uint64_t i = 0; i < PAGES; i++) {
		struct spill_copies c = spill_map_get(map, i);

		for (unsigned int k = 0; k < 2 && c.copy[k]; k++) {
			unsigned int place = spill_place_of(c.copy[k]);
			uint64_t slot = spill_slot_of(c.copy[k]);

			assert_true(slot < places.place[place].nr_slots);
			assert_true(places.place[place].local || slot > 0);
			assert_int_equal(seen[place][slot]++, 0);
			used[place]++;
		}
	}
	for (unsigned int i = 0; i < 3; i++) {
		spill_map_usage(map, i, &u);
		assert_int_equal(u.used, used[i] + u.to_trim + u.held);
		assert_int_equal(u.free + u.used, places.place[i].nr_slots);
	}
}

static void place_run(uint64_t pfn, uint32_t nr)
{
	unsigned int place = (unsigned int)(rand() % 3);
	uint64_t slot;
	uint32_t n;

	if (!spill_map_writing(map, pfn, nr))
		return;
	n = spill_map_alloc(map, place, nr, &slot);
	spill_map_forget(map, pfn, n);
	for (uint32_t i = 0; i < n; i++)
		spill_map_set(
			map, pfn + i,
			(struct spill_copies){ { spill_copy(place, slot + i), 0 } });
	spill_map_written(map, pfn, nr);
}

static void trim_run(unsigned int place)
{
	uint64_t slot;
	uint32_t n = spill_map_take_trim(map, place, 16, &slot);

	if (n && rand() % 4)
		spill_map_free(map, spill_copy(place, slot), n);
	else if (n)
		spill_map_give_back(map, spill_copy(place, slot), n);
}

static void hold_page(uint64_t pfn)
{
	struct spill_copies c = spill_map_get(map, pfn);

	if (!c.copy[0] || places.place[spill_place_of(c.copy[0])].local || c.copy[1])
		return;
	spill_map_set(map, pfn, (struct spill_copies){ 0 });
	spill_map_hold(map, c.copy[0], 1);
}

static void random_events(unsigned int seed)
{
	const uint64_t none[3] = { 0 };

	srand(seed);
	for (int i = 0; i < EVENTS; i++) {
		uint64_t pfn = (uint64_t)rand() % PAGES;
		uint32_t nr = 1 + (uint32_t)rand() % 20;

		if (nr > PAGES - pfn)
			nr = (uint32_t)(PAGES - pfn);
		switch (rand() % 6) {
		case 0:
			spill_map_forget(map, pfn, nr);
			break;
		case 1:
		case 2:
			trim_run(1 + (unsigned int)rand() % 2);
			break;
		case 3:
			hold_page(pfn);
			if (!(rand() % 8))
				spill_map_release(map, 1 + (unsigned int)rand() % 2,
						  -1);
			break;
		default:
			place_run(pfn, nr);
		}
		if (i % 64 == 0)
			check_slots(none);
	}
	check_slots(none);
}

static void one_owner(void **state)
{
	open_map(1);
	random_events(1);
}

static void survives_reopening(void **state)
{
	struct spill_copies before[PAGES];
	const uint64_t none[3] = { 0 };
	struct spill_places again;
	struct spill_usage u;

	open_map(1);
	random_events(2);
	for (uint64_t i = 0; i < PAGES; i++)
		before[i] = spill_map_get(map, i);
	spill_map_close(map);
	assert_int_equal(spill_map_open(path, &again, &map), 0);
	assert_memory_equal(&again, &places, sizeof(places));
	for (uint64_t i = 0; i < PAGES; i++) {
		struct spill_copies c = spill_map_get(map, i);

		assert_memory_equal(&c, &before[i], sizeof(c));
	}
	check_slots(none);
	spill_map_usage(map, 1, &u);
	assert_int_equal(u.free, 0); /* what is not in use is trimmed first */
	random_events(3);
}

/* As after a kill: where something was under way nobody may be put for a while, and a
 * page that was being written lies nowhere. */
static void what_was_under_way_is_held(void **state)
{
	struct spill_places again;
	uint64_t slot, trim, fresh;
	struct spill_usage u;

	open_map(1);
	assert_true(spill_map_writing(map, 10, 4));
	assert_int_equal(spill_map_alloc(map, 1, 4, &slot), 4);
	for (uint32_t i = 0; i < 4; i++)
		spill_map_set(map, 10 + i,
			      (struct spill_copies){ { spill_copy(1, slot + i), 0 } });
	spill_map_written(map, 10, 4);
	assert_true(spill_map_writing(map, 12, 2)); /* again, in place */
	assert_int_equal(spill_map_alloc(map, 1, 8, &trim), 8);
	spill_map_give_back(map, spill_copy(1, trim), 8);
	assert_int_equal(spill_map_take_trim(map, 1, 3, &trim), 3);
	assert_int_equal(spill_map_alloc(map, 1, 7, &fresh), 7);
	spill_map_hold(map, spill_copy(1, fresh), 1);
	spill_map_close(map);
	assert_int_equal(spill_map_open(path, &again, &map), 0);
	assert_int_equal(spill_map_get(map, 10).copy[0], spill_copy(1, slot));
	assert_int_equal(spill_map_get(map, 11).copy[0], spill_copy(1, slot + 1));
	assert_int_equal(spill_map_get(map, 12).copy[0], 0);
	assert_int_equal(spill_map_get(map, 13).copy[0], 0);
	spill_map_usage(map, 1, &u);
	assert_int_equal(u.held, 2 + 3 + 7);
	assert_int_equal(u.to_trim, SLOTS - 1 - 2 - u.held);
	spill_map_release(map, 1, 60000);
	spill_map_usage(map, 1, &u);
	assert_int_equal(u.held, 2 + 3 + 7);
	/* After the time there is no doubt any more. */
	spill_map_release(map, 1, -1);
	spill_map_close(map);
	assert_int_equal(spill_map_open(path, &again, &map), 0);
	spill_map_usage(map, 1, &u);
	assert_int_equal(u.held, 0);
}

static void refuses_nonsense(void **state)
{
	struct spill_places again;
	FILE *f;

	open_map(1);
	spill_map_set(map, 7, (struct spill_copies){ { spill_copy(2, SLOTS), 0 } });
	spill_map_close(map);
	map = NULL;
	assert_int_equal(spill_map_open(path, &again, &map), -EPROTO);
	f = fopen(path, "w");
	fputs("too short", f);
	fclose(f);
	assert_int_equal(spill_map_open(path, &again, &map), -EPROTO);
	unlink(path);
	assert_int_equal(spill_map_open(path, &again, &map), -ENOENT);
}

/* Who holds slots later holds those of before for as long. */
static void holds_for_a_while(void **state)
{
	struct spill_usage u;
	uint64_t slot;

	open_map(1);
	assert_int_equal(spill_map_alloc(map, 1, 8, &slot), 8);
	spill_map_hold(map, spill_copy(1, slot), 4);
	spill_map_release(map, 1, 60000);
	spill_map_hold(map, spill_copy(1, slot + 6), 2);
	spill_map_release(map, 1, 60000);
	spill_map_usage(map, 1, &u);
	assert_int_equal(u.held, 6);
	assert_int_equal(u.to_trim, 0);
	spill_map_release(map, 1, -1);
	spill_map_usage(map, 1, &u);
	assert_int_equal(u.held, 0);
	assert_int_equal(u.to_trim, 6);
}

/* Slots for `nr` pages from `pfn` on, single copies on place 1. */
static void place_single(uint64_t pfn, uint32_t nr)
{
	uint64_t slot;

	assert_int_equal(spill_map_alloc(map, 1, nr, &slot), nr);
	for (uint32_t i = 0; i < nr; i++)
		spill_map_set(map, pfn + i,
			      (struct spill_copies){ { spill_copy(1, slot + i), 0 } });
}

static const struct spill_away all_there;
static spill_copy_t first; /* of the last claim */

static uint32_t claim(const struct spill_away *away, uint64_t *ret_pfn)
{
	return spill_map_claim(map, away, 0, 64, ret_pfn, &first);
}

static void repairs(void **state)
{
	const uint64_t none[3] = { 0 };
	uint64_t pfn, slot;

	open_map(2);
	place_single(10, 20);
	assert_int_equal(spill_map_degraded(map, 0), 20);
	assert_int_equal(claim(&all_there, &pfn), 20);
	assert_int_equal(pfn, 10);
	assert_false(spill_map_writing(map, 15, 1)); /* under repair */
	assert_true(spill_map_writing(map, 40, 4));
	spill_map_written(map, 40, 4);
	assert_int_equal(spill_map_alloc(map, 2, 20, &slot), 20);
	assert_true(spill_map_repaired(map, spill_copy(2, slot)));
	assert_int_equal(spill_map_degraded(map, 0), 0);
	assert_int_equal(spill_map_get(map, 12).copy[1], spill_copy(2, slot + 2));
	assert_int_equal(claim(&all_there, &pfn), 0);
	check_slots(none);
}

/* A second copy that was being made when the daemon was killed is not one. */
static void half_made_copies_are_held(void **state)
{
	struct spill_places again;
	struct spill_usage u;
	uint64_t pfn, slot;

	open_map(2);
	assert_true(spill_map_writing(map, 10, 20));
	place_single(10, 20);
	spill_map_written(map, 10, 20);
	assert_int_equal(claim(&all_there, &pfn), 20);
	assert_int_equal(spill_map_alloc(map, 2, 20, &slot), 20);
	spill_map_close(map);
	assert_int_equal(spill_map_open(path, &again, &map), 0);
	assert_int_equal(spill_map_degraded(map, 0), 20);
	spill_map_usage(map, 2, &u);
	assert_int_equal(u.held, 20);
	assert_int_equal(claim(&all_there, &pfn), 20);
	assert_int_equal(spill_map_alloc(map, 2, 20, &slot), 20);
	assert_true(spill_map_repaired(map, spill_copy(2, slot)));
	spill_map_close(map);
	assert_int_equal(spill_map_open(path, &again, &map), 0);
	assert_int_equal(spill_map_degraded(map, 0), 0);
}

static void repair_yields(void **state)
{
	const uint64_t out[3] = { 0, 0, 20 };
	uint64_t pfn, slot;

	open_map(2);
	place_single(10, 20);
	/* What is being written is not claimed. */
	assert_true(spill_map_writing(map, 14, 2));
	assert_int_equal(claim(&all_there, &pfn), 4);
	spill_map_repaired(map, 0);
	spill_map_written(map, 14, 2);
	/* What is forgotten meanwhile gets no second copy. */
	assert_int_equal(claim(&all_there, &pfn), 20);
	assert_int_equal(spill_map_alloc(map, 2, 20, &slot), 20);
	spill_map_forget(map, 11, 1);
	assert_false(spill_map_repaired(map, spill_copy(2, slot)));
	assert_int_equal(spill_map_get(map, 12).copy[1], 0);
	check_slots(out);
}

/* Slots in a row on places 1 and 2 for `nr` pages from `pfn` on. */
static void place_double(uint64_t pfn, uint32_t nr)
{
	uint64_t one, two;

	assert_int_equal(spill_map_alloc(map, 1, nr, &one), nr);
	assert_int_equal(spill_map_alloc(map, 2, nr, &two), nr);
	for (uint32_t i = 0; i < nr; i++)
		spill_map_set(map, pfn + i,
			      (struct spill_copies){ { spill_copy(1, one + i),
						       spill_copy(2, two + i) } });
}

/* A copy on a place that is not there does not count, and where it is not waited for
 * another one takes its place in the entry. */
static void replaces_lost_copies(void **state)
{
	const struct spill_away down = { .down = 1 << 1 };
	const struct spill_away gone = { .down = 1 << 1, .gone = 1 << 1 };
	const struct spill_away both = { .down = 3 << 1, .gone = 1 << 1 };
	const uint64_t none[3] = { 0 };
	struct spill_copies c;
	uint64_t pfn, slot;

	open_map(2);
	place_double(10, 20);
	place_single(50, 5);
	assert_int_equal(spill_map_degraded(map, 0), 5);
	assert_int_equal(spill_map_degraded(map, down.down), 25);
	assert_int_equal(spill_map_degraded(map, both.down), 25);
	assert_int_equal(claim(&down, &pfn), 0); /* it will be back */
	assert_int_equal(claim(&both, &pfn), 0); /* from where? */
	assert_int_equal(claim(&gone, &pfn), 20);
	c = spill_map_get(map, 10);
	assert_int_equal(pfn, 10);
	assert_int_equal(first, c.copy[1]);
	assert_int_equal(spill_map_alloc(map, 2, 20, &slot), 20);
	assert_true(spill_map_repaired(map, spill_copy(2, slot)));
	c = spill_map_get(map, 12);
	assert_int_equal(c.copy[0], first + 2);
	assert_int_equal(c.copy[1], spill_copy(2, slot + 2));
	assert_int_equal(spill_map_degraded(map, down.down), 5);
	check_slots(none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(one_owner, close_map),
		cmocka_unit_test_teardown(survives_reopening, close_map),
		cmocka_unit_test_teardown(what_was_under_way_is_held, close_map),
		cmocka_unit_test_teardown(refuses_nonsense, close_map),
		cmocka_unit_test_teardown(holds_for_a_while, close_map),
		cmocka_unit_test_teardown(repairs, close_map),
		cmocka_unit_test_teardown(half_made_copies_are_held, close_map),
		cmocka_unit_test_teardown(repair_yields, close_map),
		cmocka_unit_test_teardown(replaces_lost_copies, close_map),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
