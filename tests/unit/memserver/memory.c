/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which libraries stay in memory because requests run through them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "memserver/memory.h"

static void always(void **state)
{
	assert_true(memory_serves("", false)); /* the program */
	assert_true(memory_serves("linux-vdso.so.1", false));
	assert_true(memory_serves("/lib/x86_64-linux-gnu/libc.so.6", false));
	assert_true(memory_serves("/lib64/ld-linux-x86-64.so.2", false));
}

static void with_tls(void **state)
{
	assert_false(memory_serves("/lib/x86_64-linux-gnu/libcrypto.so.3", false));
	assert_true(memory_serves("/lib/x86_64-linux-gnu/libcrypto.so.3", true));
	assert_true(memory_serves("/lib/x86_64-linux-gnu/libssl.so.3", true));
}

static void never(void **state)
{
	assert_false(memory_serves("/lib/libc.so.d/libgnutls.so.30", true));
	assert_false(memory_serves("/lib/x86_64-linux-gnu/libcap.so.2", true));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(always),
		cmocka_unit_test(with_tls),
		cmocka_unit_test(never),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
