/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "PREFIX:01:…:" in, a key out. */
#include "lib/key_text.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define CRC_LEN 4u

static int bad(const char **ret_why, const char *why)
{
	*ret_why = why;
	return -EINVAL;
}

/* IEEE 802.3's, as zlib computes it. */
static uint32_t crc32(const uint8_t *p, size_t len)
{
	uint32_t crc = ~0u;

	while (len--) {
		crc ^= *p++;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* One group of four characters, of which the last `pad` are '='. */
static bool decode_group(const char *text, unsigned int pad, uint8_t out[3])
{
	uint32_t v = 0;

	for (unsigned int i = 0; i < 4; i++) {
		int six = i < 4 - pad ? base64_value(text[i]) : 0;

		if (six < 0)
			return false;
		v = v << 6 | (uint32_t)six;
	}
	if (v & ((1u << pad * 8) - 1))
		return false; /* bits that stand for nothing */
	out[0] = (uint8_t)(v >> 16);
	out[1] = (uint8_t)(v >> 8);
	out[2] = (uint8_t)v;
	return true;
}

/* The bytes of RFC 4648 base64, at most `room`; 0: it is none, or has more. */
static size_t decode(const char *text, size_t len, uint8_t *out, size_t room)
{
	unsigned int pad = 0;

	while (pad < 2 && len > pad && text[len - 1 - pad] == '=')
		pad++;
	if (!len || len % 4 || len / 4 * 3 - pad > room)
		return 0;
	for (size_t at = 0; at < len; at += 4) {
		unsigned int p = at + 4 == len ? pad : 0;
		uint8_t three[3];

		if (!decode_group(text + at, p, three))
			return 0;
		memcpy(out + at / 4 * 3, three, 3 - p);
	}
	return len / 4 * 3 - pad;
}

static bool has_len(const struct key_text_form *form, size_t len)
{
	for (size_t i = 0; i < sizeof(form->lens); i++)
		if (form->lens[i] && len == form->lens[i] + CRC_LEN)
			return true;
	return false;
}

static int check(const struct key_text_form *form, const uint8_t *raw, size_t len,
		 const char **ret_why)
{
	uint32_t crc;

	if (!has_len(form, len))
		return bad(ret_why, form->why_len);
	len -= CRC_LEN;
	crc = raw[len] | (uint32_t)raw[len + 1] << 8 | (uint32_t)raw[len + 2] << 16 |
	      (uint32_t)raw[len + 3] << 24;
	if (crc != crc32(raw, len))
		return bad(ret_why, "its checksum is wrong: mistyped or cut off");
	return 0;
}

int key_text_parse(const struct key_text_form *form, const char *text, size_t len,
		   struct key_text *ret, const char **ret_why)
{
	const size_t prefix = strlen(form->prefix), head = prefix + 3;
	uint8_t raw[KEY_TEXT_BYTES_MAX + CRC_LEN];
	size_t n;
	int r;

	if (len <= head || memcmp(text, form->prefix, prefix) ||
	    text[head - 1] != ':' || text[len - 1] != ':')
		return bad(ret_why, form->why_form);
	if (text[prefix] != '0' || text[prefix + 1] < '0' ||
	    text[prefix + 1] > '0' + form->max_hash)
		return bad(ret_why, form->why_hash);
	n = decode(text + head, len - head - 1, raw, sizeof(raw));
	r = check(form, raw, n, ret_why);
	if (!r) {
		ret->hash = (uint8_t)(text[prefix + 1] - '0');
		ret->len = (uint8_t)(n - CRC_LEN);
		memcpy(ret->bytes, raw, ret->len);
	}
	explicit_bzero(raw, sizeof(raw));
	return r;
}
