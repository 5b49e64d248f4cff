/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text in, bytes out, and back. */
#include "lib/size.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char units[] = "KMGTP";

/* The shift a unit stands for ("", "B", "k", "KiB", "GB", "T"...), or -EINVAL. */
static int unit_shift(const char *unit)
{
	const char *u;

	if (!*unit || !strcasecmp(unit, "b"))
		return 0;
	u = strchr(units, toupper((unsigned char)*unit));
	if (!u)
		return -EINVAL;
	unit++;
	if (*unit && strcasecmp(unit, "ib") && strcasecmp(unit, "b"))
		return -EINVAL;
	return 10 * (int)(u - units + 1);
}

int size_parse(const char *text, uint64_t *ret_bytes)
{
	unsigned long long n;
	char *end;
	int shift;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno == ERANGE)
		return -ERANGE;
	shift = unit_shift(end);
	if (shift < 0)
		return shift;
	if (n > (UINT64_C(0x7fffffffffffffff) >> shift))
		return -ERANGE;
	*ret_bytes = (uint64_t)n << shift;
	return 0;
}

const char *size_format(uint64_t bytes, char *buf, size_t len_bytes)
{
	double v = (double)bytes;
	const char *unit = "";
	size_t i;

	for (i = 0; v >= 1024 && i < strlen(units); i++) {
		v /= 1024;
		unit = &units[i];
	}
	if (!*unit)
		snprintf(buf, len_bytes, "%uB", (unsigned int)bytes);
	else if (v >= 100 || v == (double)(unsigned int)v)
		snprintf(buf, len_bytes, "%.0f%c", v, *unit);
	else
		snprintf(buf, len_bytes, "%.1f%c", v, *unit);
	return buf;
}
