/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lines of /proc/meminfo that memswap weighs. Any thread. */
#ifndef CLIENT_MEMINFO_H
#define CLIENT_MEMINFO_H

#include <stdint.h>

struct meminfo {
	uint64_t total_bytes, available_bytes, swap_cached_bytes;
};

/* Pure. -EIO: a line is missing. */
int meminfo_parse(const char *text, struct meminfo *ret);
int meminfo_read(struct meminfo *ret);

#endif
