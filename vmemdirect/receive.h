/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `vmemdirect receive`: vm.h and migrate/ put together. Attaches to a QEMU that waits
 * with -incoming defer, lets the router take the source's stream in, and hands over to
 * the pager. Main thread, but for what the router calls. Logged here or below, once.
 */
#ifndef VMEMDIRECT_RECEIVE_H
#define VMEMDIRECT_RECEIVE_H

#include <stdbool.h>

#include "lib/loop.h"
#include "vmemdirect/config.h"
#include "vmemdirect/vm.h"

struct receive;
struct json_object;

/* `here`: the VM is this host's (or may be: then it is paused), and is paged. */
typedef void (*receive_end_fn)(void *arg, bool here);

/* Opens `v` and listens. `end` is called once, on the loop. */
int receive_open(const struct config *cfg, struct loop *l, struct vm *v,
		 receive_end_fn end, void *arg, struct receive **ret);

/* Breaks off if the source still has the VM. */
void receive_stop(struct receive *r);

/* The destination QEMU has ended. */
void receive_destination_gone(struct receive *r);

/* The migration has succeeded. */
bool receive_done(const struct receive *r);

/* Waits for the router's end. NULL is fine. Before vm_close. */
void receive_close(struct receive *r);

/* How far it is and what went where, as a JSON object of the caller's. */
struct json_object *receive_status(const struct receive *r);

/* After `attach --resume` of a VM that was being handed over when its vmemdirect was
 * killed: brings that to its end, or says why it cannot. */
void receive_resume(struct vm *v);

#endif
