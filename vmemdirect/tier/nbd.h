/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One export of an NBD server as a tier: page N at byte N * 4096, page 0 its label
 * (nbd_export.h). Every queue has a connection of its own, made when there is something
 * to do and made again whenever it is lost, for ever.
 *
 * It is honest rather than patient. What a request ends with, beside 0 and what the
 * server itself answered (-EIO, -ENOSPC, ...):
 *	-ENOTCONN   never sent: there is no connection, one attempt was made; or a write
 *	            or trim, and the label has not been read since the last loss
 *	-ECONNRESET sent, the server closed the connection: it has done it or never will
 *	-ETIMEDOUT  sent, no answer for NBD_SILENT_MS, so we closed: a server that was
 *	            only stopped may still do it, even after what is sent later
 *
 * A connection that ends, with the process or before, is reset: nothing of ours is sent
 * any more. So what may still be done is what the server's host had by then.
 */
#ifndef VMEMDIRECT_TIER_NBD_H
#define VMEMDIRECT_TIER_NBD_H

#include <stdbool.h>
#include <stdint.h>

#include "vmemdirect/tier/nbd_export.h"
#include "vmemdirect/tier/tier.h"

#define NBD_SILENT_MS 3000

enum nbd_state {
	NBD_UP,
	NBD_DOWN, /* no connection, none that answers, or the label was not read yet */
	NBD_REBORN, /* it answers, but is not the one that has our pages */
};

/* Any thread, of a tier of this kind. */
enum nbd_state nbd_tier_state(const struct tier *t);
const char *nbd_tier_state_name(const struct tier *t);
uint64_t nbd_tier_losses(const struct tier *t); /* of connections, since the open */
const struct nbd_export *nbd_tier_export(const struct tier *t);

/* What the label's reader has found; with it an export that was down is up again. */
void nbd_tier_label(struct tier *t, bool ours);

#endif
