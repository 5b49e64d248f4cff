/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What TLS 1.3 derives of a traffic secret, by the trace of RFC 8448, section 3. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/hex.h"
#include "lib/hkdf.h"

static void from_hex(const char *text, uint8_t *to)
{
	for (; *text; text += 2)
		*to++ = (uint8_t)(hex_digit(text[0]) << 4 | hex_digit(text[1]));
}

static void key_and_iv_are_those_of_the_trace(void **state)
{
	uint8_t secret[32], key[16], iv[12], want[32];

	from_hex("b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38",
		 secret);
	assert_int_equal(hkdf_expand_short(HKDF_SHA256, secret, "key", key, 16), 0);
	from_hex("3fce516009c21727d0f2e4e86ee403bc", want);
	assert_memory_equal(key, want, 16);
	assert_int_equal(hkdf_expand_short(HKDF_SHA256, secret, "iv", iv, 12), 0);
	from_hex("5d313eb2671276ee13000b30", want);
	assert_memory_equal(iv, want, 12);
}

static void more_than_a_hash_is_refused(void **state)
{
	uint8_t secret[32] = { 1 }, out[HKDF_MAX];

	assert_int_equal(hkdf_expand_short(HKDF_SHA256, secret, "key", out, 33),
			 -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(key_and_iv_are_those_of_the_trace),
		cmocka_unit_test(more_than_a_hash_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
