/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random numbers in, UUIDs out. Any thread. */
#include "client/uuid.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

int uuid_new(uint8_t ret[16])
{
	if (getrandom(ret, 16, 0) != 16)
		return -EIO;
	ret[6] = (ret[6] & 0x0f) | 0x40; /* version 4: random */
	ret[8] = (ret[8] & 0x3f) | 0x80;
	return 0;
}

void uuid_format(const uint8_t u[16], char text[UUID_TEXT_MAX + 1])
{
	snprintf(text, UUID_TEXT_MAX + 1,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10],
		 u[11], u[12], u[13], u[14], u[15]);
}

int uuid_parse(const char *text, uint8_t ret[16])
{
	uint8_t u[16];
	size_t n = 0;

	if (strlen(text) != UUID_TEXT_MAX)
		return -EINVAL;
	for (size_t i = 0; i < UUID_TEXT_MAX; i += 2) {
		if (i == 8 || i == 13 || i == 18 || i == 23)
			if (text[i++] != '-')
				return -EINVAL;
		if (strspn(text + i, "0123456789abcdefABCDEF") < 2 ||
		    sscanf(text + i, "%2hhx", &u[n++]) != 1)
			return -EINVAL;
	}
	memcpy(ret, u, sizeof(u));
	return 0;
}
