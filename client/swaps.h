/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's table of swap areas (/proc/swaps), and the two system calls that
 * change it. Main thread.
 */
#ifndef CLIENT_SWAPS_H
#define CLIENT_SWAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct swaps_entry {
	char path[256]; /* as the kernel prints it, escapes undone */
	uint64_t size_bytes, used_bytes;
	int priority;
};

#define SWAPS_MAX 32 /* more than the kernel's MAX_SWAPFILES */

struct swaps {
	size_t nr;
	struct swaps_entry entry[SWAPS_MAX];
};

/* Pure: `text` is the content of /proc/swaps. Lines it can't read are left out. */
void swaps_parse(const char *text, struct swaps *ret);

/* Reads the table as it is now. 0 or -errno. */
int swaps_read(struct swaps *ret);

/* The entry of /dev/KDEV, also when the device has been removed, or NULL. */
const struct swaps_entry *swaps_find(const struct swaps *s, const char *kdev);

/*
 * Bytes of this area that are nowhere in memory, at most: what switching it off needs
 * room for. A page that was read back keeps its place in the area; the kernel counts
 * such pages (SwapCached) for all areas together.
 */
uint64_t swaps_not_in_memory(const struct swaps *s, const struct swaps_entry *e,
			     uint64_t swap_cached_bytes);

/* A priority above every present one, at least 1. */
int swaps_next_priority(const struct swaps *s);

/* swapon(2) with this priority, discarding freed pages too if `discard`. */
int swaps_on(const char *path, int priority, bool discard);

/*
 * swapoff(2) in a child, so that it can be watched, interrupted, and survived when
 * the kernel's OOM killer picks it. `tick` (may be NULL) is called about once a second
 * while it lasts. SIGINT or SIGTERM end it: -EINTR. -ENOMEM: no room; -EINVAL: it
 * isn't on.
 */
int swaps_off(const char *path, void (*tick)(void *arg), void *arg);

/*
 * Waits until /dev/KDEV is no longer in the table: somebody else's swapoff(2) is at
 * work on it. 0, -EINTR by SIGINT or SIGTERM, or -errno.
 */
int swaps_wait_gone(const char *kdev, void (*tick)(void *arg), void *arg);

#endif
