/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as a file of pre-shared keys: names with keys, or a reason. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/psk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct psk_key keys[8];
	const char *why = NULL;
	unsigned int line;
	size_t nr = 0;

	if (psk_parse((const char *)data, len, keys, 8, &nr, &line, &why) < 0) {
		if (!why)
			abort();
		return 0;
	}
	if (!nr || nr > 8)
		abort();
	for (size_t i = 0; i < nr; i++)
		if (!*keys[i].name || strpbrk(keys[i].name, ": \n") ||
		    keys[i].len < PSK_KEY_MIN || keys[i].len > PSK_KEY_MAX_ ||
		    psk_find(keys, nr, keys[i].name) != &keys[i])
			abort();
	return 0;
}
