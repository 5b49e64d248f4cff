/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Administration: the commands of the control socket (docs and memctl(1) list them).
 * Runs on the main thread's loop; every change is logged with who asked for it.
 */
#ifndef MEMSERVER_CTL_H
#define MEMSERVER_CTL_H

struct server;

/* Listens at cfg.control_path. Says why not, with the remedy, and returns -errno. */
int ctl_start(struct server *s);
void ctl_stop(struct server *s); /* fine when not started */

/* Reads the files of secrets, keys and lists again, for `who`. On an error the one it is
 * about stays as it was, and `why` (TLS_ERROR_MAX bytes) says what it is. */
int ctl_reload(struct server *s, const char *who, char *why);

#endif
