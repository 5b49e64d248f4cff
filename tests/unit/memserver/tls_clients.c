/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of clients and what they may open. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "memserver/tls_clients.h"

static struct tls_clients c;
static unsigned int line;
static const char *why;

static int parse(const char *text)
{
	return tls_clients_parse(text, strlen(text), &c, &line, &why);
}

static void clients_open_what_their_lines_say(void **state)
{
	assert_int_equal(parse("# who\n\nCN:a one two\r\n\tCN:a\tthree\n"
			       "\"DN:CN=b c,O=d\" *\nPSK:e one"),
			 0);
	assert_int_equal(c.nr, 4);
	assert_true(tls_clients_allow(&c, "CN:a", "one"));
	assert_true(tls_clients_allow(&c, "CN:a", "two"));
	assert_true(tls_clients_allow(&c, "CN:a", "three"));
	assert_false(tls_clients_allow(&c, "CN:a", "on"));
	assert_false(tls_clients_allow(&c, "CN:a", "four"));
	assert_false(tls_clients_allow(&c, "DNS:a", "one"));
	assert_false(tls_clients_allow(&c, "CN:", "one"));
	assert_true(tls_clients_allow(&c, "DN:CN=b c,O=d", "anything"));
	assert_true(tls_clients_allow(&c, "PSK:e", "one"));
	assert_false(tls_clients_allow(&c, "PSK:e", "*"));
}

static void an_empty_list_lets_nobody_in(void **state)
{
	assert_int_equal(parse("# nobody\n"), 0);
	assert_false(tls_clients_allow(&c, "CN:a", "one"));
}

static void what_is_wrong_is_told_with_its_line(void **state)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
		{ "\na one\n", "a client is" },
		{ "\nCN: one\n", "a client is" },
		{ "\nCN:a\n", "no export" },
		{ "\nCN:a one -two\n", "not the name" },
		{ "\nCN:a one,two\n", "not the name" },
		{ "\n\"CN:a b one\n", "a client is" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(parse(bad[i].text), -EINVAL);
		assert_int_equal(line, 2);
		if (!strstr(why, bad[i].why))
			fail_msg("'%s' has no '%s'", why, bad[i].why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clients_open_what_their_lines_say),
		cmocka_unit_test(an_empty_list_lets_nobody_in),
		cmocka_unit_test(what_is_wrong_is_told_with_its_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
