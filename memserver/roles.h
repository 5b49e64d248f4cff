/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who may administrate how far, by group: viewers look, operators make and change
 * exports, administrators do all. Root and memserver's own user are administrators.
 * Main thread.
 */
#ifndef MEMSERVER_ROLES_H
#define MEMSERVER_ROLES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lib/ctl_server.h"

/* Names of groups; NULL: none. Borrowed. */
struct roles_cfg {
	const char *group[CTL_ADMIN + 1]; /* by enum ctl_role */
};

struct roles {
	bool by_group; /* false: whoever reaches the control socket may do all */
	gid_t gid[CTL_ADMIN + 1];
	bool has[CTL_ADMIN + 1];
};

/* Looks the groups up. -ENOENT: one is unknown (logged). */
int roles_init(struct roles *r, const struct roles_cfg *cfg);

/* The highest role any of these groups has. */
enum ctl_role roles_of(const struct roles *r, const gid_t *gids, size_t nr);

/* The role of the peer of a unix socket, by what it was at the time of connect. */
enum ctl_role roles_of_peer(const struct roles *r, int fd, const struct ctl_peer *peer);

#endif
