/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sums of the counters that workers keep: for control, metrics and the register of
 * connections. Reads relaxed, writes only the caller's own; any thread.
 */
#ifndef MEMSERVER_STATS_H
#define MEMSERVER_STATS_H

#include "memserver/export.h"

/* Adds all of `from`, which a worker may be counting in, to `to`. */
void stats_add(struct io_stats *to, const struct io_stats *from);

/* What all clients of an export did since this memserver started; overwrites `ret`. */
void stats_of_export(struct export *e, unsigned int nr_workers, struct io_stats *ret);

#endif
