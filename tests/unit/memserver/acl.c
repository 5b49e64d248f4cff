/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who may come in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "lib/addr.h"
#include "memserver/acl.h"

#define HOST_NQN "nqn.2014-08.org.nvmexpress:uuid:1"

static struct acl *a;

static int setup(void **state)
{
	return acl_new(&a);
}

static int teardown(void **state)
{
	acl_free(a);
	return 0;
}

static bool address(const char *text)
{
	struct addr addr;

	assert_int_equal(addr_parse(text, 1, &addr), 0);
	return acl_allows_address(a, &addr.sa);
}

static bool nqn(const char *text)
{
	return acl_allows_nqn(a, text, strlen(text));
}

static void empty(void **state)
{
	assert_true(acl_is_empty(a));
	assert_true(address("127.0.0.1"));
	assert_true(address("::1"));
	assert_true(address("unix:/x"));
	assert_false(address("10.0.0.1"));
	assert_false(address("fd00::1"));
	assert_true(nqn(HOST_NQN));
}

static void open_to_all(void **state)
{
	acl_set_open(a, true);
	assert_true(address("10.0.0.1"));
	assert_true(address("fd00::1"));
	assert_true(nqn("nqn.anything"));
}

static void prefixes(void **state)
{
	assert_int_equal(acl_add(a, "10.1.2.3/12"), 0);
	assert_int_equal(acl_add(a, "192.168.0.7"), 0);
	assert_int_equal(acl_add(a, "fd00:1::/33"), 0);
	assert_true(acl_has_addresses(a));
	assert_true(address("10.0.0.1"));
	assert_true(address("10.15.255.255"));
	assert_false(address("10.16.0.0"));
	assert_true(address("192.168.0.7"));
	assert_false(address("192.168.0.6"));
	assert_true(address("::ffff:192.168.0.7"));
	assert_true(address("fd00:1:7fff::1"));
	assert_false(address("fd00:1:8000::1"));
	assert_false(address("::"));
	assert_true(address("127.0.0.1"));
	assert_true(nqn(HOST_NQN));
}

static void whole_families(void **state)
{
	assert_int_equal(acl_add(a, "0.0.0.0/0"), 0);
	assert_true(address("203.0.113.9"));
	assert_false(address("fd00::1"));
	assert_int_equal(acl_add(a, "::/0"), 0);
	assert_true(address("fd00::1"));
}

static void names(void **state)
{
	assert_int_equal(acl_add(a, HOST_NQN), 0);
	assert_false(acl_is_empty(a));
	assert_false(acl_has_addresses(a));
	assert_true(address("10.0.0.1")); /* the NQN decides later */
	assert_true(nqn(HOST_NQN));
	assert_false(nqn(HOST_NQN "2"));
	assert_false(nqn("nqn.2014-08.org.nvmexpress:uuid:"));
	assert_false(nqn(""));
	assert_false(acl_allows_nqn(a, HOST_NQN "\0x", sizeof(HOST_NQN "\0x") - 1));
}

static void both(void **state)
{
	assert_int_equal(acl_add(a, HOST_NQN), 0);
	assert_int_equal(acl_add(a, "10.0.0.0/8"), 0);
	assert_true(address("10.0.0.1"));
	assert_false(address("11.0.0.1"));
	assert_false(nqn("nqn.other"));
}

static void refused(void **state)
{
	static const char *const bad[] = {
		"",           "host",        "10.0.0.1/33",
		"10.0.0.1/",  "10.0.0.1/-1", "10.0.0.1/8x",
		"fd00::/129", "10.0.0.0:80", "nqn.",
		"nqn.a b",    "/8",          "unix:/x",
		"NQN.a",      "nqn.\x80",    "10.0.0.1/0008",
	};
	char longest[ACL_NQN_MAX + 2] = "nqn.";

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(acl_add(a, bad[i]), -EINVAL);
	memset(longest + 4, 'a', ACL_NQN_MAX + 1 - 4);
	assert_int_equal(acl_add(a, longest), -EINVAL);
	assert_true(acl_is_empty(a));
	longest[ACL_NQN_MAX] = '\0';
	assert_int_equal(acl_add(a, longest), 0);
}

static void unknown_family(void **state)
{
	struct sockaddr sa = { .sa_family = AF_NETLINK };

	acl_set_open(a, true);
	assert_false(acl_allows_address(a, &sa));
}

#define TEST(fn, name)                          \
	{                                       \
		name, fn, setup, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(empty, "an empty list lets this host in and nobody else"),
		TEST(open_to_all, "an open one lets anybody in"),
		TEST(prefixes, "addresses are compared by their prefix, per family"),
		TEST(whole_families, "a prefix of no bits is the whole family"),
		TEST(names, "a list of NQNs leaves addresses to the NQN check"),
		TEST(both, "addresses and NQNs must both fit when both are listed"),
		TEST(refused, "what is neither address nor NQN is refused"),
		TEST(unknown_family, "a peer of an unknown kind stays out"),
	};

	return cmocka_run_group_tests_name("acl", tests, NULL, NULL);
}
