/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as a file of CHAP secrets: accounts that tgtd's text can carry, or a reason. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/chap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct chap c;
	const char *why = NULL;
	unsigned int line;

	if (chap_parse((const char *)data, len, &c, &line, &why) < 0) {
		if (!why)
			abort();
		return 0;
	}
	for (size_t i = 0; i < c.nr; i++)
		if (strpbrk(c.list[i].user, ",= \n") || !*c.list[i].user ||
		    strpbrk(c.list[i].secret, ",= \n") ||
		    strlen(c.list[i].secret) < CHAP_SECRET_MIN)
			abort();
	return 0;
}
