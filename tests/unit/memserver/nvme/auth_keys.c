/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file of hosts: who is found for what, and which lines are refused why. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "memserver/nvme/auth_keys.h"

/* The bytes 0 to 31, untransformed; 1 to 32, by SHA-256. */
#define A "DHHC-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:"
#define B "DHHC-1:01:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAl7OaH:"

static struct nvme_auth_keys *parse(const char *text)
{
	struct nvme_auth_keys *k = NULL;
	unsigned int line;
	const char *why;

	assert_int_equal(nvme_auth_keys_parse(text, strlen(text), &k, &line, &why), 0);
	return k;
}

static void hosts_are_found_for_their_exports_only(void **state)
{
	struct nvme_auth_keys *k = parse("# hosts\n\n"
					 "host nqn.a key=" A "\n"
					 "\thost nqn.b  key=" B " exports=x,yy\r\n"
					 "host nqn.b key=" A " exports=z");
	const struct nvme_auth_host *h;

	assert_non_null(nvme_auth_keys_find(k, NULL, "nqn.a", "anything"));
	assert_non_null(nvme_auth_keys_find(k, NULL, "nqn.a", NULL));
	assert_null(nvme_auth_keys_find(k, NULL, "nqn.", NULL));
	assert_null(nvme_auth_keys_find(k, NULL, "nqn.aa", NULL));
	h = nvme_auth_keys_find(k, NULL, "nqn.b", "yy");
	assert_non_null(h);
	assert_int_equal(h->key.hash, 1);
	assert_null(nvme_auth_keys_find(k, h, "nqn.b", "yy"));
	h = nvme_auth_keys_find(k, NULL, "nqn.b", "z");
	assert_non_null(h);
	assert_int_equal(h->key.hash, 0);
	assert_null(nvme_auth_keys_find(k, NULL, "nqn.b", "y"));
	assert_null(nvme_auth_keys_find(k, NULL, "nqn.b", "x,yy"));
	assert_null(nvme_auth_keys_find(k, NULL, "nqn.b", "xx"));
	assert_null(nvme_auth_keys_find(k, NULL, "nqn.b", ""));
	nvme_auth_keys_put(k);
}

static void a_host_may_have_two_secrets_at_a_time(void **state)
{
	struct nvme_auth_keys *k =
		parse("host nqn.a key=" A "\nhost nqn.a key=" B " controller=" A "\n");
	const struct nvme_auth_host *h = nvme_auth_keys_find(k, NULL, "nqn.a", "e");

	assert_false(h->has_controller);
	h = nvme_auth_keys_find(k, h, "nqn.a", "e");
	assert_true(h->has_controller);
	assert_null(nvme_auth_keys_find(k, h, "nqn.a", "e"));
	nvme_auth_keys_put(k);
}

static void a_table_lives_as_long_as_somebody_has_it(void **state)
{
	struct nvme_auth_keys *k = parse("host nqn.a key=" A), *mine;

	mine = nvme_auth_keys_get(k);
	nvme_auth_keys_put(k);
	assert_non_null(nvme_auth_keys_find(mine, NULL, "nqn.a", NULL));
	nvme_auth_keys_put(mine);
}

static void thousands_of_hosts_are_not_too_many(void **state)
{
	static const char line[] = "host nqn.a key=" A "\n";
	static char text[(NVME_AUTH_HOSTS_MAX + 1) * (sizeof(line) - 1)];
	struct nvme_auth_keys *k;
	unsigned int at;
	const char *why;

	for (size_t i = 0; i <= NVME_AUTH_HOSTS_MAX; i++)
		memcpy(text + i * (sizeof(line) - 1), line, sizeof(line) - 1);
	assert_int_equal(nvme_auth_keys_parse(text, sizeof(text) - (sizeof(line) - 1),
					      &k, &at, &why),
			 0);
	assert_int_equal(k->nr, NVME_AUTH_HOSTS_MAX);
	nvme_auth_keys_put(k);
	assert_int_equal(nvme_auth_keys_parse(text, sizeof(text), &k, &at, &why),
			 -EINVAL);
	assert_int_equal(at, NVME_AUTH_HOSTS_MAX + 1);
}

static void a_line_may_want_tls(void **state)
{
	struct nvme_auth_keys *k =
		parse("host nqn.a key=" A " concat=required exports=x\n"
		      "host nqn.a key=" B " exports=y\n");

	assert_true(nvme_auth_keys_find(k, NULL, "nqn.a", "x")->needs_concat);
	assert_false(nvme_auth_keys_find(k, NULL, "nqn.a", "y")->needs_concat);
	nvme_auth_keys_put(k);
}

static void a_wrong_line_is_named_and_no_secret_told(void **state)
{
	static const char *const lines[] = {
		"hosts nqn.a key=" A,
		"host",
		"host nqn.a",
		"host key=" A,
		"host iqn.a key=" A,
		"host nqn.a key=",
		"host nqn.a key=DHHC-1:00:AAAA:",
		"host nqn.a key=" A " key=" B,
		"host nqn.a key=" A " controller=" A,
		"host nqn.a key=" A " controller=" B " controller=" B,
		"host nqn.a key=" A " exports=",
		"host nqn.a key=" A " exports=,a",
		"host nqn.a key=" A " exports=a,",
		"host nqn.a key=" A " exports=a,,b",
		"host nqn.a key=" A " exports=a exports=b",
		"host nqn.a controller=" A,
		"host nqn.a key=" A " more",
		"host nqn.a key=" A " concat=offered",
		"host nqn.a key=" A " concat=",
		"host nqn.a key=" A " concat=required concat=required",
		"host nqn.a\x01 key=" A,
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		char text[512] = "# first\nhost nqn.ok key=" A "\n";
		struct nvme_auth_keys *k;
		unsigned int line = 0;
		const char *why = NULL;

		strcat(text, lines[i]);
		assert_int_equal(
			nvme_auth_keys_parse(text, strlen(text), &k, &line, &why),
			-EINVAL);
		assert_int_equal(line, 3);
		assert_non_null(why);
		assert_null(strstr(why, "AAEC"));
	}
}

static void a_file_without_hosts_lets_nobody_in_by_mistake(void **state)
{
	struct nvme_auth_keys *k;
	unsigned int line;
	const char *why;

	assert_int_equal(nvme_auth_keys_parse("", 0, &k, &line, &why), -EINVAL);
	assert_int_equal(nvme_auth_keys_parse("# no\n", 5, &k, &line, &why), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts_are_found_for_their_exports_only),
		cmocka_unit_test(a_host_may_have_two_secrets_at_a_time),
		cmocka_unit_test(a_table_lives_as_long_as_somebody_has_it),
		cmocka_unit_test(thousands_of_hosts_are_not_too_many),
		cmocka_unit_test(a_line_may_want_tls),
		cmocka_unit_test(a_wrong_line_is_named_and_no_secret_told),
		cmocka_unit_test(a_file_without_hosts_lets_nobody_in_by_mistake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
