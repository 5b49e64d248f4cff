// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * NVMe/TCP for the load client: one admin queue for all, one I/O queue with a
 * connection of its own for each (NVMe Base 2.0, TCP Transport 1.0). No digests;
 * writes go inside the command where the controller takes them so, else by R2T. The
 * engine's one thread.
 */
#include "lib/proto/nvme.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/lib/conn.h"
#include "bench/lib/net.h"
#include "bench/lib/nvme.h"

#define DSM_RANGE_LEN sizeof(struct nvme_dsm_range)

static int icreq(int fd, uint32_t *ret_max_data)
{
	struct nvme_icreq q = { .hdr = { .type = NVME_PDU_ICREQ,
					 .hlen = sizeof(q),
					 .plen = htole32(sizeof(q)) } };
	struct nvme_icresp a;
	int r = net_write(fd, &q, sizeof(q));

	if (!r)
		r = net_read(fd, &a, sizeof(a));
	if (r < 0)
		return r;
	if (a.hdr.type != NVME_PDU_ICRESP || a.digest || le32toh(a.maxh2cdata) < 4096)
		return -EPROTO;
	*ret_max_data = le32toh(a.maxh2cdata);
	return 0;
}

/* Reads one command's answer: data into `in`, then the completion. */
static int answer(int fd, void *in, uint32_t in_len, uint32_t *ret_dw0)
{
	struct nvme_pdu_hdr h;
	struct nvme_data d;
	struct nvme_cqe cqe;
	int r;

	for (;;) {
		r = net_read(fd, &h, sizeof(h));
		if (r < 0)
			return r;
		if (h.type == NVME_PDU_RSP)
			break;
		if (h.type != NVME_PDU_C2H_DATA || h.pdo < sizeof(d))
			return -EPROTO;
		r = net_read(fd, (char *)&d + sizeof(h), sizeof(d) - sizeof(h));
		if (!r)
			r = net_skip(fd, h.pdo - sizeof(d));
		if (r < 0)
			return r;
		if (le32toh(d.offset) > in_len ||
		    le32toh(d.len) > in_len - le32toh(d.offset))
			return -EPROTO;
		r = net_read(fd, (char *)in + le32toh(d.offset), le32toh(d.len));
		if (r < 0 || h.flags & NVME_PDU_DATA_SUCCESS)
			return r;
	}
	r = net_read(fd, &cqe, sizeof(cqe));
	if (r < 0)
		return r;
	if (le16toh(cqe.status) >> 1) {
		fprintf(stderr, "nvme: command %u: status %#x\n", le16toh(cqe.cid),
			le16toh(cqe.status) >> 1);
		return -EREMOTEIO;
	}
	*ret_dw0 = le32toh(cqe.dw0);
	return 0;
}

int nvme_command(int fd, const void *cmd, const void *out, uint32_t out_len, void *in,
		 uint32_t in_len, uint32_t *ret_dw0)
{
	struct nvme_cmd_pdu pdu = { .hdr = { .type = NVME_PDU_CMD,
					     .hlen = sizeof(pdu),
					     .pdo = out_len ? sizeof(pdu) : 0,
					     .plen = htole32(sizeof(pdu) + out_len) } };
	int r;

	memcpy(&pdu.cmd, cmd, sizeof(pdu.cmd));
	pdu.cmd.flags = NVME_CMD_PSDT_SGL;
	pdu.cmd.sgl.len = htole32(out_len ? out_len : in_len);
	pdu.cmd.sgl.type = out_len ? NVME_SGL_IN_CAPSULE : NVME_SGL_TRANSPORT;
	r = net_write(fd, &pdu, sizeof(pdu));
	if (!r && out_len)
		r = net_write(fd, out, out_len);
	return r < 0 ? r : answer(fd, in, in_len, ret_dw0);
}

static int connect_queue(int fd, const struct target *t, uint16_t qid, uint16_t sqsize,
			 uint16_t cntlid, uint32_t *ret_dw0)
{
	struct nvme_connect c = { .opcode = NVME_FABRICS,
				  .fctype = NVME_FC_CONNECT,
				  .qid = htole16(qid),
				  .sqsize = htole16(sqsize) };
	struct nvme_connect_data d = { .cntlid = htole16(cntlid) };
	int r;

	memcpy(d.hostid, "remem bench load", sizeof(d.hostid));
	snprintf(d.subnqn, sizeof(d.subnqn), "%s", t->export);
	snprintf(d.hostnqn, sizeof(d.hostnqn), "%s", NVME_BENCH_HOST);
	r = nvme_command(fd, &c, &d, sizeof(d), NULL, 0, ret_dw0);
	return !r && *ret_dw0 & NVME_CONNECT_AUTHREQ_ATR ? nvme_login(fd, t) : r;
}

static int property_get(int fd, uint32_t offset, uint32_t *ret)
{
	struct nvme_property p = { .opcode = NVME_FABRICS,
				   .fctype = NVME_FC_PROPERTY_GET,
				   .attrib = offset == NVME_PROP_CAP,
				   .offset = htole32(offset) };

	return nvme_command(fd, &p, NULL, 0, NULL, 0, ret);
}

static int enable(int fd)
{
	struct nvme_property p = { .opcode = NVME_FABRICS,
				   .fctype = NVME_FC_PROPERTY_SET,
				   .offset = htole32(NVME_PROP_CC),
				   .value = htole64(NVME_CC_EN | 6u << 16 | 4u << 20) };
	uint32_t csts;
	int r = nvme_command(fd, &p, NULL, 0, NULL, 0, &csts);

	for (int tries = 0; !r && tries < 1000; tries++) {
		r = property_get(fd, NVME_PROP_CSTS, &csts);
		if (!r && csts & NVME_CSTS_RDY)
			return 0;
		usleep(1000);
	}
	return r ? r : -ETIMEDOUT;
}

static int identify(int fd, struct target *t)
{
	static struct nvme_id_ctrl ctrl;
	static struct nvme_id_ns ns;
	static uint32_t list[NVME_IDENTIFY_LEN / 4];
	struct nvme_cmd c = { .opcode = NVME_ADMIN_IDENTIFY,
			      .cdw10 = htole32(NVME_CNS_CTRL) };
	uint32_t dw0, capsule;
	uint8_t shift;
	int r = nvme_command(fd, &c, NULL, 0, &ctrl, sizeof(ctrl), &dw0);

	if (r < 0)
		return r;
	c.cdw10 = htole32(NVME_CNS_NS_LIST);
	r = nvme_command(fd, &c, NULL, 0, list, sizeof(list), &dw0);
	if (r < 0)
		return r;
	t->nsid = le32toh(list[0]);
	if (!t->nsid) {
		fprintf(stderr, "nvme: the controller has no namespace\n");
		return -ENODEV;
	}
	c.cdw10 = htole32(NVME_CNS_NS);
	c.nsid = htole32(t->nsid);
	r = nvme_command(fd, &c, NULL, 0, &ns, sizeof(ns), &dw0);
	if (r < 0)
		return r;
	shift = ns.lbaf[ns.flbas & 0xf].ds;
	if (shift < 9 || shift > 16)
		return -EPROTO;
	t->lba_bytes = 1u << shift;
	t->size_bytes = le64toh(ns.nsze) << shift;
	capsule = le32toh(ctrl.ioccsz) * 16;
	t->inline_bytes = capsule > 64 ? capsule - 64 : 0;
	if (ctrl.mdts && ctrl.mdts < 20 && t->first_op != IO_TRIM &&
	    t->block_bytes > 4096u << ctrl.mdts) {
		fprintf(stderr, "nvme: the controller takes %u bytes at most\n",
			4096u << ctrl.mdts);
		return -EMSGSIZE;
	}
	return 0;
}

static int set_queues(int fd)
{
	struct nvme_cmd c = { .opcode = NVME_ADMIN_SET_FEATURES,
			      .cdw10 = htole32(NVME_FEAT_QUEUES),
			      .cdw11 = htole32(63u << 16 | 63u) };
	uint32_t dw0;

	return nvme_command(fd, &c, NULL, 0, NULL, 0, &dw0);
}

static int nvme_probe(struct target *t)
{
	uint32_t max_data, dw0, cap;
	int r = net_connect(t->where, t->quiet, &t->admin_fd);

	if (r < 0)
		return r;
	r = icreq(t->admin_fd, &max_data);
	if (!r)
		r = connect_queue(t->admin_fd, t, 0, 31, NVME_CNTLID_DYNAMIC, &dw0);
	if (!r) {
		t->controller = (uint16_t)dw0;
		r = property_get(t->admin_fd, NVME_PROP_CAP, &cap);
	}
	if (!r && t->depth > (cap & 0xffff)) {
		fprintf(stderr, "nvme: queues of %u entries at most\n", cap & 0xffff);
		r = -EINVAL;
	}
	if (!r)
		r = enable(t->admin_fd);
	if (!r)
		r = set_queues(t->admin_fd);
	if (!r)
		r = identify(t->admin_fd, t);
	if (r < 0 && !t->quiet)
		fprintf(stderr, "nvme: admin queue: %s\n", strerror(-r));
	return r;
}

static int nvme_open(struct conn *c)
{
	const struct target *t = c->target;
	uint32_t dw0;
	int r = icreq(c->fd, &c->max_data_bytes);

	if (!r)
		r = connect_queue(c->fd, t, (uint16_t)(c->id + 1), (uint16_t)t->depth,
				  t->controller, &dw0);
	if (r < 0 && !t->quiet)
		fprintf(stderr, "nvme: queue %u: %s\n", c->id + 1, strerror(-r));
	return r;
}

static uint32_t pieces(const struct conn *c)
{
	return c->target->block_bytes / c->max_data_bytes + 1;
}

static size_t nvme_aux_bytes(const struct conn *c)
{
	return pieces(c) * sizeof(struct nvme_data);
}

static void fill_rw(struct conn *c, struct request *r, struct nvme_cmd *cmd)
{
	uint32_t lba = c->target->lba_bytes;
	uint64_t slba = r->offset / lba;

	cmd->opcode = r->op == IO_READ ? NVME_IO_READ : NVME_IO_WRITE;
	cmd->sgl.len = htole32(r->len_bytes);
	cmd->cdw10 = htole32((uint32_t)slba);
	cmd->cdw11 = htole32((uint32_t)(slba >> 32));
	cmd->cdw12 = htole32(r->len_bytes / lba - 1);
}

static void fill_dsm(struct conn *c, struct request *r, struct nvme_cmd *cmd)
{
	struct nvme_dsm_range *range = (void *)r->aux;

	range->attributes = 0;
	range->nlb = htole32(r->len_bytes / c->target->lba_bytes);
	range->slba = htole64(r->offset / c->target->lba_bytes);
	cmd->opcode = NVME_IO_DSM;
	cmd->sgl.len = htole32(DSM_RANGE_LEN);
	cmd->cdw11 = htole32(NVME_DSM_AD);
}

static void nvme_submit(struct conn *c, struct request *r)
{
	struct nvme_cmd_pdu *pdu = (void *)r->header;
	uint32_t in_capsule = 0;

	memset(pdu, 0, sizeof(*pdu));
	if (r->op == IO_TRIM) {
		fill_dsm(c, r, &pdu->cmd);
		in_capsule = DSM_RANGE_LEN;
	} else {
		fill_rw(c, r, &pdu->cmd);
		if (r->op == IO_WRITE && !c->target->r2t &&
		    r->len_bytes <= c->target->inline_bytes)
			in_capsule = r->len_bytes;
	}
	pdu->hdr.type = NVME_PDU_CMD;
	pdu->hdr.hlen = sizeof(*pdu);
	pdu->hdr.pdo = in_capsule ? sizeof(*pdu) : 0;
	pdu->hdr.plen = htole32((uint32_t)sizeof(*pdu) + in_capsule);
	pdu->cmd.flags = NVME_CMD_PSDT_SGL;
	pdu->cmd.cid = htole16((uint16_t)r->tag);
	pdu->cmd.nsid = htole32(c->target->nsid);
	pdu->cmd.sgl.type = in_capsule ? NVME_SGL_IN_CAPSULE : NVME_SGL_TRANSPORT;
	conn_push(c, pdu, sizeof(*pdu));
	if (in_capsule)
		conn_push(c, r->op == IO_TRIM ? r->aux : r->data, in_capsule);
}

static int on_response(struct conn *c, const uint8_t *head)
{
	struct nvme_rsp_pdu rsp;
	struct request *r;

	memcpy(&rsp, head, sizeof(rsp));
	r = conn_find(c, le16toh(rsp.cqe.cid));
	if (!r)
		return -EPROTO;
	if (le16toh(rsp.cqe.status) >> 1) {
		fprintf(stderr, "nvme: status %#x at offset %" PRIu64 "\n",
			le16toh(rsp.cqe.status) >> 1, r->offset);
		return -EIO;
	}
	conn_done(c, r);
	return 0;
}

static int on_data(struct conn *c, const uint8_t *head)
{
	struct nvme_data d;
	struct request *r;
	uint32_t at, len;

	memcpy(&d, head, sizeof(d));
	at = le32toh(d.offset);
	len = le32toh(d.len);
	r = conn_find(c, le16toh(d.cid));
	if (!r || r->op != IO_READ || !len || at > r->len_bytes ||
	    len > r->len_bytes - at || le32toh(d.hdr.plen) != d.hdr.pdo + len) {
		fprintf(stderr, "nvme: C2HData that fits no read\n");
		return -EPROTO;
	}
	c->payload_last = !!(d.hdr.flags & NVME_PDU_DATA_SUCCESS);
	conn_expect(c, r, at, len);
	return 0;
}

static int on_r2t(struct conn *c, const uint8_t *head)
{
	struct nvme_r2t q;
	struct nvme_data *d;
	struct request *r;
	uint32_t at, left;

	memcpy(&q, head, sizeof(q));
	at = le32toh(q.offset);
	left = le32toh(q.len);
	r = conn_find(c, le16toh(q.cid));
	if (!r || r->op != IO_WRITE || at > r->len_bytes || left > r->len_bytes - at) {
		fprintf(stderr, "nvme: R2T that fits no write\n");
		return -EPROTO;
	}
	for (d = (void *)r->aux; left; d++) {
		uint32_t n = left < c->max_data_bytes ? left : c->max_data_bytes;

		left -= n;
		memset(d, 0, sizeof(*d));
		d->hdr.type = NVME_PDU_H2C_DATA;
		d->hdr.flags = left ? 0 : NVME_PDU_DATA_LAST;
		d->hdr.hlen = d->hdr.pdo = sizeof(*d);
		d->hdr.plen = htole32((uint32_t)sizeof(*d) + n);
		d->cid = q.cid;
		d->ttag = q.ttag;
		d->offset = htole32(at);
		d->len = htole32(n);
		conn_push(c, d, sizeof(*d));
		conn_push(c, r->data + at, n);
		at += n;
	}
	return 0;
}

static int nvme_reply(struct conn *c, const uint8_t *head, size_t have)
{
	const struct nvme_pdu_hdr *h = (const void *)head;
	int r;

	switch (h->type) {
	case NVME_PDU_RSP:
		r = on_response(c, head);
		break;
	case NVME_PDU_C2H_DATA:
		if (h->pdo > have)
			return h->pdo;
		r = on_data(c, head);
		break;
	case NVME_PDU_R2T:
		r = on_r2t(c, head);
		break;
	default:
		fprintf(stderr, "nvme: PDU of type %u\n", h->type);
		r = -EPROTO;
	}
	return r < 0 ? r : (int)have;
}

static void nvme_payload_end(struct conn *c, struct request *r)
{
	if (c->payload_last)
		conn_done(c, r);
}

static void nvme_close(struct target *t)
{
	if (t->admin_fd >= 0)
		close(t->admin_fd);
	t->admin_fd = -1;
}

const struct proto nvme_proto = {
	.name = "nvme",
	.default_export = "nqn.2026-11.io.remem:default",
	.reply_bytes = sizeof(struct nvme_rsp_pdu),
	.header_bytes = sizeof(struct nvme_cmd_pdu),
	.probe = nvme_probe,
	.open = nvme_open,
	.aux_bytes = nvme_aux_bytes,
	.submit = nvme_submit,
	.reply = nvme_reply,
	.payload_end = nvme_payload_end,
	.close = nvme_close,
};
