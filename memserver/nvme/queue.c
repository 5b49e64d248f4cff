/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NVMe/TCP as a front end: bytes of one connection in, commands to fabrics.c, admin.c
 * and io.c, PDUs out. On the connection's worker; the way of an I/O command takes no
 * lock and allocates nothing.
 *
 * A PDU is taken as its header; the data of an I/O command then goes where io.c says
 * (the export's mapping, for a write) without passing through here, and its digest, if
 * any, is one more message of four bytes. The capsules of the admin queue and of
 * Connect are small and taken whole.
 */
#include "memserver/nvme/queue.h"

#include <endian.h>
#include <string.h>

#include "lib/crc32c.h"
#include "memserver/front.h"
#include "memserver/nvme/admin.h"
#include "memserver/nvme/fabrics.h"
#include "memserver/nvme/io.h"
#include "memserver/nvme/login.h"
#include "memserver/nvme/tls.h"

#define X(name, text) text,
static const char *const state_names[] = { NVME_QUEUE_STATES(X) };
#undef X

/* ---- protocol errors ---- */

static void ctl_sent(struct conn *c, struct conn_tx *tx)
{
}

static void send_ctl(struct nvme_queue *q, struct conn_tx *tx, const void *pdu,
		     uint32_t len)
{
	*tx = (struct conn_tx){ .head = pdu, .head_len = len, .sent = ctl_sent };
	conn_send(q->c, tx);
}

/* The peer broke the protocol with the PDU at `bad`: says so and ends. */
static int fatal(struct nvme_queue *q, const struct nvme_fault *fault,
		 const uint8_t *bad, size_t len)
{
	conn_warn(q->c, "protocol error while %s: %s (FES %d, FEI %#x)",
		  state_names[q->state], fault->why, fault->fes, fault->fei);
	send_ctl(q, &q->term_tx, q->term, nvme_pdu_put_term(q->term, fault, bad, len));
	q->state = NVME_QUEUE_END;
	if (q->qid)
		nvme_ctrl_vacate(q->ctrl, q->qid, q->c);
	return -EPROTO;
}

static int fatal_field(struct nvme_queue *q, enum nvme_fes fes, uint32_t fei,
		       const char *why, const uint8_t *bad)
{
	struct nvme_fault fault = { .fes = fes, .fei = fei, .why = why };
	const struct nvme_pdu_hdr *h = (const void *)bad;

	return fatal(q, &fault, bad, h->hlen);
}

/* ---- data ---- */

static int end_of_data(struct nvme_queue *q, bool intact)
{
	struct nvme_req *req = q->rx_req;

	q->state = NVME_QUEUE_PDU;
	q->rx_req = NULL;
	if (req)
		nvme_io_received(q, req, intact);
	return 0;
}

/* Sends the next bytes of the PDU to their place. */
static void sink(struct nvme_queue *q)
{
	uint8_t *where = NULL;

	q->rx_chunk = q->rx_left;
	if (q->rx_req)
		where = nvme_io_where(q, q->rx_req, &q->rx_chunk);
	conn_sink(q->c, where, q->rx_chunk);
}

static void start_data(struct nvme_queue *q, struct nvme_req *req,
		       const struct nvme_frame *f)
{
	q->state = NVME_QUEUE_DATA;
	q->rx_req = req;
	q->rx_left = f->data_len;
	q->rx_ddgst = f->ddgst;
	q->rx_crc = 0;
	sink(q);
}

static int nvme_sunk(struct conn *c)
{
	struct nvme_queue *q = conn_state(c);
	uint32_t len = q->rx_chunk;

	if (q->rx_req) {
		if (q->rx_ddgst)
			q->rx_crc = crc32c_add(q->rx_crc,
					       nvme_io_where(q, q->rx_req, &len), len);
		nvme_io_chunk(q, q->rx_req, q->rx_chunk);
	}
	q->rx_left -= q->rx_chunk;
	if (q->rx_left) {
		sink(q);
		return 0;
	}
	if (q->rx_ddgst) {
		q->state = NVME_QUEUE_DIGEST;
		return 0;
	}
	return end_of_data(q, true);
}

static ssize_t receive_digest(struct nvme_queue *q, const uint8_t *data, size_t len)
{
	uint32_t digest;
	bool intact;

	if (len < sizeof(digest))
		return 0;
	memcpy(&digest, data, sizeof(digest));
	intact = !q->rx_req || le32toh(digest) == q->rx_crc;
	if (!intact)
		conn_warn(q->c, "data digest of command %u is wrong", q->rx_req->cid);
	end_of_data(q, intact);
	return sizeof(digest);
}

/* ---- PDUs ---- */

static ssize_t receive_icreq(struct nvme_queue *q, const uint8_t *data, size_t len)
{
	struct nvme_fault fault;
	int r = nvme_pdu_read_icreq(data, len, &q->link, &fault);

	if (r < 0)
		return fatal(q, &fault, data,
			     len < sizeof(struct nvme_icreq)
				     ? len
				     : sizeof(struct nvme_icreq));
	if (r == 0)
		return 0;
	send_ctl(q, &q->ic_tx, q->icresp,
		 nvme_pdu_put_icresp(q->icresp, &q->link, q->limits.h2c));
	q->state = NVME_QUEUE_PDU;
	return sizeof(struct nvme_icreq);
}

/* The first bytes of a connection: of its handshake, or in the clear or from within TLS
 * an ICReq. */
static ssize_t receive_first(struct nvme_queue *q, const uint8_t *data, size_t len)
{
	struct nvme_tls *tls = conn_nvme_tls(q->c);
	int r = 0;

	if (tls && !conn_is_tls(q->c))
		r = nvme_tls_begin(tls, q->c, *data, !q->only_discovery);
	if (r)
		return r < 0 ? r : 0;
	return receive_icreq(q, data, len);
}

/* A capsule that is taken whole: Fabrics and admin commands. */
static ssize_t receive_control(struct nvme_queue *q, const uint8_t *data, size_t len,
			       const struct nvme_frame *f)
{
	const struct nvme_cmd *cmd =
		&((const struct nvme_cmd_pdu *)(const void *)data)->cmd;
	size_t total = f->head_len + f->data_len + (f->ddgst ? NVME_DIGEST_LEN : 0);
	struct nvme_req *req;
	uint32_t digest;
	int r = 0;

	if (len < total)
		return 0;
	req = nvme_req_take(q, cmd);
	if (!req)
		return fatal_field(q, NVME_FES_SEQUENCE, 0,
				   "more commands than the queue has entries", data);
	if (f->ddgst)
		memcpy(&digest, data + f->head_len + f->data_len, sizeof(digest));
	if (f->ddgst &&
	    le32toh(digest) != crc32c_add(0, data + f->head_len, f->data_len)) {
		conn_warn(q->c, "data digest of command %u is wrong", req->cid);
		nvme_req_complete(q, req, NVME_SC_TRANSIENT_TRANSPORT, 0, 0);
	} else if (cmd->opcode == NVME_FABRICS) {
		r = nvme_fabrics_command(q, req, cmd, data + f->head_len, f->data_len);
	} else if (!q->ctrl || q->qid) {
		nvme_req_fail(q, req, NVME_SC_CMD_SEQ);
	} else if (!q->authed) {
		nvme_req_fail(q, req, NVME_SC_AUTH_REQUIRED);
	} else {
		nvme_admin_command(q, req, cmd);
	}
	return r < 0 ? r : (ssize_t)total;
}

static ssize_t receive_io(struct nvme_queue *q, const uint8_t *data,
			  const struct nvme_frame *f)
{
	const struct nvme_cmd *cmd =
		&((const struct nvme_cmd_pdu *)(const void *)data)->cmd;
	struct nvme_req *req = nvme_req_take(q, cmd);

	if (!req)
		return fatal_field(q, NVME_FES_SEQUENCE, 0,
				   "more commands than the queue has entries", data);
	nvme_io_command(q, req, cmd, f->data_len);
	if (f->data_len)
		start_data(q, req->state == NVME_REQ_DATA ? req : NULL, f);
	return f->head_len;
}

static ssize_t receive_h2c(struct nvme_queue *q, const uint8_t *data,
			   const struct nvme_frame *f)
{
	const struct nvme_data *h = (const void *)data;
	uint16_t ttag = le16toh(h->ttag);
	bool last = h->hdr.flags & NVME_PDU_DATA_LAST;
	struct nvme_req *req;

#define BAD(fes, field, why) \
	fatal_field(q, fes, (uint32_t)offsetof(struct nvme_data, field), why, data)

	if (ttag >= q->size)
		return BAD(NVME_FES_FIELD, ttag, "H2CData's transfer tag");
	req = &q->reqs[ttag];
	if (req->state != NVME_REQ_DATA || !req->r2t_sent)
		return BAD(NVME_FES_FIELD, ttag, "H2CData without R2T");
	if (le16toh(h->cid) != req->cid)
		return BAD(NVME_FES_FIELD, cid, "H2CData's command");
	if (!f->data_len || le32toh(h->len) != f->data_len)
		return BAD(NVME_FES_FIELD, len, "H2CData's length");
	if (le32toh(h->offset) != req->got)
		return BAD(NVME_FES_DATA_RANGE, offset, "H2CData's offset");
	if (f->data_len > req->len - req->got)
		return BAD(NVME_FES_DATA_RANGE, len, "H2CData beyond its R2T");
	if (last != (f->data_len == req->len - req->got))
		return BAD(NVME_FES_FIELD, hdr.flags, "H2CData's last flag");
#undef BAD
	start_data(q, req, f);
	return f->head_len;
}

static ssize_t receive_term(struct nvme_queue *q, const uint8_t *data)
{
	const struct nvme_term *t = (const void *)data;

	conn_warn(q->c, "the host ends the connection: FES %u, FEI %#x",
		  le16toh(t->fes),
		  le16toh(t->fei_low) | (unsigned int)le16toh(t->fei_high) << 16);
	q->state = NVME_QUEUE_END;
	return -ESHUTDOWN;
}

static ssize_t receive_pdu(struct nvme_queue *q, const uint8_t *data, size_t len)
{
	const struct nvme_pdu_hdr *h = (const void *)data;
	struct nvme_fault fault;
	struct nvme_frame f;

	if (len < sizeof(*h))
		return 0;
	if (nvme_pdu_read_frame(data, &q->link, &q->limits, &f, &fault) < 0)
		return fatal(q, &fault, data, len < h->hlen ? len : h->hlen);
	if (len < f.head_len)
		return 0;
	if (f.type == NVME_PDU_H2C_TERM)
		return receive_term(q, data);
	if (q->link.hdgst && nvme_pdu_check_hdgst(data, &fault) < 0)
		return fatal(q, &fault, data, h->hlen);
	if (f.type == NVME_PDU_H2C_DATA)
		return receive_h2c(q, data, &f);
	if (q->qid && ((const struct nvme_cmd_pdu *)h)->cmd.opcode != NVME_FABRICS)
		return receive_io(q, data, &f);
	if (f.data_len > NVME_CAPSULE_ADM)
		return fatal_field(q, NVME_FES_FIELD,
				   offsetof(struct nvme_pdu_hdr, plen),
				   "too much in-capsule data", data);
	return receive_control(q, data, len, &f);
}

static ssize_t nvme_receive(struct conn *c, const uint8_t *data, size_t len)
{
	struct nvme_queue *q = conn_state(c);

	q->seen_ns = conn_now(c);
	switch (q->state) {
	case NVME_QUEUE_INIT:
		return receive_first(q, data, len);
	case NVME_QUEUE_PDU:
		return receive_pdu(q, data, len);
	case NVME_QUEUE_DIGEST:
		return receive_digest(q, data, len);
	default:
		return -ESHUTDOWN;
	}
}

/* Log pages and the like that a host asks for and does not read: two of the longest. */
#define UNSENT_MAX (2 * NVME_MDTS_BYTES)

static _Bool nvme_ready(struct conn *c)
{
	struct nvme_queue *q = conn_state(c);

	return !q->job && q->unsent_bytes < UNSENT_MAX &&
	       (q->ctrl || q->connect.state == NVME_REQ_FREE);
}

/* ---- life ---- */

static int open_queue(struct conn *c, bool only_discovery)
{
	struct nvme_queue *q = conn_state(c);

	q->c = c;
	q->only_discovery = only_discovery;
	q->limits.capsule = NVME_CAPSULE_ADM;
	q->limits.h2c = NVME_MDTS_BYTES;
	return 0;
}

static int open_any(struct conn *c)
{
	return open_queue(c, false);
}

static int open_discovery(struct conn *c)
{
	return open_queue(c, true);
}

static int nvme_work(struct conn *c)
{
	struct nvme_queue *q = conn_state(c);

	if (q->job)
		nvme_io_work(q);
	return 0;
}

static int nvme_tick(struct conn *c, uint64_t now_ns)
{
	struct nvme_queue *q = conn_state(c);
	int r;

	if (!q->ctrl)
		return 0;
	r = nvme_login_tick(q, now_ns);
	if (r < 0)
		return r;
	if (!q->qid)
		return nvme_admin_tick(q, now_ns);
	/* Traffic is a sign of life (CTRATT.TBKAS); told once a second, since the word
	 * is shared by the controller's queues. */
	if (q->seen_ns > q->tick_ns)
		atomic_store_explicit(&q->ctrl->seen_ns, q->seen_ns,
				      memory_order_relaxed);
	q->tick_ns = now_ns;
	return 0;
}

static void nvme_close(struct conn *c)
{
	struct nvme_queue *q = conn_state(c);

	for (unsigned int i = 0; i < q->size; i++)
		nvme_req_release(q, &q->reqs[i]); /* awaited data */
	nvme_fabrics_leave(q);
}

const struct front front_nvme = {
	.name = "nvme",
	.state_size = sizeof(struct nvme_queue),
	.open = open_any,
	.receive = nvme_receive,
	.sunk = nvme_sunk,
	.ready = nvme_ready,
	.work = nvme_work,
	.tick = nvme_tick,
	.close = nvme_close,
};

const struct front front_nvme_discovery = {
	.name = "nvme-discovery",
	.state_size = sizeof(struct nvme_queue),
	.open = open_discovery,
	.receive = nvme_receive,
	.sunk = nvme_sunk,
	.ready = nvme_ready,
	.work = nvme_work,
	.tick = nvme_tick,
	.close = nvme_close,
};
