/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one kernel setting that network swap depends on: vm.min_free_kbytes.
 *
 * To write a page out, the guest must send it, and to learn that it has arrived it
 * must receive: both take memory when there is none. The kernel's default on a small
 * guest (1.5 MB at 192 MB of RAM) is less than what the sockets and the network card's
 * receive ring can take at once. The value is raised when the first device comes,
 * never lowered, and put back when the last one goes, unless somebody else has changed
 * it meanwhile.
 *
 * vm.swappiness and vm.page-cluster are left alone: they trade throughput against
 * latency, nothing breaks with either choice, and an administrator who set them meant
 * it.
 */
#ifndef CLIENT_TUNE_H
#define CLIENT_TUNE_H

#include <stdint.h>

/* Pure: what vm.min_free_kbytes should be at least on a machine with this RAM. */
uint64_t tune_min_free_kb(uint64_t ram_kb);

/*
 * Raises it, remembering what was there in the state folder. `want_kb` 0: the rule
 * above. A failure is a warning, said here: swap works without, most of the time.
 */
void tune_raise(uint64_t want_kb);

/* Puts back what tune_raise found. */
void tune_restore(void);

#endif
