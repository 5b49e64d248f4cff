// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * iSCSI for the load client (RFC 7143): enough of an initiator to load tgt as the
 * others are loaded. One session per connection, no authentication, no digests,
 * immediate data as far as the target takes it and R2T for the rest. The engine's
 * one thread.
 */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/lib/conn.h"
#include "bench/lib/net.h"
#include "lib/be.h"

#define BHS           48 /* basic header segment */
#define LUN           1
#define UNMAP_LEN     24
#define FIRST_BURST   65536
#define TAG_LOGIN     0x10000u /* never a request's */
#define MAX_LOGIN_LEN 8192

enum opcode {
	OP_SCSI = 0x01,
	OP_LOGIN = 0x43, /* with the immediate bit */
	OP_DATA_OUT = 0x05,
	OP_SCSI_RSP = 0x21,
	OP_LOGIN_RSP = 0x23,
	OP_DATA_IN = 0x25,
	OP_R2T = 0x31,
};

/* The 24-bit length of the data segment shares its word with the AHS length. */
static uint32_t data_len(const uint8_t *bhs)
{
	return be_get32(bhs + 4) & 0xffffff;
}

static size_t padded(uint32_t len)
{
	return (len + 3u) & ~(size_t)3;
}

static size_t login_text(const struct target *t, char *buf, size_t room)
{
	static const char *const fixed[] = {
		"InitiatorName=iqn.2026-11.io.remem:bench",
		"SessionType=Normal",
		"HeaderDigest=None",
		"DataDigest=None",
		"InitialR2T=Yes",
		"ImmediateData=Yes",
		"MaxRecvDataSegmentLength=1048576",
		"MaxBurstLength=1048576",
		"FirstBurstLength=65536",
		"MaxOutstandingR2T=1",
		"MaxConnections=1",
		"ErrorRecoveryLevel=0",
		"DefaultTime2Wait=0",
		"DefaultTime2Retain=0",
		"DataPDUInOrder=Yes",
		"DataSequenceInOrder=Yes",
	};
	size_t at = 0;

	for (size_t i = 0; i < sizeof(fixed) / sizeof(*fixed); i++)
		at += (size_t)snprintf(buf + at, room - at, "%s", fixed[i]) + 1;
	at += (size_t)snprintf(buf + at, room - at, "TargetName=%s", t->export) + 1;
	return at;
}

static uint32_t key_number(const char *text, size_t len, const char *key,
			   uint32_t otherwise)
{
	size_t n = strlen(key);

	for (size_t at = 0; at < len; at += strlen(text + at) + 1)
		if (!strncmp(text + at, key, n) && text[at + n] == '=')
			return (uint32_t)strtoul(text + at + n + 1, NULL, 10);
	return otherwise;
}

/* What the target declared: how much of a write goes with its command, and a PDU. */
static void take_keys(struct conn *c, const char *text, size_t len)
{
	uint32_t first = key_number(text, len, "FirstBurstLength", FIRST_BURST);

	c->max_data_bytes =
		key_number(text, len, "MaxRecvDataSegmentLength", c->max_data_bytes);
	c->target->inline_bytes = first < c->max_data_bytes ? first : c->max_data_bytes;
}

static int login(struct conn *c)
{
	uint8_t bhs[BHS], rsp[BHS];
	char text[1024], answer[MAX_LOGIN_LEN + 1];
	size_t len = login_text(c->target, text, sizeof(text));
	uint32_t n;
	int r;

	c->max_data_bytes = 8192; /* RFC 7143, 13.12 */
	for (int round = 0; round < 8; round++, len = 0) {
		memset(bhs, 0, sizeof(bhs));
		bhs[0] = OP_LOGIN;
		bhs[1] = 0x87; /* from operational negotiation to full feature */
		be_put32(bhs + 4, (uint32_t)len);
		bhs[8] = 0x80; /* a random ISID: type, then the connection's number */
		be_put16(bhs + 12, (uint16_t)(c->id + 1));
		be_put32(bhs + 16, TAG_LOGIN);
		be_put32(bhs + 28, c->stat_sn);
		memset(text + len, 0, 4);
		r = net_write(c->fd, bhs, sizeof(bhs));
		if (!r)
			r = net_write(c->fd, text, padded((uint32_t)len));
		if (!r)
			r = net_read(c->fd, rsp, sizeof(rsp));
		if (r < 0)
			return r;
		n = data_len(rsp);
		if ((rsp[0] & 0x3f) != OP_LOGIN_RSP || n > MAX_LOGIN_LEN)
			return -EPROTO;
		r = net_read(c->fd, answer, padded(n));
		if (r < 0)
			return r;
		answer[n] = '\0';
		if (rsp[36]) {
			fprintf(stderr, "iscsi: login refused: %02x%02x\n", rsp[36],
				rsp[37]);
			return -EACCES;
		}
		take_keys(c, answer, n);
		c->stat_sn = be_get32(rsp + 24) + 1;
		if ((rsp[1] & 0x83) == 0x83)
			return 0;
	}
	return -EPROTO;
}

static void command(struct conn *c, uint8_t *bhs, uint8_t flags, uint32_t tag,
		    uint32_t transfer, uint32_t immediate)
{
	memset(bhs, 0, BHS);
	bhs[0] = OP_SCSI;
	bhs[1] = 0x80 | flags | 1; /* final, simple task */
	be_put32(bhs + 4, immediate);
	bhs[9] = LUN;
	be_put32(bhs + 16, tag);
	be_put32(bhs + 20, transfer);
	be_put32(bhs + 24, c->cmd_sn++);
	be_put32(bhs + 28, c->stat_sn);
}

#define FLAG_READ  0x40
#define FLAG_WRITE 0x20

/* One command, answered before the next; its data in `in`. A SCSI status in *ret. */
static int one(struct conn *c, const uint8_t *cdb, void *in, uint32_t in_len,
	       uint8_t *ret_status)
{
	uint8_t bhs[BHS];
	uint32_t n;
	int r;

	command(c, bhs, in_len ? FLAG_READ : 0, TAG_LOGIN, in_len, 0);
	memcpy(bhs + 32, cdb, 16);
	r = net_write(c->fd, bhs, sizeof(bhs));
	while (!r) {
		r = net_read(c->fd, bhs, sizeof(bhs));
		if (r < 0)
			return r;
		n = data_len(bhs);
		if (bhs[0] == OP_DATA_IN && n <= in_len)
			r = net_read(c->fd, in, n);
		else
			r = net_skip(c->fd, n);
		if (!r)
			r = net_skip(c->fd, padded(n) - n);
		if (bhs[0] == OP_SCSI_RSP || (bhs[0] == OP_DATA_IN && bhs[1] & 1)) {
			c->stat_sn = be_get32(bhs + 24) + 1;
			*ret_status = bhs[3];
			return r;
		}
	}
	return r;
}

static int capacity(struct conn *c)
{
	static const uint8_t ready[16] = { 0x00 };
	static const uint8_t read_capacity_16[16] = { 0x9e, 0x10, [13] = 32 };
	uint8_t in[32] = { 0 }, status = 1;
	int r = 0;

	/* A new session begins with unit attentions; each is told once. */
	for (int tries = 0; !r && status && tries < 8; tries++)
		r = one(c, ready, NULL, 0, &status);
	if (!r)
		r = one(c, read_capacity_16, in, sizeof(in), &status);
	if (r < 0)
		return r;
	c->target->lba_bytes = be_get32(in + 8);
	c->target->size_bytes = (be_get64(in) + 1) * c->target->lba_bytes;
	return status || c->target->lba_bytes < 512 ? -EIO : 0;
}

static int iscsi_open(struct conn *c)
{
	int r = login(c);

	if (!r)
		r = capacity(c);
	if (r < 0 && !c->target->quiet)
		fprintf(stderr, "iscsi: session: %s\n", strerror(-r));
	return r;
}

static size_t iscsi_aux_bytes(const struct conn *c)
{
	return (c->target->block_bytes / c->max_data_bytes + 1) * (size_t)BHS;
}

static void submit_unmap(struct conn *c, struct request *r)
{
	uint8_t *list = r->aux, *bhs = r->header;

	command(c, bhs, FLAG_WRITE, r->tag, UNMAP_LEN, UNMAP_LEN);
	bhs[32] = 0x42;
	be_put16(bhs + 32 + 7, UNMAP_LEN);
	memset(list, 0, UNMAP_LEN);
	be_put16(list, UNMAP_LEN - 2);
	be_put16(list + 2, 16);
	be_put64(list + 8, r->offset / c->target->lba_bytes);
	be_put32(list + 16, r->len_bytes / c->target->lba_bytes);
	conn_push(c, bhs, BHS);
	conn_push(c, list, UNMAP_LEN);
}

static void iscsi_submit(struct conn *c, struct request *r)
{
	uint32_t now = 0, lba = c->target->lba_bytes;
	uint8_t *bhs = r->header;

	if (r->op == IO_TRIM) {
		submit_unmap(c, r);
		return;
	}
	if (r->op == IO_WRITE)
		now = r->len_bytes < c->target->inline_bytes ? r->len_bytes
							     : c->target->inline_bytes;
	command(c, bhs, r->op == IO_READ ? FLAG_READ : FLAG_WRITE, r->tag, r->len_bytes,
		now);
	bhs[32] = r->op == IO_READ ? 0x88 : 0x8a; /* READ(16), WRITE(16) */
	be_put64(bhs + 34, r->offset / lba);
	be_put32(bhs + 42, r->len_bytes / lba);
	conn_push(c, bhs, BHS);
	if (now)
		conn_push(c, r->data, now);
}

static int on_r2t(struct conn *c, struct request *r, const uint8_t *head)
{
	uint32_t at = be_get32(head + 40), left = be_get32(head + 44), sn = 0;
	uint8_t *bhs = r->aux;

	if (r->op != IO_WRITE || at > r->len_bytes || left > r->len_bytes - at)
		return -EPROTO;
	for (; left; sn++, bhs += BHS) {
		uint32_t n = left < c->max_data_bytes ? left : c->max_data_bytes;

		left -= n;
		memset(bhs, 0, BHS);
		bhs[0] = OP_DATA_OUT;
		bhs[1] = left ? 0 : 0x80;
		be_put32(bhs + 4, n);
		bhs[9] = LUN;
		be_put32(bhs + 16, r->tag);
		memcpy(bhs + 20, head + 20, 4); /* target's transfer tag */
		be_put32(bhs + 28, c->stat_sn);
		be_put32(bhs + 36, sn);
		be_put32(bhs + 40, at);
		conn_push(c, bhs, BHS);
		conn_push(c, r->data + at, n);
		at += n;
	}
	return 0;
}

static int on_data_in(struct conn *c, struct request *r, const uint8_t *head)
{
	uint32_t at = be_get32(head + 40), len = data_len(head);

	if (r->op != IO_READ || !len || at > r->len_bytes || len > r->len_bytes - at ||
	    len % 4)
		return -EPROTO;
	c->payload_last = head[1] & 1; /* carries the status */
	if (c->payload_last)
		c->stat_sn = be_get32(head + 24) + 1;
	conn_expect(c, r, at, len);
	return 0;
}

static int on_status(struct conn *c, struct request *r, const uint8_t *head)
{
	c->stat_sn = be_get32(head + 24) + 1;
	if (head[2] || head[3]) {
		fprintf(stderr,
			"iscsi: response %#x, status %#x at offset %" PRIu64 "\n",
			head[2], head[3], r->offset);
		return -EIO;
	}
	conn_done(c, r);
	/* tgt sends the parameters of an UNMAP back. */
	conn_skip(c, padded(data_len(head)));
	return 0;
}

static int iscsi_reply(struct conn *c, const uint8_t *head, size_t have)
{
	struct request *r = conn_find(c, be_get32(head + 16));
	int err = -EPROTO;

	if (!r)
		return err;
	if (head[0] == OP_DATA_IN)
		err = on_data_in(c, r, head);
	else if (head[0] == OP_R2T)
		err = on_r2t(c, r, head);
	else if (head[0] == OP_SCSI_RSP)
		err = on_status(c, r, head);
	if (err == -EPROTO)
		fprintf(stderr, "iscsi: PDU %#x that fits no command\n", head[0]);
	return err < 0 ? err : (int)have;
}

static void iscsi_payload_end(struct conn *c, struct request *r)
{
	if (c->payload_last)
		conn_done(c, r);
}

const struct proto iscsi_proto = {
	.name = "iscsi",
	.default_export = "iqn.2026-11.io.remem:bench",
	.reply_bytes = BHS,
	.header_bytes = BHS,
	.open = iscsi_open,
	.aux_bytes = iscsi_aux_bytes,
	.submit = iscsi_submit,
	.reply = iscsi_reply,
	.payload_end = iscsi_payload_end,
};
