/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes in, CRC32C out. One instruction takes 8 bytes in 3 cycles but a new one may
 * start each cycle, so long input is cut into three streams that are worked on side
 * by side and joined by multiplying with the power of x that their distance is.
 * Tables and powers are made once, before main. Any thread.
 */
#include "lib/crc32c.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

#define POLY 0x82f63b78u /* x^32 + ... reflected: bit 31 is x^0 */

static uint32_t table[8][256];

/* a * x modulo the polynomial, in reflected bits. */
static uint32_t times_x(uint32_t a)
{
	return a >> 1 ^ (a & 1 ? POLY : 0);
}

__attribute__((constructor)) static void make_table(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t a = i;

		for (int bit = 0; bit < 8; bit++)
			a = times_x(a);
		table[0][i] = a;
	}
	for (uint32_t i = 0; i < 256; i++)
		for (int t = 1; t < 8; t++)
			table[t][i] =
				table[t - 1][i] >> 8 ^ table[0][table[t - 1][i] & 0xff];
}

static uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

uint32_t crc32c_add_plain(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;

	crc = ~crc;
	for (; len >= 8; p += 8, len -= 8) {
		uint64_t v = load64(p) ^ crc;

		crc = 0;
		for (int t = 0; t < 8; t++)
			crc ^= table[7 - t][v >> 8 * t & 0xff];
	}
	for (; len; p++, len--)
		crc = crc >> 8 ^ table[0][(crc ^ *p) & 0xff];
	return ~crc;
}

#ifdef __x86_64__
#include <nmmintrin.h>
#include <wmmintrin.h>

/* Stream lengths: three long ones and 16 bytes are a 4 KiB page, the short ones take
 * what is left of other sizes. Multiples of 8. */
#define LONG  1360u
#define SHORT 168u

static bool fast;
static uint32_t shift_long[2], shift_short[2]; /* by one stream, by two */

/*
 * x^(8 n - 33): a carry-less product of two reflected values comes out one bit short,
 * and the CRC instruction that reduces it multiplies by x^32.
 */
static uint32_t shift_by(unsigned int n_bytes)
{
	uint32_t a = 1u << 31; /* x^0 */

	for (unsigned int i = 0; i < 8 * n_bytes - 33; i++)
		a = times_x(a);
	return a;
}

__attribute__((constructor)) static void find_processor(void)
{
	__builtin_cpu_init();
	fast = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
	for (unsigned int i = 0; i < 2; i++) {
		shift_long[i] = shift_by(LONG * (i + 1));
		shift_short[i] = shift_by(SHORT * (i + 1));
	}
}

#define ON_SSE42 __attribute__((target("sse4.2,pclmul")))

/* crc * x^(8 n) by the constant of shift_by(n). */
ON_SSE42 static inline uint64_t shifted(uint64_t crc, uint32_t by)
{
	__m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)crc),
					       _mm_cvtsi32_si128((int)by), 0);

	return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

ON_SSE42 static inline uint64_t three(uint64_t crc, const uint8_t *p, size_t stream,
				      const uint32_t *shift)
{
	uint64_t b = 0, c = 0;

	for (const uint8_t *end = p + stream; p < end; p += 8) {
		crc = _mm_crc32_u64(crc, load64(p));
		b = _mm_crc32_u64(b, load64(p + stream));
		c = _mm_crc32_u64(c, load64(p + 2 * stream));
	}
	return shifted(crc, shift[1]) ^ shifted(b, shift[0]) ^ c;
}

ON_SSE42 static uint32_t add_sse42(uint32_t start, const uint8_t *p, size_t len)
{
	uint64_t crc = ~start;

	for (; len >= 3 * LONG; p += 3 * LONG, len -= 3 * LONG)
		crc = three(crc, p, LONG, shift_long);
	for (; len >= 3 * SHORT; p += 3 * SHORT, len -= 3 * SHORT)
		crc = three(crc, p, SHORT, shift_short);
	for (; len >= 8; p += 8, len -= 8)
		crc = _mm_crc32_u64(crc, load64(p));
	for (; len; p++, len--)
		crc = _mm_crc32_u8((uint32_t)crc, *p);
	return ~(uint32_t)crc;
}

uint32_t crc32c_add(uint32_t crc, const void *data, size_t len)
{
	return fast ? add_sse42(crc, data, len) : crc32c_add_plain(crc, data, len);
}

_Bool crc32c_is_fast(void)
{
	return fast;
}

#else

uint32_t crc32c_add(uint32_t crc, const void *data, size_t len)
{
	return crc32c_add_plain(crc, data, len);
}

_Bool crc32c_is_fast(void)
{
	return false;
}

#endif
