/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The audit log: who, from where, what, and what came of it; a line of JSON for each
 * login, each change and each refusal. Passwords are never in it. Main thread; it may
 * wait for the disk or for journald, which no client's I/O does. (Not called audit: libaudit, which libpam
 * brings along, has functions of those names, and would call ours.)
 */
#ifndef MEMSERVER_TRAIL_H
#define MEMSERVER_TRAIL_H

#include "lib/ctl_server.h"

struct trail;

#define TRAIL_JOURNAL "journal"

/*
 * Appends to `path` (borrowed for ever), made with mode 0600; TRAIL_JOURNAL: to systemd's
 * journal, the line in the field MEMSERVER_AUDIT. NULL: no log, and *ret is NULL. Errors
 * are logged.
 */
int trail_open(const char *path, struct trail **ret);
void trail_close(struct trail *a); /* NULL is fine, here and below */

/* After logrotate has moved it: goes on in `fd`, or (-1) opens its path. Keeps the old file
 * on an error, which is logged. */
void trail_reopen(struct trail *a, int fd);

/* What a request came to; `r` as its handler returned it. */
void trail_call(struct trail *a, const struct ctl_call *call, int r);

#endif
