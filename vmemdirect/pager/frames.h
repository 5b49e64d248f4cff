/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In which page frame of the host does a page of the VM lie? The VM's pagemap says so
 * while the page is mapped there. What is about to be unmapped is noted before; where
 * nothing is known the page is mapped here for a moment, which costs a TLB flush on
 * every CPU that runs a thread of ours.
 *
 * A noted frame can be an old one: the kernel may have moved the page since.
 *
 * Evictor's thread, but for frames_new. Nothing allocates afterwards.
 */
#ifndef VMEMDIRECT_PAGER_FRAMES_H
#define VMEMDIRECT_PAGER_FRAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "vmemdirect/guest.h"

#define FRAMES_MAX 64 /* pages of one frames_find */

struct frames;

int frames_new(const struct guest *g, struct frames **ret); /* `g` borrowed */
void frames_free(struct frames *f);                         /* NULL is fine */

/* These pages, ascending, are going to be unmapped in the VM. */
void frames_note(struct frames *f, const uint32_t *pfn, unsigned int n);

/*
 * The frames of `n` pages, ascending; 0 where it cannot be told. noted[i]: it was noted,
 * and is an old one perhaps; not so with `now`, which asks for what is true at this
 * moment. A note is used once.
 */
void frames_find(struct frames *f, const uint32_t *pfn, unsigned int n, bool now,
		 uint64_t *frame, bool *noted);

/* A frame's number at an address of this process, 0 if it is not mapped there, or
 * /proc/self/pagemap (`pagemap`) does not tell. */
uint64_t frame_at(int pagemap, uint64_t address);

#endif
