/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What tgtd shows, and what an initiator may have smuggled into it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "memserver/iscsi/tgt_text.h"

#define ONE(SID, NAME, ADDRESS)                 \
	"Session: " SID "\n    Connection: 0\n" \
	"        Initiator: " NAME "\n        IP Address: " ADDRESS "\n"

static void sessions_are_told_with_name_and_address(void **state)
{
	struct tgt_session s[2];

	assert_int_equal(tgt_text_sessions(ONE("7", "iqn.a:b", "10.0.2.15")
						   ONE("3", "iqn.c", "::1"),
					   s, 2),
			 2);
	assert_int_equal(s[0].sid, 7);
	assert_string_equal(s[0].initiator, "iqn.a:b");
	assert_string_equal(s[0].address, "10.0.2.15");
	assert_int_equal(s[1].sid, 3);
	assert_string_equal(s[1].address, "::1");
}

static void more_sessions_than_asked_for_are_counted(void **state)
{
	struct tgt_session s;

	assert_int_equal(
		tgt_text_sessions(ONE("1", "a", "b") ONE("2", "a", "b"), &s, 1), 2);
	assert_int_equal(s.sid, 1);
	assert_int_equal(tgt_text_sessions("", &s, 1), 0);
	assert_int_equal(tgt_text_sessions(ONE("1", "a", "b"), NULL, 0), 1);
}

static void a_line_out_of_its_place_spoils_the_list(void **state)
{
	static const char *const bad[] = {
		"Session: 1\n",
		"Session: x\n    Connection: 0\n        Initiator: a\n        IP "
		"Address: "
		"b\n",
		"Session: 4294967296\n    Connection: 0\n        Initiator: a\n"
		"        IP Address: b\n",
		/* a name with a line in it */
		ONE("1", "a\n        IP Address: 1.2.3.4", "b"),
		/* a name that clears the administrator's screen */
		ONE("1", "\x1b[2J", "b"),
		ONE("1", "a", "b") "more",
		"Session: 1\n    Connection: 0\n        Initiator: a\n        IP "
		"Address: "
		"b",
	};
	struct tgt_session s;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(tgt_text_sessions(bad[i], &s, 1), -EPROTO);
}

#define HEAD "tgt lun sid rd_subm(bytes,cmds) and so on\n"

static void counters_are_those_of_the_unit_and_the_session(void **state)
{
	static const char text[] =
		HEAD "  1   0   1  0 0  0 0  0 0  0 0  0\n"
		     "  1   1   1  100180000  24459  90180000  24450  7 8  5000 2  1\n";
	struct tgt_counters c;

	assert_int_equal(tgt_text_counters(text, 1, 1, &c), 0);
	assert_int_equal(c.read_bytes, 90180000);
	assert_int_equal(c.read_ops, 24450);
	assert_int_equal(c.write_bytes, 5000);
	assert_int_equal(c.write_ops, 2);
	assert_int_equal(c.errors, 1);
	assert_int_equal(tgt_text_counters(text, 1, 2, &c), -ENOENT);
	assert_int_equal(tgt_text_counters(HEAD "1 1 x\n", 1, 1, &c), -EPROTO);
	assert_int_equal(tgt_text_counters("", 1, 1, &c), -ENOENT);
}

static void versions_are_in_order(void **state)
{
	assert_int_equal(tgt_text_version("1.0.85\n"), 1000085);
	assert_true(tgt_text_version("1.0.74") < tgt_text_version("1.0.85"));
	assert_true(tgt_text_version("1.0.100") > tgt_text_version("1.0.85"));
	assert_true(tgt_text_version("2.0.0") > tgt_text_version("1.999.9"));
	assert_int_equal(tgt_text_version("tgtd"), 0);
	assert_int_equal(tgt_text_version(""), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sessions_are_told_with_name_and_address),
		cmocka_unit_test(more_sessions_than_asked_for_are_counted),
		cmocka_unit_test(a_line_out_of_its_place_spoils_the_list),
		cmocka_unit_test(counters_are_those_of_the_unit_and_the_session),
		cmocka_unit_test(versions_are_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
