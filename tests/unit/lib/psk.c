/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file of pre-shared keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/psk.h"

#define KEY "00112233445566778899aabbCCDDEEFF"

static struct psk_key keys[4];
static size_t nr;
static unsigned int line;
static const char *why;

static int parse(const char *text)
{
	return psk_parse(text, strlen(text), keys, 4, &nr, &line, &why);
}

static void keys_are_read(void **state)
{
	assert_int_equal(parse("# who\n\nalice:" KEY "\r\nb@c.d:" KEY KEY), 0);
	assert_int_equal(nr, 2);
	assert_string_equal(keys[0].name, "alice");
	assert_int_equal(keys[0].len, 16);
	assert_memory_equal(keys[0].key,
			    "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb"
			    "\xcc\xdd\xee\xff",
			    16);
	assert_ptr_equal(psk_find(keys, nr, "b@c.d"), &keys[1]);
	assert_null(psk_find(keys, nr, "alic"));
}

static void what_is_wrong_is_told_with_its_line(void **state)
{
	static const struct {
		const char *text, *why;
		unsigned int line;
	} bad[] = {
		{ "", "no key", 0 },
		{ "# nobody\n", "no key", 1 },
		{ "\nalice\n", "NAME:HEX", 2 },
		{ "\n:" KEY, "1 to 127", 2 },
		{ "a b:" KEY, "printable", 1 },
		{ "a:" KEY "f", "even", 1 },
		{ "a:0011", "32 to 128", 1 },
		{ "a:g0112233445566778899aabbCCDDEEFF", "hexadecimal", 1 },
		{ "a:" KEY KEY KEY KEY KEY, "32 to 128", 1 },
		{ "a:" KEY "\na:" KEY, "twice", 2 },
		{ "a:" KEY "\nb:" KEY "\nc:" KEY "\nd:" KEY "\ne:" KEY, "more than",
		  5 },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(parse(bad[i].text), -EINVAL);
		assert_int_equal(line, bad[i].line);
		if (!strstr(why, bad[i].why))
			fail_msg("'%s' has no '%s'", why, bad[i].why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_read),
		cmocka_unit_test(what_is_wrong_is_told_with_its_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
