/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Our access list as tgtd's rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "memserver/acl.h"
#include "memserver/iscsi/target.h"

#define LOCAL "initiator-address=127.0.0.0/8;initiator-address=::1;"

static struct acl *a;
static char got[1024];

static int setup(void **state)
{
	*got = '\0';
	return acl_new(&a);
}

static int teardown(void **state)
{
	acl_free(a);
	return 0;
}

static int note(const char *text, void *arg)
{
	size_t n = strlen(got);

	snprintf(got + n, sizeof(got) - n, "%s;", text);
	return 0;
}

static void expect(const char *rules)
{
	assert_int_equal(target_each_rule(a, note, NULL), 0);
	assert_string_equal(got, rules);
}

static void without_a_list_it_is_this_host_only(void **state)
{
	expect(LOCAL);
}

static void openly_it_is_all(void **state)
{
	acl_set_open(a, true);
	expect("initiator-address=ALL;");
}

static void networks_lose_their_host_bits(void **state)
{
	assert_int_equal(acl_add(a, "10.1.2.3/12"), 0);
	assert_int_equal(acl_add(a, "10.9.9.9/32"), 0);
	assert_int_equal(acl_add(a, "10.9.9.8"), 0);
	assert_int_equal(acl_add(a, "fd00:1::7/24"), 0);
	assert_int_equal(acl_add(a, "fd00::7"), 0);
	assert_int_equal(acl_add(a, "nqn.2014-08.org.nvmexpress:uuid:1"), 0);
	expect(LOCAL "initiator-address=10.0.0.0/12;initiator-address=10.9.9.9;"
		     "initiator-address=10.9.9.8;initiator-address=[fd00::]/24;"
		     "initiator-address=[fd00::7];");
}

static void all_of_ipv4_is_two_halves(void **state)
{
	assert_int_equal(acl_add(a, "1.2.3.4/0"), 0);
	expect(LOCAL "initiator-address=0.0.0.0/1;initiator-address=128.0.0.0/1;");
}

static void a_name_takes_the_place_of_addresses(void **state)
{
	assert_int_equal(acl_add(a, "iqn.2026-11.x:y"), 0);
	assert_int_equal(acl_add(a, "10.0.0.0/8"), 0);
	expect("initiator-name=iqn.2026-11.x:y;");
}

static int break_off(const char *text, void *arg)
{
	(*(int *)arg)++;
	return -EREMOTEIO;
}

static void an_error_ends_it(void **state)
{
	int calls = 0;

	assert_int_equal(target_each_rule(a, break_off, &calls), -EREMOTEIO);
	assert_int_equal(calls, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(without_a_list_it_is_this_host_only,
						setup, teardown),
		cmocka_unit_test_setup_teardown(openly_it_is_all, setup, teardown),
		cmocka_unit_test_setup_teardown(networks_lose_their_host_bits, setup,
						teardown),
		cmocka_unit_test_setup_teardown(all_of_ipv4_is_two_halves, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_name_takes_the_place_of_addresses,
						setup, teardown),
		cmocka_unit_test_setup_teardown(an_error_ends_it, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
