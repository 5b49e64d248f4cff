/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests in, answers out: an NBD client's I/O, on its worker. Nothing is allocated;
 * every request lives in a slot of the connection until its answer is sent.
 *
 * A read's answer is its header and a gripped range of the export; a write's payload
 * is sunk into its place; what can take long (giving gigabytes back) goes on slice by
 * slice while the connection takes no further request and others are served.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "lib/be.h"
#include "memserver/front.h"
#include "memserver/nbd/nbd.h"

#define WORK_SLICE (UINT64_C(8) << 20) /* about a millisecond of punching */

/* A request in host order. */
struct request {
	uint16_t flags, type;
	uint64_t cookie, offset;
	uint32_t len;
};

/* ---- slots ---- */

static struct nbd_slot *slot_take(struct conn *c, const struct request *rq)
{
	struct nbd_conn *n = conn_state(c);
	struct nbd_slot *s = n->free; /* nbd_ready saw that there is one */

	n->free = s->next_free;
	s->cookie = rq->cookie;
	s->grip_len = 0;
	s->tx.head = s->head;
	s->tx.head_len = s->tx.payload_len = s->tx.tail_len = 0;
	s->tx.data = NULL;
	s->tx.export = NULL;
	s->tx.offset = rq->offset;
	s->tx.counted = rq->len;
	s->tx.failed = s->tx.no_space = false;
	s->tx.arrived_ns = conn_now(c);
	return s;
}

static void slot_sent(struct conn *c, struct conn_tx *tx)
{
	struct nbd_slot *s = container_of(tx, struct nbd_slot, tx);
	struct nbd_conn *n = conn_state(c);

	if (s->grip_len)
		export_release(n->export, tx->offset, s->grip_len);
	s->grip_len = 0;
	s->next_free = n->free;
	n->free = s;
}

void nbd_enter_transmission(struct conn *c, struct export *e)
{
	struct nbd_conn *n = conn_state(c);

	if (strncmp(n->context_name, export_name(e), strlen(export_name(e)) + 1))
		n->context = false; /* was selected for another export */
	n->export = e;
	n->phase = NBD_TRANSMISSION;
	for (int i = 0; i < NBD_SLOTS; i++) {
		n->slots[i].tx.sent = slot_sent;
		n->slots[i].next_free = n->free;
		n->free = &n->slots[i];
	}
	conn_bind(c, e, conn_proved_name(c));
	conn_limit(c);
}

/* ---- answers ---- */

static void simple_head(struct nbd_slot *s, uint32_t error)
{
	struct nbd_simple_reply h = {
		.magic = htobe32(NBD_SIMPLE_MAGIC),
		.error = htobe32(error),
		.cookie = s->cookie, /* opaque: as it came */
	};

	memcpy(s->head, &h, sizeof(h));
	s->tx.head_len = sizeof(h);
}

/* A final chunk; `len` bytes follow its header, the first of them in head. */
static uint8_t *chunk_head(struct nbd_slot *s, uint16_t type, uint32_t len,
			   uint32_t in_head)
{
	struct nbd_chunk h = {
		.magic = htobe32(NBD_STRUCTURED_MAGIC),
		.flags = htobe16(NBD_REPLY_FLAG_DONE),
		.type = htobe16(type),
		.cookie = s->cookie,
		.len = htobe32(len),
	};

	memcpy(s->head, &h, sizeof(h));
	s->tx.head_len = sizeof(h) + in_head;
	return s->head + sizeof(h);
}

static uint32_t wire_error(int r)
{
	switch (-r) {
	case ENOSPC:
		return NBD_ENOSPC;
	case EINVAL:
		return NBD_EINVAL;
	case EOPNOTSUPP:
		return NBD_ENOTSUP;
	case EOVERFLOW:
		return NBD_EOVERFLOW;
	default:
		return NBD_EIO;
	}
}

/* The whole answer to a request that failed (r < 0) or has nothing to say (0). */
static void finish_slot(struct conn *c, struct nbd_slot *s, int r)
{
	const struct nbd_conn *n = conn_state(c);
	uint8_t *p;

	s->tx.failed = r < 0;
	s->tx.no_space = r == -ENOSPC;
	if (r < 0)
		s->tx.counted = 0;
	if (!n->structured) {
		simple_head(s, r < 0 ? wire_error(r) : 0);
	} else if (r < 0) {
		p = chunk_head(s, NBD_REPLY_ERROR, 6, 6);
		be_put32(p, wire_error(r));
		be_put16(p + 4, 0);
	} else {
		chunk_head(s, NBD_REPLY_NONE, 0, 0);
	}
	conn_send(c, &s->tx);
}

/* ---- checks ---- */

/* What is wrong with a range: 0, -EINVAL, or -ENOSPC for a write past the end. */
static int check_range(const struct nbd_conn *n, const struct request *rq)
{
	if (!export_contains(n->export, rq->offset, rq->len))
		return rq->type == NBD_CMD_WRITE || rq->type == NBD_CMD_WRITE_ZEROES
			       ? -ENOSPC
			       : -EINVAL;
	if (n->asked_size && ((rq->offset | rq->len) & 511))
		return -EINVAL; /* it was told our minimum */
	if (!rq->len)
		return -EINVAL; /* doc/proto.md: unspecified; nobody needs it */
	return 0;
}

static const uint16_t allowed_flags[] = {
	[NBD_CMD_READ] = NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_DF,
	[NBD_CMD_WRITE] = NBD_CMD_FLAG_FUA,
	[NBD_CMD_DISC] = 0xffff,
	[NBD_CMD_FLUSH] = NBD_CMD_FLAG_FUA,
	[NBD_CMD_TRIM] = NBD_CMD_FLAG_FUA,
	[NBD_CMD_CACHE] = NBD_CMD_FLAG_FUA,
	[NBD_CMD_WRITE_ZEROES] =
		NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO,
	[NBD_CMD_BLOCK_STATUS] = NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_REQ_ONE,
};
#define NR_COMMANDS (sizeof(allowed_flags) / sizeof(allowed_flags[0]))

static int check(const struct nbd_conn *n, const struct request *rq)
{
	if (rq->type >= NR_COMMANDS || (rq->flags & ~allowed_flags[rq->type]))
		return -EINVAL;
	if ((rq->flags & NBD_CMD_FLAG_DF) && !n->structured)
		return -EINVAL;
	if (rq->type == NBD_CMD_FLUSH)
		return rq->offset || rq->len ? -EINVAL : 0;
	if (rq->type == NBD_CMD_BLOCK_STATUS && !n->context)
		return -EINVAL;
	if ((rq->type == NBD_CMD_READ || rq->type == NBD_CMD_WRITE) &&
	    rq->len > NBD_MAX_PAYLOAD)
		return -EINVAL;
	return check_range(n, rq);
}

/* ---- commands ---- */

static void grip(struct nbd_conn *n, struct nbd_slot *s, const struct request *rq)
{
	export_grip(n->export, rq->offset, rq->len);
	s->grip_len = rq->len;
}

static void do_read(struct conn *c, struct nbd_slot *s, const struct request *rq)
{
	struct nbd_conn *n = conn_state(c);
	bool hole = false;
	uint8_t *p;

	grip(n, s, rq);
	if (!n->structured) {
		simple_head(s, 0);
	} else if (export_extent(n->export, rq->offset, rq->len, &hole) == rq->len &&
		   hole) {
		p = chunk_head(s, NBD_REPLY_OFFSET_HOLE, 12, 12);
		be_put64(p, rq->offset);
		be_put32(p + 8, rq->len);
		conn_send(c, &s->tx);
		return;
	} else {
		p = chunk_head(s, NBD_REPLY_OFFSET_DATA, 8 + rq->len, 8);
		be_put64(p, rq->offset);
	}
	s->tx.export = n->export;
	s->tx.payload_len = rq->len;
	conn_send(c, &s->tx);
}

/* The payload goes to its place, or nowhere if the write may not be. */
static void do_write(struct conn *c, struct nbd_slot *s, const struct request *rq,
		     int r)
{
	struct nbd_conn *n = conn_state(c);
	uint8_t *data = NULL;

	if (r == 0) {
		grip(n, s, rq);
		r = export_prepare(n->export, rq->offset, rq->len, &data);
	}
	if (!rq->len) {
		finish_slot(c, s, r);
		return;
	}
	n->writing = s;
	s->verdict = r;
	conn_sink(c, r < 0 ? NULL : data, rq->len);
}

int nbd_payload_done(struct conn *c)
{
	struct nbd_conn *n = conn_state(c);
	struct nbd_slot *s = n->writing;

	if (!s)
		return 0; /* an oversized option's data, thrown away */
	n->writing = NULL;
	if (s->grip_len)
		export_release(n->export, s->tx.offset, s->grip_len);
	s->grip_len = 0;
	finish_slot(c, s, s->verdict);
	return 0;
}

/* One slice of a trim or zeroing. */
static int slice(struct nbd_conn *n)
{
	struct nbd_long *w = &n->work;
	/* An end inside a page would keep that page. */
	uint64_t len = WORK_SLICE - w->offset % WORK_SLICE;
	int r = 0;

	if (len > w->left)
		len = w->left;
	if (w->keep)
		r = export_zero(n->export, w->offset, len);
	else
		export_trim(n->export, w->offset, len, w->must_zero);
	w->offset += len;
	w->left -= len;
	return r;
}

int nbd_work(struct conn *c)
{
	struct nbd_conn *n = conn_state(c);
	struct nbd_slot *s = n->work.slot;
	int r;

	if (!s)
		return 0;
	r = slice(n);
	if (r == 0 && n->work.left) {
		conn_work_later(c);
		return 0;
	}
	n->work.slot = NULL;
	finish_slot(c, s, r);
	return 0;
}

static int do_clear(struct conn *c, struct nbd_slot *s, const struct request *rq)
{
	struct nbd_conn *n = conn_state(c);
	bool keep = rq->flags & NBD_CMD_FLAG_NO_HOLE;

	/* Zeroing in place is no faster than a write: FAST_ZERO asks to be told. */
	if (keep && (rq->flags & NBD_CMD_FLAG_FAST_ZERO)) {
		finish_slot(c, s, -EOPNOTSUPP);
		return 0;
	}
	n->work = (struct nbd_long){ .slot = s,
				     .offset = rq->offset,
				     .left = rq->len,
				     .keep = keep,
				     .must_zero = rq->type == NBD_CMD_WRITE_ZEROES };
	return nbd_work(c);
}

/* Up to NBD_EXTENTS runs of the same kind, from the front of the range. */
static void do_block_status(struct conn *c, struct nbd_slot *s,
			    const struct request *rq)
{
	struct nbd_conn *n = conn_state(c);
	uint32_t max = rq->flags & NBD_CMD_FLAG_REQ_ONE ? 1 : NBD_EXTENTS, nr;
	uint64_t at = rq->offset, end = rq->offset + rq->len;
	uint8_t *p = s->extents + 4;

	for (nr = 0; nr < max && at < end; nr++, p += 8) {
		bool hole;
		uint64_t run = export_extent(n->export, at, end - at, &hole);

		be_put32(p, (uint32_t)run);
		be_put32(p + 4, hole ? NBD_STATE_HOLE | NBD_STATE_ZERO : 0);
		at += run;
	}
	be_put32(s->extents, NBD_CONTEXT_ID);
	chunk_head(s, NBD_REPLY_BLOCK_STATUS, 4 + 8 * nr, 0);
	s->tx.data = s->extents;
	s->tx.payload_len = 4 + 8 * nr;
	conn_send(c, &s->tx);
}

static const enum io_op op_of[] = {
	[NBD_CMD_READ] = IO_READ,         [NBD_CMD_WRITE] = IO_WRITE,
	[NBD_CMD_DISC] = IO_OTHER,        [NBD_CMD_FLUSH] = IO_FLUSH,
	[NBD_CMD_TRIM] = IO_TRIM,         [NBD_CMD_CACHE] = IO_OTHER,
	[NBD_CMD_WRITE_ZEROES] = IO_ZERO, [NBD_CMD_BLOCK_STATUS] = IO_OTHER,
};

/* What goes over the wire for it; a refused one costs no more than being one. */
static uint64_t bytes_of(const struct request *rq, int r)
{
	bool moves = rq->type == NBD_CMD_READ || rq->type == NBD_CMD_WRITE;

	return moves && r == 0 ? rq->len : 0;
}

static int dispatch(struct conn *c, const struct request *rq)
{
	struct nbd_slot *s;
	int r;

	if (rq->type == NBD_CMD_DISC)
		return -ESHUTDOWN;
	s = slot_take(c, rq);
	s->tx.op = rq->type < NR_COMMANDS ? op_of[rq->type] : IO_OTHER;
	r = check(conn_state(c), rq);
	conn_charge(c, bytes_of(rq, r));
	if (r < 0)
		conn_warn(
			c,
			"request refused: command %u flags 0x%x offset %llu length %u",
			rq->type, rq->flags, (unsigned long long)rq->offset, rq->len);
	if (rq->type == NBD_CMD_WRITE) { /* its payload comes, right or wrong */
		do_write(c, s, rq, r);
		return 0;
	}
	if (r < 0) {
		finish_slot(c, s, r);
		return 0;
	}
	switch (rq->type) {
	case NBD_CMD_READ:
		do_read(c, s, rq);
		break;
	case NBD_CMD_TRIM:
	case NBD_CMD_WRITE_ZEROES:
		return do_clear(c, s, rq);
	case NBD_CMD_BLOCK_STATUS:
		do_block_status(c, s, rq);
		break;
	default: /* FLUSH: memory is as stable as it gets; CACHE: it is cached */
		finish_slot(c, s, 0);
	}
	return 0;
}

ssize_t nbd_request_take(struct conn *c, const uint8_t *data, size_t len)
{
	struct nbd_request h;
	struct request rq;
	int r;

	if (len < sizeof(h))
		return 0;
	memcpy(&h, data, sizeof(h));
	if (be32toh(h.magic) != NBD_REQUEST_MAGIC) {
		conn_warn(c, "not an NBD request (magic 0x%x)", be32toh(h.magic));
		return -EPROTO;
	}
	rq.flags = be16toh(h.flags);
	rq.type = be16toh(h.type);
	rq.cookie = h.cookie;
	rq.offset = be64toh(h.offset);
	rq.len = be32toh(h.len);
	r = dispatch(c, &rq);
	return r < 0 ? r : (ssize_t)sizeof(h);
}

/* ---- the front end ---- */

static ssize_t nbd_receive(struct conn *c, const uint8_t *data, size_t len)
{
	const struct nbd_conn *n = conn_state(c);

	return n->phase == NBD_TRANSMISSION ? nbd_request_take(c, data, len)
					    : nbd_negotiate(c, data, len);
}

static bool nbd_ready(struct conn *c)
{
	const struct nbd_conn *n = conn_state(c);

	if (n->phase != NBD_TRANSMISSION)
		return n->replies < NBD_HANDSHAKE_REPLIES;
	return n->free && !n->work.slot;
}

static void nbd_close(struct conn *c)
{
	struct nbd_conn *n = conn_state(c);

	if (!n->export)
		return;
	if (n->writing && n->writing->grip_len)
		export_release(n->export, n->writing->tx.offset, n->writing->grip_len);
	export_detach(n->export);
	export_put(n->export);
}

const struct front front_nbd = {
	.name = "nbd",
	.state_size = sizeof(struct nbd_conn),
	.open = nbd_greet,
	.receive = nbd_receive,
	.sunk = nbd_payload_done,
	.ready = nbd_ready,
	.work = nbd_work,
	.close = nbd_close,
};
