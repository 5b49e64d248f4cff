/* SPDX-License-Identifier: GPL-2.0-or-later */
/* memctl's tables and numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "client/memctl_table.h"

static char *text;
static size_t text_len;

/* Ends the table and returns what it printed; freed by the next call. */
static const char *printed(struct memctl_table *t)
{
	FILE *f;

	free(text);
	f = open_memstream(&text, &text_len);
	memctl_table_end(t, f);
	fclose(f);
	return text;
}

static void aligned(void **state)
{
	struct memctl_table *t = memctl_table_new("NAME >SIZE PEER");

	memctl_table_cell(t, "a");
	memctl_table_bytes(t, 4096);
	memctl_table_cell(t, "x");
	memctl_table_cell(t, "longer");
	memctl_table_bytes(t, 1536);
	memctl_table_cell(t, "somebody");
	assert_string_equal(printed(t), "NAME    SIZE  PEER\n"
					"a         4K  x\n"
					"longer  1.5K  somebody\n");
}

static void empty(void **state)
{
	assert_string_equal(printed(memctl_table_new(">ID NAME")), "ID  NAME\n");
}

static void harmless(void **state)
{
	struct memctl_table *t = memctl_table_new("CLIENT");

	memctl_table_cell(t, "nqn.\033]0;x\a\n%%s%s", "\x9b");
	assert_string_equal(printed(t), "CLIENT\nnqn.?]0;x??%s?\n");
}

static void times(void **state)
{
	char buf[MEMCTL_FORMAT_MAX];

	assert_string_equal(memctl_format_ns(850, buf, sizeof(buf)), "850ns");
	assert_string_equal(memctl_format_ns(1200, buf, sizeof(buf)), "1.2us");
	assert_string_equal(memctl_format_ns(12345, buf, sizeof(buf)), "12us");
	assert_string_equal(memctl_format_ns(3400000000, buf, sizeof(buf)), "3.4s");
	assert_string_equal(memctl_format_ns(UINT64_MAX, buf, sizeof(buf)),
			    "18446744074s");
	assert_string_equal(memctl_format_seconds(45, buf, sizeof(buf)), "45s");
	assert_string_equal(memctl_format_seconds(725, buf, sizeof(buf)), "12m05s");
	assert_string_equal(memctl_format_seconds(11520, buf, sizeof(buf)), "3h12m");
	assert_string_equal(memctl_format_seconds(792000, buf, sizeof(buf)), "9d4h");
}

#define TEST(fn, name)                     \
	{                                  \
		name, fn, NULL, NULL, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(aligned, "columns are as wide as their widest cell"),
		TEST(empty, "a table without rows is its head"),
		TEST(harmless, "nothing a peer chose drives the terminal"),
		TEST(times, "times are told in the unit that fits"),
	};
	int r = cmocka_run_group_tests_name("memctl_table", tests, NULL, NULL);

	free(text);
	return r;
}
