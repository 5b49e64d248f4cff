/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The receiver's end (wire.h): a port where one watcher of the VM's source waits until
 * the migration begins and is then asked for its history. Nothing that is said here,
 * or not said, can hurt the migration: whatever is wrong is logged as a warning, and
 * there is no history then.
 *
 * A thread of its own welcomes watchers; inbox_take is the router's, the others main's.
 */
#ifndef VMEMDIRECT_HISTORY_INBOX_H
#define VMEMDIRECT_HISTORY_INBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "vmemdirect/guest.h"
#include "vmemdirect/history/wire.h"

struct inbox;

struct inbox_cfg {
	int listen_fd; /* given away when inbox_open succeeds */
	/* The source's name of block i; NULL: the same. Borrowed. */
	const char *source_name[GUEST_BLOCKS_MAX];
	uint8_t uuid[HISTORY_UUID_BYTES]; /* zeros: not known */
};

/* `g` is borrowed until inbox_close. */
int inbox_open(const struct inbox_cfg *cfg, const struct guest *g, struct inbox **ret);

/* A watcher of the right VM is here. */
bool inbox_has_watcher(struct inbox *in);

/*
 * Asks for the history, once: *ret_ages (the caller's, free) is a byte for each page of
 * the guest, *ret_samples how many looks are behind them. Waits while it comes, at
 * most fifteen seconds for the next byte and a minute for all. -ENOENT: nobody is
 * there; else -errno. All but success are logged. Welcomes nobody any more.
 */
int inbox_take(struct inbox *in, uint8_t **ret_ages, uint32_t *ret_samples);

/* Breaks an inbox_take off. */
void inbox_cancel(struct inbox *in);

void inbox_close(struct inbox *in); /* NULL is fine; nobody is in inbox_take */

#endif
