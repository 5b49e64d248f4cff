/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Administration from other hosts: the commands of the control socket over TLS, for users
 * who log in first (login.h). Main thread.
 */
#ifndef MEMSERVER_CTL_REMOTE_H
#define MEMSERVER_CTL_REMOTE_H

#include "lib/ctl_server.h"

struct remote;
struct server;

/* With --remote only. Says why not. `table` and `policy` are borrowed until the end. */
int ctl_remote_start(struct server *s, const struct ctl_handler *table,
		     const struct ctl_policy *policy);
void ctl_remote_stop(struct server *s);

/* Takes the certificate and its key anew; `why` has TLS_ERROR_MAX bytes. */
int ctl_remote_reload(struct server *s, char *why);

/* The command "login": user, password. */
int ctl_login(struct ctl_call *call, void *arg);

#endif
