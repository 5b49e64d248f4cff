/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Work that may wait for others, QEMU above all, in a thread of its own, one piece
 * after another: the event loop never waits. Does not allocate but in aside_new.
 */
#ifndef VMEMDIRECT_ASIDE_H
#define VMEMDIRECT_ASIDE_H

#include <stdbool.h>

#include "lib/list.h"

struct aside;

/* Embedded in its owner, who outlives the aside. `work` is called in the thread. */
struct aside_job {
	void (*work)(void *arg);
	void *arg;
	/* The aside's, under its lock. */
	struct list link;
	bool waits;
};

int aside_new(struct aside **ret);

/* Any thread. `work` begins after this call; a job that waits already is not put twice,
 * one that is being done is done again. */
void aside_put(struct aside *a, struct aside_job *j);

/* Is a job that tries again and again to give up? Any thread. */
bool aside_over(const struct aside *a);

/* Waits for the job that is being done; the others are dropped. NULL is fine. */
void aside_free(struct aside *a);

#endif
