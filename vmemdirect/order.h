/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM that is told to stop, and to go on, through QMP. What is wished is said by the
 * main thread, which never waits; an aside (aside.h) brings it to QEMU, which may take
 * its time: a processor that waits for the very page that is lost may hold the lock
 * that its monitor needs.
 */
#ifndef VMEMDIRECT_ORDER_H
#define VMEMDIRECT_ORDER_H

#include <stdatomic.h>
#include <stdbool.h>

#include "vmemdirect/aside.h"
#include "vmemdirect/guest.h"

enum order_state {
	ORDER_NONE,       /* nothing was asked, or what was is over */
	ORDER_STOP_ASKED, /* no answer yet */
	ORDER_STOPPED,
	ORDER_CONT_ASKED, /* it does not run yet */
};

struct order {
	const struct guest *g; /* borrowed */
	const char *qmp;       /* borrowed; "": there is no monitor, nothing is done */
	struct aside *aside;   /* borrowed */
	struct aside_job job;
	_Atomic bool stop;         /* the wish: main thread */
	_Atomic int state;         /* the aside */
	bool may_hold, complained; /* the aside: a "stop" has been sent; said already */
};

void order_init(struct order *o, const struct guest *g, const char *qmp,
		struct aside *aside);

/* Main thread; may be repeated: a stop that QEMU could not be told is tried again. */
void order_stop(struct order *o);
void order_continue(struct order *o);

enum order_state order_state(const struct order *o);

/* For people: "VM stop asked, QEMU has not answered"; "" for ORDER_NONE. */
const char *order_text(const struct order *o);

#endif
