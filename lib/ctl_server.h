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
struct tls;

#define CTL_CLIENTS_MAX   32
#define CTL_STUCK_SECONDS 30 /* a reply nobody reads is given up after this */

/* How far somebody may go: each may what those before it may. */
enum ctl_role { CTL_NOBODY, CTL_VIEWER, CTL_OPERATOR, CTL_ADMIN };
extern const char *const ctl_role_names[CTL_ADMIN + 1]; /* "viewer" */

/* Who asks, as the kernel says (SO_PEERCRED, at the time of connect). */
struct ctl_peer {
	pid_t pid;
	uid_t uid;
	gid_t gid;
	enum ctl_role role;
	char text[112]; /* "uid 0 pid 77", for logs */
};

/* One request while its handler runs. */
struct ctl_call {
	struct json_object *req; /* borrowed during the call */
	const char *cmd;
	const struct ctl_peer *peer;
	uint64_t ticket;            /* for ctl_server_answer */
	struct json_object *result; /* the handler's answer; taken over. NULL: null */
	char error[256];            /* ctl_fail writes here */
};

/* 0, or -errno after ctl_fail (without it the text is strerror's), or CTL_LATER: the
 * client waits until ctl_server_answer. */
#define CTL_LATER 1
typedef int (*ctl_fn)(struct ctl_call *call, void *arg);

struct ctl_handler {
	const char *name; /* NULL ends a table */
	ctl_fn fn;
	const char
		*help; /* arguments and purpose, one line; "help" answers with them */
	enum ctl_role role; /* the least that may; CTL_NOBODY: anybody */
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

/*
 * Who may do what, and who is told. `role` is asked once for each client (without it all
 * are administrators), `audit` is called after each request that needed more than a
 * viewer, or was refused for its role. `p` and `arg` are borrowed until the server closes.
 */
struct ctl_policy {
	enum ctl_role (*role)(int fd, const struct ctl_peer *peer, void *arg);
	void (*audit)(const struct ctl_call *call, int r, void *arg);
};
void ctl_server_police(struct ctl_server *s, const struct ctl_policy *p, void *arg);

/* 0, or -EACCES after ctl_fail: the caller is less than `role`. For handlers whose
 * arguments make the difference. */
int ctl_need(struct ctl_call *call, enum ctl_role role);

/*
 * A server without a file to listen at, for clients that are handed over by
 * ctl_server_adopt. They come over TLS as nobody, and have CTL_LOGIN_SECONDS to become
 * somebody. When all places are taken, those who are nobody make room first.
 */
#define CTL_LOGIN_SECONDS 60
int ctl_server_new(struct loop *l, const struct ctl_handler *table, void *arg,
		   struct ctl_server **ret);

/* Takes `fd` over in any case. `text` is who it is, for logs. */
void ctl_server_adopt(struct ctl_server *s, int fd, struct tls *tls, const char *text);

/*
 * Answers the request of that ticket, if its client is still there. `r` and `error` as of a
 * handler; 0 makes the client `role`, under the name of `user`.
 */
void ctl_server_answer(struct ctl_server *s, uint64_t ticket, int r, const char *error,
		       enum ctl_role role, const char *user);

/* Ends every client and removes the socket file. NULL is fine. */
void ctl_server_close(struct ctl_server *s);

#endif
