/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counters that are being counted in, sums of them out. */
#include "memserver/stats.h"

#include <string.h>

#define relaxed(var) __atomic_load_n(&(var), __ATOMIC_RELAXED)

void stats_add(struct io_stats *to, const struct io_stats *from)
{
	for (int op = 0; op < IO_OP_NR; op++) {
		to->ops[op] += relaxed(from->ops[op]);
		to->bytes[op] += relaxed(from->bytes[op]);
	}
	to->errors += relaxed(from->errors);
	to->no_space += relaxed(from->no_space);
	to->pauses += relaxed(from->pauses);
	to->paused_ns += relaxed(from->paused_ns);
	for (int op = 0; op <= IO_ZERO; op++)
		hist_merge(&to->latency[op], &from->latency[op]);
}

void stats_of_export(struct export *e, unsigned int nr_workers, struct io_stats *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (unsigned int w = 0; w < nr_workers; w++)
		stats_add(ret, export_stats(e, w));
}
