/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket of one paged VM: status, set, detach. Main thread, on its loop.
 */
#ifndef VMEMDIRECT_CTL_H
#define VMEMDIRECT_CTL_H

#include "lib/loop.h"
#include "vmemdirect/vm.h"

struct ctl_server;

/* Listens in the VM's folder. `v` is borrowed until ctl_close. Logged. */
int ctl_open(struct loop *l, struct vm *v, struct ctl_server **ret);
void ctl_close(struct ctl_server *s); /* NULL is fine */

/* All that is known, as a JSON object of the caller's. */
struct json_object *ctl_status(const struct vm *v);

#endif
