/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel says of the mount a folder is on. Pure look, any thread. */
#ifndef MEMSERVER_POOL_MOUNT_H
#define MEMSERVER_POOL_MOUNT_H

#include <stdbool.h>
#include <stdint.h>

#define POOL_MOUNT_SOURCE "memserver" /* of the file systems we mount */

struct pool_mount {
	bool is_ours;   /* mounted by a memserver */
	bool is_noswap; /* a tmpfs that never swaps (Linux 6.4) */
};

/* -ENOENT: not found; or what open(2) says. */
int pool_mount_look(const char *path, struct pool_mount *ret);

/* Without entering the folder: its user's rights may be none of ours. */
bool pool_mount_is_tmpfs(const char *path);
bool pool_mount_is_point(const char *path); /* the root of a mount */

/* Sets the size of the tmpfs mounted there; needs SYS_ADMIN. -errno of mount(2). */
int pool_mount_size(const char *path, uint64_t bytes);

/* Reads one line of /proc/self/mountinfo. -EPROTO: it is none. */
int pool_mount_parse(const char *line, unsigned int *ret_major, unsigned int *ret_minor,
		     struct pool_mount *ret);

#endif
