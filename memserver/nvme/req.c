/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands' requests and how they are answered: responses, data with responses, R2T. On
 * the connection's worker; no lock, no allocation after Connect.
 */
#include "memserver/nvme/req.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "lib/crc32c.h"
#include "memserver/nvme/queue.h"

/* ---- taking and giving back ---- */

void nvme_req_release(struct nvme_queue *q, struct nvme_req *req)
{
	if (!req->gripped)
		return;
	export_release(q->export, req->offset, req->len);
	req->gripped = false;
}

static void put_req(struct nvme_queue *q, struct nvme_req *req)
{
	req->state = NVME_REQ_FREE;
	if (req == &q->connect)
		return; /* it never goes among the others */
	req->next_free = q->free;
	q->free = req;
}

static void req_sent(struct conn *c, struct conn_tx *tx)
{
	struct nvme_queue *q = conn_state(c);
	struct nvme_req *req = (struct nvme_req *)tx;

	nvme_req_release(q, req);
	if (req->buf) {
		free(req->buf);
		req->buf = NULL;
		q->unsent_bytes -= req->len;
	}
	put_req(q, req);
}

static void r2t_sent(struct conn *c, struct conn_tx *tx)
{
	struct nvme_req *req = (struct nvme_req *)tx;

	req->r2t_sent = true;
	req->tx.arrived_ns = req->arrived_ns;
}

struct nvme_req *nvme_req_take(struct nvme_queue *q, const struct nvme_cmd *cmd)
{
	struct nvme_req *req = q->free;

	if (!q->ctrl)
		req = &q->connect;
	else if (req)
		q->free = req->next_free;
	if (!req)
		return NULL;
	req->tx.export = NULL;
	req->tx.data = NULL;
	req->tx.payload_len = req->tx.tail_len = 0;
	req->tx.arrived_ns = conn_now(q->c);
	req->tx.op = IO_OTHER;
	req->tx.counted = 0;
	req->tx.failed = req->tx.no_space = false;
	req->cid = le16toh(cmd->cid);
	req->opcode = cmd->opcode;
	req->status = NVME_SC_SUCCESS;
	req->got = 0;
	req->r2t_sent = false;
	req->carry_len = 0;
	req->state = NVME_REQ_TAKEN;
	return req;
}

int nvme_req_alloc(struct nvme_queue *q, uint16_t size)
{
	struct nvme_req *reqs = calloc(size, sizeof(*reqs));
	uint8_t *bounce = malloc(NVME_BOUNCE);

	if (!reqs || !bounce) {
		free(reqs);
		free(bounce);
		return -ENOMEM;
	}
	q->reqs = reqs;
	q->bounce = bounce;
	q->size = size;
	for (unsigned int i = size; i-- > 0;)
		put_req(q, &reqs[i]); /* touches each: no page fault later */
	memset(bounce, 0, NVME_BOUNCE);
	return 0;
}

void nvme_req_free_all(struct nvme_queue *q)
{
	free(q->reqs);
	free(q->bounce);
	q->reqs = q->free = NULL;
	q->bounce = NULL;
	q->size = 0;
}

void nvme_req_forget(struct nvme_queue *q, struct nvme_req *req)
{
	put_req(q, req);
}

/* ---- answers ---- */

static uint32_t put_rsp(struct nvme_queue *q, const struct nvme_req *req, void *out,
			uint16_t status, uint32_t dw0, uint32_t dw1)
{
	struct nvme_cqe cqe = {
		.dw0 = htole32(dw0),
		.dw1 = htole32(dw1),
		.sqid = htole16(q->qid),
		.cid = htole16(req->cid),
		.status = htole16((uint16_t)(status << 1)),
	};

	/* On completion, not on arrival: the host may then have `size` at a time. */
	if (q->flow) {
		q->sqhd = (uint16_t)(q->sqhd + 1u == q->size ? 0 : q->sqhd + 1u);
		cqe.sqhd = htole16(q->sqhd);
	}
	return nvme_pdu_put_rsp(out, &q->link, &cqe);
}

static void queue_tx(struct nvme_queue *q, struct nvme_req *req)
{
	req->state = NVME_REQ_SENT;
	req->tx.head = req->head;
	req->tx.tail = req->tail;
	req->tx.sent = req_sent;
	conn_send(q->c, &req->tx);
}

void nvme_req_complete(struct nvme_queue *q, struct nvme_req *req, uint16_t status,
		       uint32_t dw0, uint32_t dw1)
{
	nvme_req_release(q, req);
	req->tx.failed = status != NVME_SC_SUCCESS;
	req->tx.head_len = put_rsp(q, req, req->head, status, dw0, dw1);
	queue_tx(q, req);
}

/* The digest of what is about to be sent. A host that writes where it reads may see
 * it not match, as the bytes may change in between: it then reads again. */
static uint32_t data_digest(struct nvme_queue *q, const struct nvme_req *req)
{
	uint32_t crc = 0;

	if (req->buf)
		return crc32c_add(0, req->buf, req->len);
	for (uint32_t at = 0; at < req->len;) {
		const uint8_t *p;
		size_t n = export_run(q->export, req->offset + at, req->len - at, &p,
				      NULL);

		crc = crc32c_add(crc, p, n);
		at += (uint32_t)n;
	}
	return crc;
}

void nvme_req_complete_data(struct nvme_queue *q, struct nvme_req *req)
{
	bool success = !q->flow; /* else the host wants to see SQHD */
	uint32_t tail = 0, digest;

	req->tx.head_len =
		nvme_pdu_put_c2h(req->head, &q->link, req->cid, req->len, success);
	req->tx.payload_len = req->len;
	if (req->buf) {
		req->tx.data = req->buf;
		q->unsent_bytes += req->len;
	} else {
		req->tx.export = q->export;
		req->tx.offset = req->offset;
	}
	if (q->link.ddgst) {
		digest = htole32(data_digest(q, req));
		memcpy(req->tail, &digest, sizeof(digest));
		tail = sizeof(digest);
	}
	if (!success)
		tail += put_rsp(q, req, req->tail + tail, NVME_SC_SUCCESS, 0, 0);
	req->tx.tail_len = tail;
	queue_tx(q, req);
}

/*
 * The R2T goes out by the request's own transmit. Only when that has come back may
 * H2CData come: a host that guesses its tag earlier would have the response queued
 * by a transmit that is still in use.
 */
void nvme_req_want_data(struct nvme_queue *q, struct nvme_req *req)
{
	req->state = NVME_REQ_DATA;
	req->tx.head_len = nvme_pdu_put_r2t(req->head, &q->link, req->cid,
					    (uint16_t)(req - q->reqs), 0, req->len);
	req->tx.head = req->head;
	req->tx.sent = r2t_sent;
	req->arrived_ns = req->tx.arrived_ns;
	req->tx.arrived_ns = 0; /* an R2T isn't counted */
	conn_send(q->c, &req->tx);
}
