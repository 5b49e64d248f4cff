/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tree of control groups in, the one that cannot take its pages back out. */
#include "client/cgroups.h"

#include <fts.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/file.h"

/* "KEY NUMBER" at the beginning of a line; 0: there is none. */
static uint64_t stat_of(const char *text, const char *key)
{
	size_t n = strlen(key);
	uint64_t v;

	for (const char *p = text; p; p = strchr(p, '\n')) {
		if (*p == '\n')
			p++;
		if (!strncmp(p, key, n) && p[n] == ' ' &&
		    sscanf(p + n, "%" SCNu64, &v) == 1)
			return v;
	}
	return 0;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* What it has swapped out and not in memory at the same time, its limit, and what is
 * left of that or can be had at once. False: no limit, or nothing swapped out. */
static bool weigh(const char *group, struct cgroups_short *ret)
{
	char stat[8192];
	uint64_t now;

	if (file_read_number(&ret->swapped_bytes, "%s/memory.swap.current", group) ||
	    !ret->swapped_bytes ||
	    file_read_number(&ret->max_bytes, "%s/memory.max", group) ||
	    file_read_number(&now, "%s/memory.current", group) ||
	    file_read(stat, sizeof(stat), "%s/memory.stat", group) < 0)
		return false;
	ret->swapped_bytes = less(ret->swapped_bytes, stat_of(stat, "swapcached"));
	ret->room_bytes = less(ret->max_bytes, now) + stat_of(stat, "active_file") +
			  stat_of(stat, "inactive_file") +
			  stat_of(stat, "slab_reclaimable");
	return true;
}

bool cgroups_find_short(const char *root, uint64_t used_bytes, uint64_t elsewhere_bytes,
			struct cgroups_short *ret)
{
	char *const roots[] = { (char *)root, NULL };
	FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	uint64_t most = 0;
	FTSENT *e;

	while (tree && (e = fts_read(tree))) {
		struct cgroups_short s;
		uint64_t lacks;

		if (e->fts_info != FTS_D || !weigh(e->fts_path, &s))
			continue;
		if (s.swapped_bytes > used_bytes)
			s.swapped_bytes = used_bytes;
		lacks = less(s.swapped_bytes, s.room_bytes + elsewhere_bytes);
		if (lacks <= most)
			continue;
		most = lacks;
		snprintf(s.path, sizeof(s.path), "%s", e->fts_path + strlen(root));
		*ret = s;
	}
	if (tree)
		fts_close(tree);
	return most != 0;
}
