/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The watcher's end of the connection (wire.h): keeps trying to reach a receiver, says
 * hello, and hands the ages over when it is asked. On the caller's loop and thread;
 * only the handing over blocks, for as long as the receiver takes bytes (it gives up
 * after fifteen seconds of none). What changes is logged, once.
 */
#ifndef VMEMDIRECT_HISTORY_SENDER_H
#define VMEMDIRECT_HISTORY_SENDER_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/addr.h"
#include "lib/loop.h"
#include "vmemdirect/history/wire.h"

struct sender;

struct sender_cfg {
	struct addr to;
	const struct guest *guest; /* borrowed */
	struct history_hello hello;
	/* The ages as they are now, a byte for each page, and how many looks are behind
	 * them; borrowed until it returns to the loop. */
	const uint8_t *(*ages)(void *arg, uint32_t *ret_samples);
	void *arg;
};

int sender_open(const struct sender_cfg *cfg, struct loop *l, struct sender **ret);
void sender_close(struct sender *s); /* NULL is fine */

/* Somebody wants something: back to the loop. Costs a system call. */
bool sender_wanted(const struct sender *s);

#endif
