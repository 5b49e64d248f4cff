/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control groups (v2) with too little room for what they have swapped out. swapoff(2)
 * brings a page back into the group it belongs to; in one that is full, without other
 * swap, the kernel calls the OOM killer for it (Linux 6.1, mm/memcontrol.c), however much
 * RAM the host has. Any thread, no allocation that outlives a call.
 */
#ifndef CLIENT_CGROUPS_H
#define CLIENT_CGROUPS_H

#include <stdbool.h>
#include <stdint.h>

#define CGROUPS_ROOT "/sys/fs/cgroup"

struct cgroups_short {
	char path[256]; /* below the root: "/system.slice/x.service" */
	uint64_t swapped_bytes, max_bytes, room_bytes;
};

/*
 * The group that lacks most, if one does, when a swap area with `used_bytes` is switched
 * off and others have `elsewhere_bytes` free. `root` is CGROUPS_ROOT, or a test's copy.
 * Groups that vanish meanwhile, and hosts without v2, have none.
 */
bool cgroups_find_short(const char *root, uint64_t used_bytes, uint64_t elsewhere_bytes,
			struct cgroups_short *ret);

#endif
