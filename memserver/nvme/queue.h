/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One NVMe queue: one TCP connection, from ICReq to its end. queue.c takes its PDUs
 * apart, req.c answers, fabrics.c, admin.c and io.c carry out the commands.
 * Everything here is called on the connection's worker.
 */
#ifndef MEMSERVER_NVME_QUEUE_H
#define MEMSERVER_NVME_QUEUE_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "memserver/conn.h"
#include "memserver/nvme/ctrl.h"
#include "memserver/nvme/pdu.h"
#include "memserver/nvme/req.h"

#define NVME_QUEUE_STATES(X)                     \
	X(INIT, "awaiting ICReq")                \
	X(PDU, "awaiting a PDU")                 \
	X(DATA, "taking data")                   \
	X(DIGEST, "awaiting the digest of data") \
	X(END, "ending")

#define X(name, text) NVME_QUEUE_##name,
enum nvme_queue_state { NVME_QUEUE_STATES(X) NVME_QUEUE_STATE_NR };
#undef X

/* A bounce for what is looked at instead of stored: a DSM list, Compare's chunks. */
#define NVME_BOUNCE 4096u

struct nvme_login;

struct nvme_queue {
	struct conn *c;
	enum nvme_queue_state state;
	bool only_discovery; /* this door serves nothing else */
	bool flow;           /* submission queue flow control: SQHD counts */
	bool authed;         /* the host has proved itself, or need not */
	bool must_concat;    /* to be served it has to come over TLS (concat.h) */
	bool concatenated;   /* it has a key for that; nothing else is done here */
	struct nvme_link link;
	struct nvme_limits limits;
	struct nvme_ctrl *ctrl; /* our reference; NULL before Connect */
	/* Borrowed from ctrl, attached by us; NULL: discovery, or not authed yet. */
	struct export *export;
	struct nvme_login *login;  /* owned; NULL: none under way */
	struct nvme_req *auth_req; /* held: an Authentication Receive */
	uint32_t nsid;
	uint16_t qid, size, sqhd;

	uint32_t unsent_bytes; /* of requests' own buffers, in answers not yet sent */
	struct nvme_req *reqs; /* owned: `size` of them from Connect on */
	struct nvme_req *free;

	/* The PDU whose data is arriving. */
	struct nvme_req *rx_req; /* NULL: it goes nowhere, the answer is given */
	uint32_t rx_left, rx_chunk, rx_crc;
	bool rx_ddgst;
	uint8_t *bounce; /* owned, NVME_BOUNCE bytes; the job's while there is one */

	/* A trim cut into slices; no further message is taken until it is done. */
	struct nvme_req *job;
	uint32_t job_at, job_len;      /* bytes of the range list in the bounce */
	uint64_t job_offset, job_left; /* bytes of the range in work */

	uint64_t seen_ns, tick_ns, concat_ns;
	struct nvme_req *held[NVME_MAX_AER]; /* oldest first */
	unsigned int nr_held;

	struct nvme_req connect;       /* the request used before there are any */
	struct conn_tx ic_tx, term_tx; /* both may be queued, each once */
	uint8_t icresp[sizeof(struct nvme_icresp)], term[NVME_TERM_MAX];
};

#endif
