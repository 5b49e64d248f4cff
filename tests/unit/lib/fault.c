/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fault points: what is armed fails as told, and nothing else does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "lib/fault.h"

static int pass_a(void)
{
	return fault_point("test.a");
}

static int pass_a_elsewhere(void)
{
	return fault_point("test.a");
}

static int pass_b(void)
{
	return fault_point("test.b");
}

static int disarm(void **state)
{
	return fault_set("off", NULL);
}

static void quiet(void **state)
{
	assert_int_equal(pass_a(), 0);
	assert_int_equal(pass_b(), 0);
}

static void by_name(void **state)
{
	assert_int_equal(fault_set("test.a=ENOSPC", NULL), 0);
	assert_int_equal(pass_a(), -ENOSPC);
	assert_int_equal(pass_a_elsewhere(), -ENOSPC);
	assert_int_equal(pass_b(), 0);
	assert_int_equal(fault_set("test.a=off", NULL), 0);
	assert_int_equal(pass_a(), 0);
}

static void by_number(void **state)
{
	assert_int_equal(fault_set("test.a=5,test.b=ENOMEM", NULL), 0);
	assert_int_equal(pass_a(), -EIO);
	assert_int_equal(pass_b(), -ENOMEM);
}

static void nth(void **state)
{
	assert_int_equal(fault_set("test.a=EIO@2,test.b=EIO@2+", NULL), 0);
	assert_int_equal(pass_a(), 0);
	assert_int_equal(pass_a(), -EIO);
	assert_int_equal(pass_a(), 0);
	assert_int_equal(pass_b(), 0);
	assert_int_equal(pass_b(), -EIO);
	assert_int_equal(pass_b(), -EIO);
}

static void percent(void **state)
{
	unsigned int fired = 0, again = 0;

	assert_int_equal(fault_set("test.a=EIO%25", NULL), 0);
	for (int i = 0; i < 4000; i++)
		fired += pass_a() != 0;
	assert_in_range(fired, 800, 1200);
	assert_int_equal(fault_set("test.a=EIO%25", NULL), 0);
	for (int i = 0; i < 4000; i++)
		again += pass_a() != 0;
	assert_int_equal(fired, again);
	assert_int_equal(fault_set("test.a=EIO%100", NULL), 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(pass_a(), -EIO);
}

static void refused(void **state)
{
	static const char *const bad[] = {
		"test.a",        "test.a=",        "test.a=EWHAT",   "test.a=0",
		"test.a=EIO@",   "test.a=EIO@0",   "test.a=EIO@1x",  "test.a=EIO%0",
		"test.a=EIO%-1", "test.a=EIO%nan", "test.a=EIO%101", "=EIO",
		"test.a=-5",     "test.a=99999",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const char *why = NULL;

		assert_int_equal(fault_set(bad[i], &why), -EINVAL);
		assert_non_null(why);
	}
	assert_int_equal(pass_a(), 0);
}

static void all_or_nothing(void **state)
{
	const char *why;

	assert_int_equal(fault_set("test.a=EIO,no.such=EIO", &why), -ENOENT);
	assert_string_equal(why, "no such fault point");
	assert_int_equal(pass_a(), 0);
}

static void find_a(const struct fault_info *info, void *arg)
{
	struct fault_info *seen = arg;

	if (strcmp(info->name, "test.a"))
		return;
	assert_null(seen->name); /* told once, though it is in two places */
	*seen = *info;
}

static void told(void **state)
{
	struct fault_info seen = { 0 };

	assert_int_equal(fault_set("test.a=EIO@2", NULL), 0);
	for (int i = 0; i < 3; i++)
		pass_a();
	fault_each(find_a, &seen);
	assert_non_null(seen.name);
	assert_int_equal(seen.error, EIO);
	assert_int_equal(seen.passes, 3);
	assert_int_equal(seen.fired, 1);
}

#define TEST(fn, name)                       \
	{                                    \
		name, fn, NULL, disarm, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(quiet, "a point that is not armed lets pass"),
		TEST(by_name, "an armed point fails wherever it stands, others do not"),
		TEST(by_number,
		     "several points are armed at once, errors may be numbers"),
		TEST(nth, "the Nth pass fails, or all from the Nth on"),
		TEST(percent, "a share of the passes fails, the same in every run"),
		TEST(refused, "a malformed specification is refused"),
		TEST(all_or_nothing,
		     "a specification with an unknown name arms nothing"),
		TEST(told, "passes and failures of a point are counted"),
	};

	return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
