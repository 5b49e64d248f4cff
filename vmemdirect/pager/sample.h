/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who touched what: pages are unmapped from outside (process_madvise(MADV_PAGEOUT); no
 * host swap, so they stay where they are), and later /proc/PID/pagemap tells which are
 * mapped again. A touch costs the VM one minor fault of the kernel's (0.9 us), and us
 * nothing. Evictor's thread only.
 *
 * Linux before 6.9 leaves pages mapped whose accessed bit is set: they count as
 * touched, which they were.
 */
#ifndef VMEMDIRECT_PAGER_SAMPLE_H
#define VMEMDIRECT_PAGER_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmemdirect/guest.h"

#define SAMPLE_MAX 512 /* pages of one call */

struct sampler;

int sampler_new(const struct guest *g, struct sampler **ret); /* `g` borrowed */
void sampler_free(struct sampler *s);                         /* NULL is fine */

/* Unmaps `n` pages, ascending. False: this host won't let us (logged once). */
bool sampler_unmap(struct sampler *s, const uint32_t *pfn, unsigned int n);

/* For `n` pages, ascending: is each mapped in the VM? False where nobody can tell. */
bool sampler_mapped(struct sampler *s, const uint32_t *pfn, unsigned int n,
		    bool *mapped);

/* Cost of unmapping so far, ns and pages, to tell what sampling costs here. */
void sampler_cost(const struct sampler *s, uint64_t *ret_ns, uint64_t *ret_pages);

#endif
