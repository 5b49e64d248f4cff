/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tier of a VM whose pages do not all lie on its SSD: composed of the SSD, if there
 * is one, and of exports of other hosts' memory. A page gets its place when it is
 * written for the first time: on the SSD while that has room, then on the export with
 * most room; with `copies` 2 on two exports of different hosts. spill_map.h has the
 * table, which survives the daemon.
 *
 * What it does when a host is lost: a page with another copy is read there, at once if
 * the host is known to be lost; a page that has none is tried again, its request ending
 * with -ETIMEDOUT after SPILL_PATIENCE_MS (the pager stops the VM then and asks again).
 * Writes go to places that are there. A thread of its own (spill_keep.c) looks at every
 * export each second, gives back what is no longer needed, and makes second copies of
 * the pages that have lost one.
 */
#ifndef VMEMDIRECT_TIER_SPILL_H
#define VMEMDIRECT_TIER_SPILL_H

#include <stdint.h>

#include "vmemdirect/tier/spill_map.h"
#include "vmemdirect/tier/tier.h"

#define SPILL_PATIENCE_MS 4000
#define SPILL_IO_PAGES    256 /* of one request, at most */

/* For tier_cfg.spill; tier_cfg.path is the SSD, or "". With tier_cfg.resume only
 * map_path counts. */
struct spill_cfg {
	const char *vm;       /* whose pages: for the labels */
	const char *map_path; /* the table's file */
	uint64_t ssd_bytes;   /* of the SSD, at most; 0: what there is */
	uint64_t ram_pages;   /* that need no place: to see whether all fit */
	unsigned int nr, copies;
	const char *const *url;
};

#endif
