/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The audit log: who, from where, what, and what came of it; a line of JSON for each
 * login, each change and each refusal. Passwords are never in it. Main thread; it may
 * wait for the disk, which no client's I/O does.
 */
#ifndef MEMSERVER_AUDIT_H
#define MEMSERVER_AUDIT_H

#include "lib/ctl_server.h"

struct audit;

/* Appends to `path` (borrowed for ever), made with mode 0600. NULL: no log, and *ret is
 * NULL. Errors are logged. */
int audit_open(const char *path, struct audit **ret);
void audit_close(struct audit *a); /* NULL is fine, here and below */

/* After logrotate has moved it. Keeps the old file on an error, which is logged. */
void audit_reopen(struct audit *a);

/* What a request came to; `r` as its handler returned it. */
void audit_call(struct audit *a, const struct ctl_call *call, int r);

#endif
