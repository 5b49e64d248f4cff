/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses as people write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "lib/addr.h"

static const char *round_trip(const char *text)
{
	static char buf[ADDR_TEXT_MAX];
	struct addr a;

	if (addr_parse(text, 4420, &a) < 0)
		return "refused";
	return addr_format(&a.sa, buf, sizeof(buf));
}

static void forms(void **state)
{
	static const char *const pairs[][2] = {
		{ "10.0.0.1:99", "10.0.0.1:99" },
		{ "10.0.0.1", "10.0.0.1:4420" },
		{ "99", "127.0.0.1:99" },
		{ "0", "127.0.0.1:0" },
		{ "localhost", "127.0.0.1:4420" },
		{ "localhost:99", "127.0.0.1:99" },
		{ "0.0.0.0:99", "0.0.0.0:99" },
		{ "[::]:99", "[::]:99" },
		{ "[fd00::1]", "[fd00::1]:4420" },
		{ "fd00::1", "[fd00::1]:4420" },
		{ "::1", "[::1]:4420" },
		{ "[fe80::1%lo]:99", "[fe80::1%lo]:99" },
		{ "unix:/run/x", "unix:/run/x" },
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		assert_string_equal(round_trip(pairs[i][0]), pairs[i][1]);
}

static void refused(void **state)
{
	static const char *const bad[] = {
		"",
		"host:1",
		"10.0.0.1:",
		"10.0.0.1:65536",
		"10.0.0.1:-1",
		"10.0.0",
		"10.0.0.1:1:2",
		":99",
		"[10.0.0.1]:9",
		"[::1",
		"[::1]9",
		"[::1]:",
		"unix:",
		"10.0.0.1 ",
		"[fe80::1%no]:",
		"1:2:3",
		"123456",
		"+9",
		"0x10",
		"]:9",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_string_equal(round_trip(bad[i]), "refused");
}

static void long_path(void **state)
{
	char text[200] = "unix:";
	struct addr a;

	memset(text + 5, 'x', 107);
	assert_int_equal(addr_parse(text, 0, &a), 0);
	text[5 + 107] = 'x';
	assert_int_equal(addr_parse(text, 0, &a), -ENAMETOOLONG);
}

static bool is_local(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text, 1, &a), 0);
	return addr_is_local(&a.sa);
}

static void local(void **state)
{
	assert_true(is_local("127.0.0.1"));
	assert_true(is_local("127.255.255.254"));
	assert_true(is_local("::1"));
	assert_true(is_local("::ffff:127.0.0.1"));
	assert_true(is_local("unix:/x"));
	assert_false(is_local("0.0.0.0"));
	assert_false(is_local("::"));
	assert_false(is_local("10.0.0.1"));
	assert_false(is_local("::ffff:10.0.0.1"));
	assert_false(is_local("fe80::1"));
}

#define TEST(fn, name)                     \
	{                                  \
		name, fn, NULL, NULL, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(forms, "every form is read, missing parts are filled in"),
		TEST(refused, "what is no address is refused"),
		TEST(long_path, "a unix path must fit a socket's address"),
		TEST(local, "loopback and unix sockets are this host, nothing else is"),
	};

	return cmocka_run_group_tests_name("addr", tests, NULL, NULL);
}
