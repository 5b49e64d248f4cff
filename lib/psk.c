/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text of a key file in, names with their keys out. */
#include "lib/psk.h"

#include <errno.h>
#include <string.h>

#include "lib/hex.h"

static int bad(const char **ret_why, const char *why)
{
	*ret_why = why;
	return -EINVAL;
}

static int parse_name(const char *text, size_t len, char *ret, const char **ret_why)
{
	if (!len || len > PSK_NAME_MAX)
		return bad(ret_why, "a name has 1 to 127 characters");
	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return bad(ret_why,
				   "a name has printable characters, no blanks");
	memcpy(ret, text, len);
	ret[len] = '\0';
	return 0;
}

static int parse_key(const char *text, size_t len, struct psk_key *k,
		     const char **ret_why)
{
	if (len % 2 || len / 2 < PSK_KEY_MIN || len / 2 > PSK_KEY_MAX_)
		return bad(ret_why, "a key is 32 to 128 hexadecimal digits, an even "
				    "number");
	for (size_t i = 0; i < len; i += 2) {
		int high = hex_digit(text[i]), low = hex_digit(text[i + 1]);

		if (high < 0 || low < 0)
			return bad(ret_why, "a key is hexadecimal digits");
		k->key[i / 2] = (uint8_t)(high << 4 | low);
	}
	k->len = (uint8_t)(len / 2);
	return 0;
}

static int parse_line(const char *text, size_t len, struct psk_key *k,
		      const char **ret_why)
{
	const char *colon = memchr(text, ':', len);
	size_t name_len = colon ? (size_t)(colon - text) : 0;
	int r;

	if (!colon)
		return bad(ret_why, "a line is NAME:HEX");
	r = parse_name(text, name_len, k->name, ret_why);
	return r < 0 ? r : parse_key(colon + 1, len - name_len - 1, k, ret_why);
}

int psk_parse(const char *text, size_t len, struct psk_key *keys, size_t room,
	      size_t *ret_nr, unsigned int *ret_line, const char **ret_why)
{
	size_t nr = 0;

	*ret_line = 0;
	while (len) {
		const char *nl = memchr(text, '\n', len);
		size_t n = nl ? (size_t)(nl - text) : len, used = n;

		++*ret_line;
		while (used && strchr(" \t\r", text[used - 1]))
			used--;
		if (used && *text != '#') {
			if (nr == room || nr == PSK_NR_MAX)
				return bad(ret_why, "there are more than 1024 keys");
			if (parse_line(text, used, &keys[nr], ret_why) < 0)
				return -EINVAL;
			if (psk_find(keys, nr, keys[nr].name))
				return bad(ret_why, "the name is there twice");
			nr++;
		}
		text += n + (nl != NULL);
		len -= n + (nl != NULL);
	}
	if (!nr)
		return bad(ret_why, "there is no key in it");
	*ret_nr = nr;
	return 0;
}

const struct psk_key *psk_find(const struct psk_key *keys, size_t nr, const char *name)
{
	for (size_t i = 0; i < nr; i++)
		if (!strcmp(keys[i].name, name))
			return &keys[i];
	return NULL;
}
