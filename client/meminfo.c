/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text of /proc/meminfo in, bytes out. Any thread. */
#include "client/meminfo.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/file.h"

/* "Key:   NUMBER kB" at the beginning of a line. */
static int find(const char *text, const char *key, uint64_t *ret_bytes)
{
	size_t n = strlen(key);
	uint64_t kb;

	for (const char *p = text; p; p = strchr(p, '\n')) {
		if (*p == '\n')
			p++;
		if (!strncmp(p, key, n) && p[n] == ':' &&
		    sscanf(p + n + 1, "%" SCNu64, &kb) == 1) {
			*ret_bytes = kb << 10;
			return 0;
		}
	}
	return -EIO;
}

int meminfo_parse(const char *text, struct meminfo *ret)
{
	struct meminfo m;

	if (find(text, "MemTotal", &m.total_bytes) ||
	    find(text, "MemAvailable", &m.available_bytes) ||
	    find(text, "SwapCached", &m.swap_cached_bytes))
		return -EIO;
	*ret = m;
	return 0;
}

int meminfo_read(struct meminfo *ret)
{
	char text[8192];
	int r = file_read(text, sizeof(text), "/proc/meminfo");

	return r < 0 ? r : meminfo_parse(text, ret);
}
