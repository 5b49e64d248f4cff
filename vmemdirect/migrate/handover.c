/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A state and an event in, the next state out: a table. */
#include "vmemdirect/migrate/handover.h"

#include <stddef.h>

static const struct {
	enum handover from;
	enum handover_event event;
	enum handover to;
} table[] = {
	{ HANDOVER_LISTENING, HANDOVER_CONNECTED, HANDOVER_OPENING },
	{ HANDOVER_LISTENING, HANDOVER_BROKEN, HANDOVER_FAILED },
	{ HANDOVER_OPENING, HANDOVER_REFUSED, HANDOVER_LISTENING },
	{ HANDOVER_OPENING, HANDOVER_ACCEPTED, HANDOVER_RECEIVING },
	{ HANDOVER_OPENING, HANDOVER_BROKEN, HANDOVER_FAILED },
	{ HANDOVER_RECEIVING, HANDOVER_COMPLETE, HANDOVER_LOADING },
	{ HANDOVER_RECEIVING, HANDOVER_BROKEN, HANDOVER_FAILED },
	{ HANDOVER_LOADING, HANDOVER_ACKNOWLEDGED, HANDOVER_LOADED },
	{ HANDOVER_LOADING, HANDOVER_BROKEN, HANDOVER_FAILED },
	{ HANDOVER_LOADED, HANDOVER_TELL, HANDOVER_COMMITTING },
	{ HANDOVER_LOADED, HANDOVER_BROKEN, HANDOVER_FAILED },
	{ HANDOVER_COMMITTING, HANDOVER_CONFIRMED, HANDOVER_COMMITTED },
	{ HANDOVER_COMMITTING, HANDOVER_REVOKED, HANDOVER_FAILED },
	{ HANDOVER_COMMITTING, HANDOVER_SILENCE, HANDOVER_UNCLEAR },
	{ HANDOVER_COMMITTED, HANDOVER_STARTED, HANDOVER_DONE },
};

bool handover_move(enum handover *state, enum handover_event event)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].from == *state && table[i].event == event) {
			*state = table[i].to;
			return true;
		}
	return false;
}

bool handover_is_here(enum handover state)
{
	return state == HANDOVER_NONE || state == HANDOVER_COMMITTING ||
	       state == HANDOVER_COMMITTED || state == HANDOVER_DONE ||
	       state == HANDOVER_UNCLEAR;
}

const char *handover_name(enum handover state)
{
	static const char *const names[] = {
		"none",       "listening", "opening", "receiving", "loading", "loaded",
		"committing", "committed", "done",    "failed",    "unclear",
	};

	return names[state];
}
