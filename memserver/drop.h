/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose rights memserver serves with. Started by root it takes what only root may take
 * (ports, the pool's mount, files of keys), then becomes a user without any right and
 * can't come back; what needs rights afterwards is asked of the helper (helper.h).
 * Main thread, before any other is started.
 */
#ifndef MEMSERVER_DROP_H
#define MEMSERVER_DROP_H

#include <stdbool.h>
#include <sys/types.h>

#define DROP_USER "memserver" /* by default, where root starts it and it exists */

struct drop {
	bool wanted; /* false: it stays who it is */
	bool locks;  /* it keeps CAP_IPC_LOCK: see drop_memory_limit */
	uid_t uid;
	gid_t gid;
	char name[33];
};

/*
 * `user` is what --user says: a name, "root" to stay root, NULL for the default. Root
 * without that default stays root and is warned. -ENOENT: no such user; -EPERM: only root
 * can become somebody else. Errors are logged.
 */
int drop_choose(const char *user, struct drop *ret);

/*
 * Locking memory is limited (RLIMIT_MEMLOCK) for who has no right to it: takes the limit away,
 * or has CAP_IPC_LOCK kept where that is not allowed either (containers without SYS_RESOURCE).
 */
void drop_memory_limit(struct drop *d);

/* For the time being, files are made and opened as the user; drop_resume takes that back. */
int drop_pause(const struct drop *d);
int drop_resume(const struct drop *d);

/*
 * For good: user, group and no other groups, no capability (but IPC_LOCK, see above), no new privileges by any exec,
 * no debugger and no core file of another process of that user. Not wanted: only no new
 * privileges. -errno, logged: then nothing may be served.
 */
int drop_rights(const struct drop *d);

/* Of all capabilities those of the list stay possible (bounding set) and in force. */
int drop_capabilities(const int *keep, size_t nr);

#endif
