/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A hexadecimal digit in, its value out, or -1. Any thread. */
#ifndef LIB_HEX_H
#define LIB_HEX_H

static inline int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

#endif
