/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose VM is it? The states of a migration that comes in, and what may follow what.
 * Pure; the router makes one move at a time.
 *
 *	state      who may run  what has happened
 *	LISTENING  source       nothing
 *	OPENING    source       a source is connected, its stream may be refused
 *	RECEIVING  source       memory comes in; the destination is connected
 *	LOADING    source (*)   memory is complete, the device state is on its way
 *	LOADED     source       the destination has loaded all of it, and is paused
 *	COMMITTING one of both  the source is being told: from here it may give up
 *	COMMITTED  destination  the source has given up; it is started here
 *	DONE       destination  it runs (or stays paused, as it was)
 *	FAILED     source       the destination must never run
 *	UNCLEAR    one of both  the source can't be asked: it stays paused here
 *
 * (*) The source has stopped its VM and starts it again when its connection ends
 * without the word that all was loaded. The destination was told beforehand not to
 * start by itself (QMP "stop" while it waits), so that loading does not run it.
 *
 * So before COMMITTING every end, a kill of this process included, leaves the VM with
 * the source; from COMMITTED on with the destination; and in between only the source
 * knows: it is asked, or its connection's orderly end is taken for the answer. It is
 * COMMITTED for as long as the destination was not seen to run: whoever finds that in a
 * journal starts it.
 */
#ifndef VMEMDIRECT_MIGRATE_HANDOVER_H
#define VMEMDIRECT_MIGRATE_HANDOVER_H

#include <stdbool.h>

enum handover {
	HANDOVER_NONE, /* no migration: an ordinary attach */
	HANDOVER_LISTENING,
	HANDOVER_OPENING,
	HANDOVER_RECEIVING,
	HANDOVER_LOADING,
	HANDOVER_LOADED,
	HANDOVER_COMMITTING,
	HANDOVER_COMMITTED,
	HANDOVER_DONE,
	HANDOVER_FAILED,
	HANDOVER_UNCLEAR,
};

enum handover_event {
	HANDOVER_CONNECTED,    /* by a source */
	HANDOVER_REFUSED,      /* the source's stream, before anything was forwarded */
	HANDOVER_ACCEPTED,     /* its list of blocks fits; the destination is open */
	HANDOVER_COMPLETE,     /* all memory is in place */
	HANDOVER_ACKNOWLEDGED, /* by the destination */
	HANDOVER_TELL,         /* the source, now */
	HANDOVER_CONFIRMED,    /* by the source: it has given up */
	HANDOVER_REVOKED,      /* by the source: it has not */
	HANDOVER_SILENCE,      /* of the source */
	HANDOVER_STARTED,      /* the destination */
	HANDOVER_BROKEN,       /* a connection, or anything else that went wrong */
};

/* False: this cannot happen in this state; *state is as it was. */
bool handover_move(enum handover *state, enum handover_event event);

/* May this host's VM run, as far as is known (a state found in a journal)? */
bool handover_is_here(enum handover state);

const char *handover_name(enum handover state);

#endif
