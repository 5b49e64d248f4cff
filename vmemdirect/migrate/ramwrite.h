/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes runs of pages into the guest's memory objects, on a thread of its own and in
 * the order in which they were handed over, while the next ones are being received.
 * pwritev into the object costs no page fault; it allocates the page, copies, and is
 * two thirds of what receiving into RAM costs.
 *
 * One caller's thread. Nothing allocates after ramwrite_new. After an error nothing is
 * written any more and every call returns it.
 */
#ifndef VMEMDIRECT_MIGRATE_RAMWRITE_H
#define VMEMDIRECT_MIGRATE_RAMWRITE_H

#include <stdint.h>
#include <sys/uio.h>

#include "vmemdirect/guest.h"

#define RAMWRITE_PAGES 256 /* of one run: 1 MiB */

struct ramwrite;

/* Pages that follow each other in one block. */
struct ramwrite_run {
	uint64_t pfn;
	unsigned int nr;
	struct iovec page[RAMWRITE_PAGES]; /* the bytes, borrowed until written */
};

int ramwrite_new(const struct guest *g, struct ramwrite **ret); /* `g` borrowed */
void ramwrite_free(struct ramwrite *w); /* NULL is fine; waits for the thread */

/* The run to be filled next: empty after each ramwrite_post. */
struct ramwrite_run *ramwrite_open(struct ramwrite *w);

/* Hands the open run over if it has pages; waits where too many are before it. */
int ramwrite_post(struct ramwrite *w);

/* How many runs were posted so far: a ticket for ramwrite_wait, */
uint64_t ramwrite_posted(const struct ramwrite *w);

/* which returns when all of these are written. 0 or -errno (logged). */
int ramwrite_wait(struct ramwrite *w, uint64_t posted);

#endif
