/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One remote swap device, from the first step of `memswap on` to the last of
 * `memswap off`: what is remembered of it between two runs of memswap. Plain data,
 * no pointers; client/state.h keeps it in /run/memswap.
 */
#ifndef CLIENT_ATTACHMENT_H
#define CLIENT_ATTACHMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "client/url.h"

/*
 * How far it came. The state is written before each step, so a memswap that dies in
 * the middle leaves a phase that is at most one step behind the truth; undoing looks
 * at the kernel, not at the phase, for what there is to undo.
 */
enum phase {
	PHASE_CONNECTING, /* nothing yet, or a kernel device whose name isn't known */
	PHASE_CONNECTED,  /* kdev, canonical and size_bytes are true */
	PHASE_ARMED, /* outages are waited out; a keeper runs where one is needed */
	PHASE_ON,    /* the kernel swaps on it */
	PHASE_OFF,   /* `off` has begun */
};

#define ATTACHMENT_NAME_MAX 255

struct attachment {
	struct url url;
	enum phase phase;
	char uuid[37]; /* of this attachment; new with every `on` */
	char kdev[32]; /* "nbd0", "nvme0n1"; empty: not known yet */
	char canonical[ATTACHMENT_NAME_MAX + 1]; /* what the server calls it */
	uint64_t size_bytes;
	uint8_t swap_uuid[16]; /* of the swap header */
	int priority;
	bool discard;
	int64_t since_s; /* CLOCK_REALTIME */

	/* nvme-tcp */
	char controller[32]; /* "nvme0" */

	/* nbd */
	unsigned int connections, timeout_s;
};

#endif
