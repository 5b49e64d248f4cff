/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vectors of RFC 3720, appendix B.4, and the fast way against the plain one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/crc32c.h"

static void crc_of_rfc3720_vectors(void **state)
{
	uint8_t buf[32];

	for (int i = 0; i < 32; i++)
		buf[i] = 0;
	assert_int_equal(crc32c_add(0, buf, 32), 0x8a9136aa);
	for (int i = 0; i < 32; i++)
		buf[i] = 0xff;
	assert_int_equal(crc32c_add(0, buf, 32), 0x62a8ab43);
	for (int i = 0; i < 32; i++)
		buf[i] = (uint8_t)i;
	assert_int_equal(crc32c_add(0, buf, 32), 0x46dd794e);
	for (int i = 0; i < 32; i++)
		buf[i] = (uint8_t)(31 - i);
	assert_int_equal(crc32c_add(0, buf, 32), 0x113fdb5c);
	assert_int_equal(crc32c_add(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c_add_plain(0, "123456789", 9), 0xe3069283);
}

static void crc_of_nothing_is_the_start(void **state)
{
	assert_int_equal(crc32c_add(0, NULL, 0), 0);
	assert_int_equal(crc32c_add(0x12345678, NULL, 0), 0x12345678);
}

static void both_ways_agree_at_every_length_and_alignment(void **state)
{
	static uint8_t buf[3 * 4096];
	uint32_t x = 1;

	for (size_t i = 0; i < sizeof(buf); i++) {
		x = x * 1103515245 + 12345;
		buf[i] = (uint8_t)(x >> 16);
	}
	for (size_t len = 0; len < 1200; len++)
		assert_int_equal(crc32c_add(7, buf + len % 9, len),
				 crc32c_add_plain(7, buf + len % 9, len));
	for (size_t len = 4000; len < 4200; len++)
		assert_int_equal(crc32c_add(0, buf + len % 9, len),
				 crc32c_add_plain(0, buf + len % 9, len));
	assert_int_equal(crc32c_add(0, buf, sizeof(buf)),
			 crc32c_add_plain(0, buf, sizeof(buf)));
}

static void pieces_add_up_to_the_whole(void **state)
{
	static uint8_t buf[10000];

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 7);
	for (size_t cut = 0; cut < sizeof(buf); cut += 333)
		assert_int_equal(crc32c_add(crc32c_add(0, buf, cut), buf + cut,
					    sizeof(buf) - cut),
				 crc32c_add(0, buf, sizeof(buf)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crc_of_rfc3720_vectors),
		cmocka_unit_test(crc_of_nothing_is_the_start),
		cmocka_unit_test(both_ways_agree_at_every_length_and_alignment),
		cmocka_unit_test(pieces_add_up_to_the_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
