/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Logins of remote administrators by PAM (service "memserver"). Each is asked in a process
 * of its own that lives for that question only: a module that hangs is killed after
 * LOGIN_SECONDS, one that crashes takes nobody with it. A source that failed LOGIN_FREE
 * times must wait, longer each time, and is refused meanwhile without asking PAM; nobody
 * else waits. Main thread; nothing here blocks.
 */
#ifndef MEMSERVER_LOGIN_H
#define MEMSERVER_LOGIN_H

#include <stdint.h>
#include <sys/types.h>

#include "memserver/roles.h"

struct logins;
struct loop;

#define LOGIN_SECONDS   10
#define LOGINS_MAX      8   /* at a time, one for each source */
#define LOGIN_FREE      5   /* failures of a source before it must wait */
#define LOGIN_WAIT_MAX  60  /* seconds */
#define LOGIN_TEXT_MAX  200 /* of a user, a password, and what is said */
#define LOGIN_SERVICE   "memserver"
#define LOGIN_CHILD_ARG "--pam-login" /* memserver runs itself with it */

struct login_stats {
	_Atomic uint64_t good, failed, timed_out, limited;
};

/*
 * `done` tells what came of the login of `ticket`: r 0 and its role, or -EACCES,
 * -ETIMEDOUT and `why`.
 */
typedef void (*login_done_fn)(void *arg, uint64_t ticket, const char *user, int r,
			      enum ctl_role role, const char *why);

/* Has login_spawn called by somebody who may ask PAM, and who ends what hangs. */
typedef int (*login_spawn_fn)(void *arg, int in, int out);

/* `roles` is borrowed. */
int logins_new(struct loop *l, const struct roles_cfg *roles, login_done_fn done,
	       void *arg, login_spawn_fn spawn, void *spawn_arg, struct logins **ret);
void logins_free(struct logins *ls); /* those under way get no answer; NULL is fine */

/*
 * Begins. `source` is an address without its port. -EAGAIN: the source must wait (`why`,
 * LOGIN_TEXT_MAX bytes, says how long), or too many are under way; -EINVAL: too long.
 */
int login_begin(struct logins *ls, uint64_t ticket, const char *source,
		const char *user, const char *password, char *why);

const struct login_stats *logins_stats(const struct logins *ls);

/* Starts the process; `in` and `out` stay the caller's. Whoever calls waits for it. */
int login_spawn(int in, int out, pid_t *ret);

/* What the process does: reads the question from 0, asks PAM, writes the answer to 1.
 * The exit status. */
int login_child(void);

#endif
