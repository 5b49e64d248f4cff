/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What /proc/self/mountinfo says of a pool's mount. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "memserver/pool_mount.h"

static struct pool_mount look(const char *line)
{
	unsigned int major_nr = 0, minor_nr = 0;
	struct pool_mount m = { 0 };

	assert_int_equal(pool_mount_parse(line, &major_nr, &minor_nr, &m), 0);
	assert_int_equal(major_nr, 0);
	assert_int_equal(minor_nr, 52);
	return m;
}

static void lines(void **state)
{
	struct pool_mount m;

	m = look("40 1 0:52 / /run/memserver/pool rw,nosuid shared:7 - tmpfs memserver "
		 "rw,size=1024k,mode=700,inode64,noswap\n");
	assert_true(m.is_ours);
	assert_true(m.is_noswap);
	m = look(
		"40 1 0:52 / /run/memserver/pool rw - tmpfs memserver rw,noswapping\n");
	assert_true(m.is_ours);
	assert_false(m.is_noswap);
	m = look("40 1 0:52 / /dev/shm rw master:1 - tmpfs tmpfs rw,noswap,size=1k\n");
	assert_false(m.is_ours);
	assert_true(m.is_noswap);
	m = look("40 1 0:52 / /x rw - ext4 memserver rw,noswap\n");
	assert_false(m.is_ours);
	assert_false(m.is_noswap);
}

static void no_lines(void **state)
{
	static const char *const bad[] = { "", "40 1 0:52 / /x rw", "a b c - d e f",
					   "40 1 0:52 / /x rw - tmpfs" };
	unsigned int major_nr, minor_nr;
	struct pool_mount m;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(pool_mount_parse(bad[i], &major_nr, &minor_nr, &m),
				 -EPROTO);
}

static void this_host(void **state)
{
	struct pool_mount m = { 0 };

	assert_int_equal(pool_mount_look("/dev/shm", &m), 0);
	assert_false(m.is_ours);
	assert_int_equal(pool_mount_look("/no/such/folder", &m), -ENOENT);
}

#define TEST(fn, name)                     \
	{                                  \
		name, fn, NULL, NULL, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lines, "our own mounts and noswap are known by their line"),
		TEST(no_lines, "a line that is none is refused"),
		TEST(this_host, "a folder's mount is found"),
	};

	return cmocka_run_group_tests_name("pool_mount", tests, NULL, NULL);
}
