/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The requests of a queue: all allocated at Connect, taken as commands come, given back
 * when their answer is in the socket. And the answers. On the connection's worker; but
 * for nvme_req_alloc nothing here allocates.
 */
#ifndef MEMSERVER_NVME_REQ_H
#define MEMSERVER_NVME_REQ_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "memserver/conn.h"
#include "memserver/nvme/pdu.h"

struct nvme_queue;

/*
 * How a request lives:
 *   FREE  -> TAKEN  a command came
 *   TAKEN -> DATA   its data is awaited, in the capsule or by R2T
 *   DATA  -> SENT   all of it is there, and the answer is queued
 *   TAKEN -> SENT   no data is needed, or wanted
 *   TAKEN -> HELD   an asynchronous event request without an event
 *   HELD  -> SENT
 *   SENT  -> FREE   its last byte is in the socket
 */
enum nvme_req_state {
	NVME_REQ_FREE,
	NVME_REQ_TAKEN,
	NVME_REQ_DATA,
	NVME_REQ_HELD,
	NVME_REQ_SENT,
};

struct nvme_req {
	struct conn_tx tx; /* first: conn gives it back */
	struct nvme_req *next_free;
	uint64_t offset;     /* of the export, bytes */
	uint64_t arrived_ns; /* while the transmit is lent to an R2T */
	uint8_t *dst;        /* where a write's data goes: the mapping, gripped */
	void *buf;           /* owned: an admin reply's data */
	uint32_t len;        /* bytes of data of the command */
	uint32_t got;        /* of them, received */
	uint16_t cid, status;
	uint8_t opcode;
	uint8_t state;     /* enum nvme_req_state */
	bool gripped;      /* [offset, offset + len) */
	bool r2t_sent;     /* H2CData may come */
	uint8_t carry_len; /* DSM: bytes of a range cut by the end of a PDU */
	uint16_t ranges;   /* DSM: still to come */
	uint8_t carry[sizeof(struct nvme_dsm_range)];
	uint8_t tail[NVME_PDU_TAIL_MAX] __attribute__((aligned(8)));
	uint8_t head[NVME_PDU_HEAD_MAX] __attribute__((aligned(8)));
};

/* Requests of the queue from Connect on; -ENOMEM. And back to none. */
int nvme_req_alloc(struct nvme_queue *q, uint16_t size);
void nvme_req_free_all(struct nvme_queue *q);

/* A request for a command that has come. Before Connect the one there is, which must be
 * free; NULL: as many commands as the queue has entries are unanswered. */
struct nvme_req *nvme_req_take(struct nvme_queue *q, const struct nvme_cmd *cmd);

/* Releases the export's range that it grips, if any. */
void nvme_req_release(struct nvme_queue *q, struct nvme_req *req);

/* Completes the command. `status` with DNR where the host should not try again. */
void nvme_req_complete(struct nvme_queue *q, struct nvme_req *req, uint16_t status,
		       uint32_t dw0, uint32_t dw1);

/*
 * Completes it with data: `req->len` bytes of the export at `req->offset` (gripped;
 * released when sent), or of `req->buf` when that is set.
 */
void nvme_req_complete_data(struct nvme_queue *q, struct nvme_req *req);

/* Asks for all of the command's data by R2T; nvme_io_received is called then. */
void nvme_req_want_data(struct nvme_queue *q, struct nvme_req *req);

/* Frees a request without an answer (its controller was reset). */
void nvme_req_forget(struct nvme_queue *q, struct nvme_req *req);

static inline void nvme_req_fail(struct nvme_queue *q, struct nvme_req *req,
				 uint16_t status)
{
	nvme_req_complete(q, req, status | NVME_SC_DNR, 0, 0);
}

#endif
