/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel says of the mount a folder is on. Pure look, any thread. */
#ifndef MEMSERVER_POOL_MOUNT_H
#define MEMSERVER_POOL_MOUNT_H

#include <stdbool.h>

#define POOL_MOUNT_SOURCE "memserver" /* of the file systems we mount */

struct pool_mount {
	bool is_ours;   /* mounted by a memserver */
	bool is_noswap; /* a tmpfs that never swaps (Linux 6.4) */
};

/* -ENOENT: not found; or what open(2) says. */
int pool_mount_look(const char *path, struct pool_mount *ret);

/* Reads one line of /proc/self/mountinfo. -EPROTO: it is none. */
int pool_mount_parse(const char *line, unsigned int *ret_major, unsigned int *ret_minor,
		     struct pool_mount *ret);

#endif
