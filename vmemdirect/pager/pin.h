/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is a page pinned? A disk read with O_DIRECT (or a vhost backend) holds a reference
 * to the page it writes into, taken before we write-protected it: such a page must not
 * be punched, or the data lands in an orphan. No system call tells, so the kernel's
 * struct page is read: a page of ours that nobody holds has exactly one reference for
 * each mapping and one for the page cache,
 *
 *	_refcount == mapcount + 1
 *
 * Other references (a per-CPU LRU batch) only look like pins: those pages are tried
 * again later. Kernel memory is read by a BPF program of sixty-four
 * bpf_probe_read_kernel calls, or from /proc/kcore. Where the memory map lies is found
 * with pages of our own, and then proved: a page with a reference of ours must read as
 * pinned, without it as free.
 *
 * Evictor's thread, but for opening.
 */
#ifndef VMEMDIRECT_PAGER_PIN_H
#define VMEMDIRECT_PAGER_PIN_H

#include <stdbool.h>
#include <stdint.h>

#include "vmemdirect/guest.h"

struct pin;

enum pin_method {
	PIN_AUTO,
	PIN_BPF,
	PIN_KCORE,
	PIN_OFF,
};

/* "auto", "bpf", "kcore", "off"; -EINVAL. */
int pin_parse(const char *text, enum pin_method *ret);

/* Opens a way to look, and proves it. -EOPNOTSUPP: there is none here (or PIN_OFF);
 * why not is logged at info level. */
int pin_open(enum pin_method method, struct pin **ret);
void pin_close(struct pin *p);             /* NULL is fine */
const char *pin_name(const struct pin *p); /* "bpf", "kcore"; NULL gives "off" */

/* The guest whose pages will be asked for; borrowed until pin_close. */
int pin_watch(struct pin *p, const struct guest *g);

/* These pages, ascending, are going to be unmapped in the VM: notes where they lie, so
 * that pin_look need not search. */
void pin_note(struct pin *p, const uint32_t *pfn, unsigned int n);

/* For `n` (at most 256) write-protected pages, ascending: pinned[i]. Pages that cannot
 * be judged count as pinned. */
void pin_look(struct pin *p, const uint32_t *pfn, unsigned int n, bool *pinned);

#endif
