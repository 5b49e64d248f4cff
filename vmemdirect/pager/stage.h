/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages put into the VM's memory object without mapping them in the VM: copied in by a
 * userfaultfd on a mapping of our own, which is thrown away when enough has gathered.
 * Atomic like UFFDIO_COPY into the VM (the page is complete before it is in the
 * object), but the VM's first touch maps it, by a minor fault of the kernel's (1.1 us):
 *
 *   - pagemap tells from the start whether the VM has touched it;
 *   - a page that was only read has a clean entry. Where the VM's entry is dirty, and
 *     UFFDIO_COPY makes it so, MADV_PAGEOUT flushes the other CPUs' TLBs page by page
 *     (try_to_unmap_flush_dirty in shrink_folio_list): 7-12 us a page instead of 1.
 *
 * While a page is mapped here too, PAGEOUT does not unmap it in the VM: it is given to
 * the evictor when the mapping has gone. The kernel charges the page to our control
 * group, not to the VM's.
 *
 * Fault thread only. Nothing of ours is allocated after stage_new.
 */
#ifndef VMEMDIRECT_PAGER_STAGE_H
#define VMEMDIRECT_PAGER_STAGE_H

#include <stdint.h>

#include "vmemdirect/guest.h"

struct stage;

/* `g` borrowed. Errors are logged. */
int stage_new(const struct guest *g, struct stage **ret);
void stage_free(struct stage *s); /* NULL is fine; unmaps first */

/* As uffd_copy, by page number; who waits for these pages in the VM is not woken. */
int stage_copy(struct stage *s, uint64_t pfn, const void *from, uint64_t len_bytes,
	       uint64_t *ret_done);

/* None of the pages is mapped here any more. -errno: no stage any more, stage_copy gives
 * -EOPNOTSUPP from now on (logged). */
int stage_unmap(struct stage *s);

#endif
