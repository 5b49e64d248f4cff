/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file of CHAP secrets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/chap.h"

static struct chap c;
static unsigned int line;
static const char *why;
static char err[300];

static int parse(const char *text)
{
	return chap_parse(text, strlen(text), &c, &line, &why);
}

static void accounts_are_read_in_order(void **state)
{
	assert_int_equal(parse("# who\n\n\tinitiator alice  alicesecret1\r\n"
			       "initiator bob bobsecret1234\n"
			       "target me mysecret12345"),
			 0);
	assert_int_equal(c.nr, 3);
	assert_string_equal(c.list[0].user, "alice");
	assert_string_equal(c.list[0].secret, "alicesecret1");
	assert_false(c.list[1].outgoing);
	assert_true(c.list[2].outgoing);
	assert_string_equal(c.list[2].secret, "mysecret12345");
}

static void what_is_wrong_is_told_with_its_line(void **state)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
		{ "\ninitiator a short\n", "12 to 63" },
		{ "\ninitiator a\n", "needs a user and a secret" },
		{ "\ninitiator a alicesecret1 more\n", "needs a user and a secret" },
		{ "\nallow a alicesecret1\n", "a line is" },
		{ "\ninitiator a alice,secret1\n", "no comma" },
		{ "\ninitiator a,b alicesecret1\n", "no comma" },
		{ "\ninitiator a alicesecret\x01\n", "12 to 63" },
		{ "initiator a alicesecret1\ninitiator a othersecret1\n", "twice" },
		{ "initiator a alicesecret1\ntarget b alicesecret1\n", "share" },
		{ "target a alicesecret1\ntarget b othersecret1\n", "one target" },
		{ "target a alicesecret1\n# nobody else", "no initiator" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(parse(bad[i].text), -EINVAL);
		assert_non_null(strstr(why, bad[i].why));
		assert_int_equal(line, 2);
	}
	assert_int_equal(parse(""), -EINVAL);
}

static void a_secret_of_the_longest_length_fits_and_no_more(void **state)
{
	char text[200], secret[CHAP_SECRET_MAX + 2];

	memset(secret, 's', sizeof(secret));
	secret[CHAP_SECRET_MAX] = '\0';
	snprintf(text, sizeof(text), "initiator a %s", secret);
	assert_int_equal(parse(text), 0);
	assert_string_equal(c.list[0].secret, secret);
	snprintf(text, sizeof(text), "initiator a %ss", secret);
	assert_int_equal(parse(text), -EINVAL);
}

static void there_may_be_64_accounts(void **state)
{
	char text[65 * 40];
	size_t n = 0;

	for (int i = 0; i < 64; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
				      "initiator u%d secretsecret%02d\n", i, i);
	assert_int_equal(parse(text), 0);
	snprintf(text + n, sizeof(text) - n, "initiator more secretsecret99\n");
	assert_int_equal(parse(text), -EINVAL);
	assert_int_equal(line, 65);
}

static void a_file_that_others_can_read_is_refused(void **state)
{
	char path[] = "/tmp/remem-chap-XXXXXX";
	static const char text[] = "initiator a alicesecret1\n";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	assert_int_equal(chap_load(path, &c, err, sizeof(err)), 0);
	assert_string_equal(c.list[0].user, "a");
	assert_int_equal(fchmod(fd, 0640), 0);
	assert_int_equal(chap_load(path, &c, err, sizeof(err)), -EPERM);
	close(fd);
	unlink(path);
	assert_int_equal(chap_load(path, &c, err, sizeof(err)), -ENOENT);
	assert_int_equal(chap_load("/tmp", &c, err, sizeof(err)), -EPERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accounts_are_read_in_order),
		cmocka_unit_test(what_is_wrong_is_told_with_its_line),
		cmocka_unit_test(a_secret_of_the_longest_length_fits_and_no_more),
		cmocka_unit_test(there_may_be_64_accounts),
		cmocka_unit_test(a_file_that_others_can_read_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
