/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the router share: router.c takes the source's stream in,
 * router_return.c has both return paths and the hand-over. All of it is the router's
 * thread, but for what struct router says. Not for other rooms.
 */
#ifndef VMEMDIRECT_MIGRATE_ROUTER_PRIV_H
#define VMEMDIRECT_MIGRATE_ROUTER_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "vmemdirect/migrate/router.h"
#include "vmemdirect/migrate/stream.h"

#define ROUTER_ANSWER_MAX 512 /* of a message on a return path */

enum { /* return path messages: QEMU's enum mig_rp_message_type */
       RP_SHUT = 1,
       RP_PONG = 2,
       RP_SWITCHOVER_ACK = 7,
};

struct router {
	struct router_cfg cfg;
	const struct guest *g;
	struct page_table *t;
	struct tier *tier;
	pthread_t thread;
	bool has_thread;
	int event_fd; /* owned */

	/* The router's thread writes, under the lock where router_stop looks. */
	pthread_mutex_t lock;
	int source, destination; /* owned, or -1 */
	bool stop;

	_Atomic enum handover state;
	struct stream stream;
	const struct guest_block
		*managed[STREAM_BLOCKS_MAX]; /* by the stream's index */
	_Atomic(struct place *) place;       /* owned */
	/* Owned. While one half of `both` is received and parsed, the pages of the
	 * other go to RAM: half_ticket says when they are there. */
	uint8_t *both, *in, *out, *tail; /* `in` is one half, borrowed */
	uint64_t half_ticket[2];
	size_t in_len, out_len, tail_len, tail_size;
	uint8_t answer[ROUTER_ANSWER_MAX + 4];
	size_t answer_len;
	bool acknowledged;
	bool start; /* it ran at the source, and nobody else starts it */
	char why[320];

	_Atomic uint64_t received, forwarded, began_ns, complete_ns, loaded_ns;
};

/* ---- router.c ---- */

enum handover router_state(const struct router *r);
void router_move(struct router *r, enum handover_event event);

/* Remembers the first reason; -EPROTO. */
int router_broken(struct router *r, const char *why);

/* All of it or -errno. */
int router_send(int fd, const uint8_t *p, size_t len);

/* ---- router_return.c ---- */

/* To the source. 0 or -EPROTO, as router_broken. */
int router_answer(struct router *r, uint16_t type, uint32_t value);

/* What the destination has to say. The same. */
int router_read_destination(struct router *r);

/* The destination has acknowledged: from there to the end, whichever. */
void router_hand_over(struct router *r);

#endif
