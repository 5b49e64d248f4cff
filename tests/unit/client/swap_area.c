/* SPDX-License-Identifier: GPL-2.0-or-later */
/* client/swap_area.c: what may be overwritten, and what must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/swap_area.h"

#define PAGE 4096u
#define SIZE (UINT64_C(1) << 30)

static uint8_t head[SWAP_AREA_LOOK], tail[SWAP_AREA_LOOK];
static const uint8_t uuid[16] = "0123456789abcdef";

static struct swap_area probe(void)
{
	struct swap_area a;

	swap_area_probe(head, sizeof(head), tail, sizeof(tail), PAGE, SIZE, &a);
	return a;
}

static int clean(void **state)
{
	memset(head, 0, sizeof(head));
	memset(tail, 0, sizeof(tail));
	return 0;
}

static void expect_foreign(const char *what, uint64_t where)
{
	struct swap_area a = probe();

	assert_int_equal(a.kind, SWAP_AREA_FOREIGN);
	if (!strstr(a.what, what))
		fail_msg("found %s instead of %s", a.what, what);
	assert_int_equal(a.where, where);
}

static void zeros_are_free(void **state)
{
	assert_int_equal(probe().kind, SWAP_AREA_BLANK);
}

static void what_is_formatted_is_a_swap_area(void **state)
{
	struct swap_area a;

	assert_int_equal(swap_area_format(head, PAGE, SIZE, uuid, "label"), 0);
	a = probe();
	assert_int_equal(a.kind, SWAP_AREA_SWAP);
	assert_memory_equal(a.uuid, uuid, 16);
	assert_string_equal(a.label, "label");
	assert_false(a.owned);
	assert_true(swap_area_has_uuid(head, uuid));
	/* mm/swapfile.c looks here */
	assert_memory_equal(head + PAGE - 10, "SWAPSPACE2", 10);
	assert_int_equal(((uint32_t *)head)[256], 1);
	assert_int_equal(((uint32_t *)head)[257], SIZE / PAGE - 1);
}

static void swapped_memory_behind_the_header_may_look_like_anything(void **state)
{
	assert_int_equal(swap_area_format(head, PAGE, SIZE, uuid, ""), 0);
	memcpy(head + 65600, "_BHRfS_M", 8);
	memset(head + 8192, 0xa5, 4096);
	memset(tail, 0xa5, sizeof(tail));
	assert_int_equal(probe().kind, SWAP_AREA_SWAP);
}

static void a_header_of_another_size_is_written_again(void **state)
{
	assert_int_equal(swap_area_format(head, PAGE, SIZE / 2, uuid, "x"), 0);
	assert_int_equal(probe().kind, SWAP_AREA_REDO);
	assert_memory_equal(probe().uuid, uuid, 16);
	clean(NULL);
	assert_int_equal(swap_area_format(head, 16384, SIZE, uuid, "x"), 0);
	assert_int_equal(probe().kind, SWAP_AREA_REDO);
	clean(NULL);
	assert_int_equal(swap_area_format(head, PAGE, SIZE, uuid, "x"), 0);
	((uint32_t *)head)[258] = 3; /* bad blocks: of a disk, not of memory */
	assert_int_equal(probe().kind, SWAP_AREA_REDO);
}

static void a_tiny_area_is_refused(void **state)
{
	assert_int_equal(swap_area_format(head, PAGE, 9 * PAGE, uuid, ""), -EINVAL);
	assert_int_equal(swap_area_format(head, PAGE, 10 * PAGE, uuid, ""), 0);
}

static void file_systems_and_volumes_are_named(void **state)
{
	static const struct {
		const char *what, *bytes;
		size_t at, len;
	} cases[] = {
		{ "ext2/3/4", "\x53\xef", 1080, 2 },
		{ "XFS", "XFSB", 0, 4 },
		{ "btrfs", "_BHRfS_M", 65600, 8 },
		{ "LUKS", "LUKS\xba\xbe", 0, 6 },
		{ "LVM", "LABELONE", 512, 8 },
		{ "md array", "\xfc\x4e\x2b\xa9", 4096, 4 },
		{ "GPT", "EFI PART", 512, 8 },
		{ "boot sector", "\x55\xaa", 510, 2 },
		{ "ZFS", "\x0c\xb1\xba\x00\0\0\0\0", 131072, 8 },
		{ "hibernated", "S1SUSPEND", PAGE - 10, 9 },
		{ "hibernated", "LINHIB0001", PAGE - 10, 10 },
		{ "unknown data", "\1", 77777, 1 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		clean(NULL);
		memcpy(head + cases[i].at, cases[i].bytes, cases[i].len);
		expect_foreign(cases[i].what, cases[i].at);
	}
}

static void a_boot_sector_is_named_after_what_it_boots(void **state)
{
	memcpy(head + 510, "\x55\xaa", 2);
	memcpy(head + 3, "NTFS    ", 8);
	expect_foreign("NTFS", 3);
}

static void data_at_the_end_is_foreign(void **state)
{
	tail[sizeof(tail) - 1] = 1;
	expect_foreign("end", SIZE - 1);
}

static void a_file_system_over_an_old_swap_header_wins(void **state)
{
	assert_int_equal(swap_area_format(head, PAGE, SIZE, uuid, ""), 0);
	memcpy(head + 512, "LABELONE", 8);
	expect_foreign("LVM", 512);
}

static void the_owner_can_be_written_read_and_cleared(void **state)
{
	const struct swap_area_owner o = {
		.host = "guest", .machine = "m/p", .boot = "b", .attach = "a"
	};
	struct swap_area a;

	assert_int_equal(swap_area_format(head, PAGE, SIZE, uuid, ""), 0);
	swap_area_own(head, &o);
	a = probe();
	assert_int_equal(a.kind, SWAP_AREA_SWAP);
	assert_true(a.owned);
	assert_string_equal(a.owner.host, "guest");
	assert_string_equal(a.owner.machine, "m/p");
	assert_string_equal(a.owner.boot, "b");
	assert_string_equal(a.owner.attach, "a");
	swap_area_own(head, NULL);
	assert_false(probe().owned);
	assert_int_equal(probe().kind, SWAP_AREA_SWAP);
}

static void a_hostile_owner_is_cut_and_made_printable(void **state)
{
	struct swap_area a;

	assert_int_equal(swap_area_format(head, PAGE, SIZE, uuid, ""), 0);
	memset(head, 'h', 1024);
	memcpy(head, "memswap-owner 1\nhost=\33[31m", 26);
	a = probe();
	assert_true(a.owned);
	assert_int_equal(strlen(a.owner.host), sizeof(a.owner.host) - 1);
	assert_memory_equal(a.owner.host, "?[31mhhh", 8);
	assert_string_equal(a.owner.machine, "");
}

static void a_short_device_is_looked_at_as_far_as_it_goes(void **state)
{
	uint8_t *page = calloc(1, PAGE);
	struct swap_area a;

	swap_area_probe(page, PAGE, page, PAGE, PAGE, PAGE, &a);
	assert_int_equal(a.kind, SWAP_AREA_BLANK);
	memset(page, 0xff, PAGE);
	swap_area_probe(page, PAGE, page, PAGE, PAGE, PAGE, &a);
	assert_int_equal(a.kind, SWAP_AREA_FOREIGN);
	free(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(zeros_are_free, clean),
		cmocka_unit_test_setup(what_is_formatted_is_a_swap_area, clean),
		cmocka_unit_test_setup(
			swapped_memory_behind_the_header_may_look_like_anything, clean),
		cmocka_unit_test_setup(a_header_of_another_size_is_written_again,
				       clean),
		cmocka_unit_test_setup(a_tiny_area_is_refused, clean),
		cmocka_unit_test_setup(file_systems_and_volumes_are_named, clean),
		cmocka_unit_test_setup(a_boot_sector_is_named_after_what_it_boots,
				       clean),
		cmocka_unit_test_setup(data_at_the_end_is_foreign, clean),
		cmocka_unit_test_setup(a_file_system_over_an_old_swap_header_wins,
				       clean),
		cmocka_unit_test_setup(the_owner_can_be_written_read_and_cleared,
				       clean),
		cmocka_unit_test_setup(a_hostile_owner_is_cut_and_made_printable,
				       clean),
		cmocka_unit_test_setup(a_short_device_is_looked_at_as_far_as_it_goes,
				       clean),
	};

	return cmocka_run_group_tests_name("client/swap_area", tests, NULL, NULL);
}
