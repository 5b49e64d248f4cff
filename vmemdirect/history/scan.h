/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who touched what, in a VM that nobody pages: all mapped pages are taken out of its
 * page table (pageout.h), and a while later /proc/PID/pagemap tells which are back.
 * A touch costs the VM one minor fault of the kernel's (0.9 us); a page that is not
 * touched costs nothing more, so a round costs what was touched since the last.
 *
 * Exact to the page for writes, and for all a KVM guest does (its reads come as write
 * faults). Other reads, those of a guest without KVM, map up to 64 KiB around (the
 * kernel's fault-around), which then counts as touched too.
 *
 * The caller sees to it that the host cannot swap the VM. One thread; nothing
 * allocates after scan_new: a byte and a bit for each page.
 */
#ifndef VMEMDIRECT_HISTORY_SCAN_H
#define VMEMDIRECT_HISTORY_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "vmemdirect/guest.h"

struct scan;

/* Asked every few milliseconds of a round; true: break it off (-ECANCELED). */
typedef bool (*scan_stop_fn)(void *arg);

int scan_new(const struct guest *g, struct scan **ret); /* `g` borrowed */
void scan_free(struct scan *s);                         /* NULL is fine */

/* Looks which pages are mapped. 0, -ECANCELED, -ESRCH (it has ended), -errno. */
int scan_look(struct scan *s, scan_stop_fn stop, void *arg);

/* What was seen becomes part of the ages: only if all was forgotten before. */
void scan_count(struct scan *s);

/* Unmaps what was seen mapped. As scan_look; -EINVAL: the memory is locked. */
int scan_forget(struct scan *s, scan_stop_fn stop, void *arg);

/* A byte for each page (threshold.h); borrowed, valid until the next scan_count. */
const uint8_t *scan_ages(const struct scan *s);

uint32_t scan_samples(const struct scan *s); /* looks that were counted */
uint64_t scan_seen(const struct scan *s);    /* pages of the last look */

#endif
