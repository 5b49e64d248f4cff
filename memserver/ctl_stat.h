/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The commands that only look: list, stat, who. Part of ctl, main thread.
 */
#ifndef MEMSERVER_CTL_STAT_H
#define MEMSERVER_CTL_STAT_H

struct ctl_call;

/* Handlers as lib/ctl_server.h has them; `arg` is the struct server. */
int ctl_list(struct ctl_call *call, void *arg);
int ctl_stat(struct ctl_call *call, void *arg);
int ctl_who(struct ctl_call *call, void *arg);

#endif
