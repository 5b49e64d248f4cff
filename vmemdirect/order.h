/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM that is told to stop, and to go on, through QMP. What is wished is said by the
 * main thread, which never waits; an aside (aside.h) brings it to QEMU, which may take
 * its time: a processor that waits for the very page that is lost may hold the lock
 * that its monitor needs.
 *
 * Only a VM that runs is told to stop, and only one that was stopped by us, or is to be
 * started after a hand-over, to go on: one that somebody else has paused, or that waits
 * for a migration, stays as it is. While it is not clear whose the VM is (a hand-over
 * that is neither NONE nor DONE in the journal) it is told nothing, but to start when
 * that has come to COMMITTED.
 *
 * It is told to go on until it runs, however long QEMU is silent; other jobs of the
 * aside come between. What is owed to it stands in the journal, so that a resume knows
 * it: it was told to stop (`stopped`, set before and cleared when it runs again), or was
 * handed over and is to be started (COMMITTED, then DONE).
 */
#ifndef VMEMDIRECT_ORDER_H
#define VMEMDIRECT_ORDER_H

#include <stdatomic.h>
#include <stdbool.h>

#include "vmemdirect/aside.h"
#include "vmemdirect/guest.h"
#include "vmemdirect/pager/page.h"

enum order_state {
	ORDER_NONE,       /* nothing was asked, or what was is over */
	ORDER_STOP_ASKED, /* no answer yet */
	ORDER_STOPPED,    /* by us */
	ORDER_CONT_ASKED, /* it does not run yet */
};

struct order {
	const struct guest *g;       /* borrowed */
	const char *qmp;             /* borrowed; "": no monitor, nothing is done */
	struct page_header *journal; /* borrowed */
	struct aside *aside;         /* borrowed */
	struct aside_job job;
	_Atomic bool stop; /* the wish: main thread */
	_Atomic int state; /* the aside */
	bool complained;   /* the aside: said already */
};

void order_init(struct order *o, const struct guest *g, const char *qmp,
		struct page_header *journal, struct aside *aside);

/* Main thread; may be repeated: a stop that QEMU could not be told is tried again. */
void order_stop(struct order *o);
void order_continue(struct order *o);

/* What the journal says is owed to it, as soon as no stop is wished: of a VM that was
 * handed over, or is resumed. Any thread. */
void order_start(struct order *o);

/* When the aside has ended, of a VM that is left: what it was not told yet is told now.
 * Waits, some attempts long; logs what a human has to do then. */
void order_end(struct order *o);

enum order_state order_state(const struct order *o);

/* For people: "VM stop asked, QEMU has not answered"; "" for ORDER_NONE. */
const char *order_text(const struct order *o);

#endif
