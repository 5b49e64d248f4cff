/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Groups in, roles out. */
#include "memserver/roles.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/log.h"

#define GROUPS_MAX 1024 /* of one peer that are looked at */

int roles_init(struct roles *r, const struct roles_cfg *cfg)
{
	*r = (struct roles){ 0 };
	for (int role = CTL_VIEWER; role <= CTL_ADMIN; role++) {
		const struct group *g;

		if (!cfg->group[role])
			continue;
		g = getgrnam(cfg->group[role]);
		if (!g) {
			log_err("there is no group '%s' (--%s-group): make it with "
				"groupadd",
				cfg->group[role], ctl_role_names[role]);
			return -ENOENT;
		}
		r->gid[role] = g->gr_gid;
		r->has[role] = r->by_group = true;
	}
	return 0;
}

enum ctl_role roles_of(const struct roles *r, const gid_t *gids, size_t nr)
{
	for (int role = CTL_ADMIN; role > CTL_NOBODY; role--)
		for (size_t i = 0; r->has[role] && i < nr; i++)
			if (gids[i] == r->gid[role])
				return (enum ctl_role)role;
	return CTL_NOBODY;
}

enum ctl_role roles_of_peer(const struct roles *r, int fd, const struct ctl_peer *peer)
{
	gid_t gids[GROUPS_MAX + 1];
	socklen_t len = GROUPS_MAX * sizeof(gids[0]);
	size_t nr = 0;

	if (!r->by_group || peer->uid == 0 || peer->uid == geteuid())
		return CTL_ADMIN;
	if (!getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, gids, &len))
		nr = len / sizeof(gids[0]);
	gids[nr++] = peer->gid;
	return roles_of(r, gids, nr);
}
