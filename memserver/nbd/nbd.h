/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an NBD connection is, shared by negotiate.c and transmit.c. Everything runs on
 * the connection's worker. Source of the protocol: NetworkBlockDevice/nbd,
 * doc/proto.md.
 */
#ifndef MEMSERVER_NBD_NBD_H
#define MEMSERVER_NBD_NBD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/proto/nbd.h"
#include "memserver/conn.h"
#include "memserver/export.h"

/* Requests under way at once; a client that pipelines more waits in its socket. */
#define NBD_SLOTS             128
#define NBD_EXTENTS           16 /* of one BLOCK_STATUS reply; the client asks on */
#define NBD_CONTEXT_ID        1  /* base:allocation, the only one */
#define NBD_OPTION_MAX        (8u << 10)
#define NBD_HANDSHAKE_REPLIES 64 /* queued at a time, and they are small */

enum nbd_phase { NBD_WAIT_FLAGS, NBD_OPTIONS, NBD_TRANSMISSION };

/* One request: its answer, and what it holds until that is sent. */
struct nbd_slot {
	struct conn_tx tx; /* first: the engine gives it back */
	struct nbd_slot *next_free;
	uint64_t cookie;
	uint64_t grip_len; /* 0: nothing gripped; else at tx.offset */
	int verdict;       /* of a write whose payload is still arriving */
	uint8_t head[48];  /* any reply's fixed part */
	uint8_t extents[4 + 8 * NBD_EXTENTS];
};

/* A TRIM or WRITE_ZEROES being done slice by slice. */
struct nbd_long {
	struct nbd_slot *slot; /* NULL: none */
	uint64_t offset, left;
	bool must_zero, keep; /* keep: NBD_CMD_FLAG_NO_HOLE */
};

struct nbd_conn {
	enum nbd_phase phase;
	bool no_zeroes; /* the client asked to leave out the 124 bytes */
	bool structured;
	bool told_tls;   /* it was logged that it does not encrypt */
	bool asked_size; /* it knows our minimum block size and must keep to it */
	bool context;    /* base:allocation is selected for context_name */
	char context_name[EXPORT_NAME_MAX + 16];
	unsigned int replies;  /* handshake replies not sent yet */
	struct export *export; /* owned reference and attachment, in transmission */
	struct nbd_slot *free;
	struct nbd_slot *writing; /* its payload is arriving */
	struct nbd_long work;
	struct nbd_slot slots[NBD_SLOTS];
};

/* negotiate.c: one message of the handshake; as front->receive. */
ssize_t nbd_negotiate(struct conn *c, const uint8_t *data, size_t len);
int nbd_greet(struct conn *c);

/* transmit.c: one request; as front->receive, sunk, work. */
ssize_t nbd_request_take(struct conn *c, const uint8_t *data, size_t len);
int nbd_payload_done(struct conn *c);
int nbd_work(struct conn *c);

/* The export is chosen: slots are made ready, requests may come. */
void nbd_enter_transmission(struct conn *c, struct export *e);

#endif
