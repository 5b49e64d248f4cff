/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys as NVMe writes them for people to carry about: "PREFIX:HH:BASE64:", where HH
 * names a hash and the base64 is of the key and its CRC-32, little-endian (NVMe Base 2.0,
 * 8.13.5.8; NVMe/TCP Transport 1.0, 3.6.1.5). Pure, any thread.
 */
#ifndef LIB_KEY_TEXT_H
#define LIB_KEY_TEXT_H

#include <stddef.h>
#include <stdint.h>

#define KEY_TEXT_BYTES_MAX 64

struct key_text {
	uint8_t hash;
	uint8_t len; /* of the key */
	uint8_t bytes[KEY_TEXT_BYTES_MAX];
};

/* One kind of keys; static text, without a byte of a key. */
struct key_text_form {
	const char *prefix;   /* with its ':' */
	uint8_t max_hash;     /* 0 .. 9 */
	uint8_t lens[3];      /* of keys, in bytes; 0: fewer than three */
	const char *why_form; /* it is no such key */
	const char *why_hash; /* HH */
	const char *why_len;  /* the length of the key */
};

/* -EINVAL and *ret_why, which is the form's or tells that the checksum is wrong. */
int key_text_parse(const struct key_text_form *form, const char *text, size_t len,
		   struct key_text *ret, const char **ret_why);

#endif
