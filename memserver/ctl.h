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

#endif
