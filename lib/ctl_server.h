/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The serving end of a control socket (lib/ctl.h says what is spoken). Runs on a
 * loop; handlers are called on its thread and answer at once. A client that sends
 * garbage, half a line or nothing, or never reads, costs its own buffers and delays
 * nobody. When all places are taken, the client that was silent longest makes room,
 * so that an administrator always gets in.
 */
#ifndef LIB_CTL_SERVER_H
#define LIB_CTL_SERVER_H

#include <sys/types.h>

#include "lib/ctl.h"

struct loop;
struct ctl_server;

#define CTL_CLIENTS_MAX   32
#define CTL_STUCK_SECONDS 30 /* a reply nobody reads is given up after this */

/* Who asks, as the kernel says (SO_PEERCRED, at the time of connect). */
struct ctl_peer {
	pid_t pid;
	uid_t uid;
	gid_t gid;
	char text[48]; /* "uid 0 pid 77", for logs */
};

/* One request while its handler runs. */
struct ctl_call {
	struct json_object *req; /* borrowed during the call */
	const char *cmd;
	const struct ctl_peer *peer;
	struct json_object *result; /* the handler's answer; taken over. NULL: null */
	char error[256];            /* ctl_fail writes here */
};

/* 0, or -errno after ctl_fail (without it the text is strerror's). */
typedef int (*ctl_fn)(struct ctl_call *call, void *arg);

struct ctl_handler {
	const char *name; /* NULL ends a table */
	ctl_fn fn;
	const char
		*help; /* arguments and purpose, one line; "help" answers with them */
};

/* Says why the request is refused: `return ctl_fail(call, ENOENT, "no export %s", n);`
 * Returns -error. */
int ctl_fail(struct ctl_call *call, int error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Listens at `path`, mode 0660, making the folder above if it is missing. The file of
 * a server that died is replaced, that of a living one never: -EADDRINUSE. -EPERM:
 * the folder belongs to somebody else. -ENAMETOOLONG, or what bind(2) and open(2)
 * say; not logged. `table` and `arg` are borrowed until ctl_server_close.
 */
int ctl_server_open(struct loop *l, const char *path, const struct ctl_handler *table,
		    void *arg, struct ctl_server **ret);

/* Ends every client and removes the socket file. NULL is fine. */
void ctl_server_close(struct ctl_server *s);

#endif
