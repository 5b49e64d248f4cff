// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The client's side of the bare request and reply: sizes as of NBD, nothing looked
 * up, nothing checked. What a server adds to this is the server. The engine's one
 * thread.
 */
#include "bench/lib/limit.h"

#include <errno.h>
#include <stdio.h>

#include "bench/lib/conn.h"
#include "bench/lib/net.h"

static int limit_probe(struct target *t)
{
	t->size_bytes = UINT64_C(1) << 40;
	return 0;
}

static int limit_open(struct conn *c)
{
	const struct target *t = c->target;
	struct limit_hello h = { .magic = LIMIT_MAGIC,
				 .request_bytes = LIMIT_REQUEST_BYTES,
				 .reply_bytes = LIMIT_REPLY_BYTES };

	if (t->first_op == IO_WRITE)
		h.request_bytes += t->block_bytes;
	if (t->first_op == IO_READ)
		h.reply_bytes += t->block_bytes;
	return net_write(c->fd, &h, sizeof(h));
}

static void limit_submit(struct conn *c, struct request *r)
{
	conn_push(c, r->header, LIMIT_REQUEST_BYTES);
	if (r->op == IO_WRITE)
		conn_push(c, r->data, r->len_bytes);
	c->fifo[(c->fifo_first + c->fifo_used++) % c->depth] = r->tag;
}

static int limit_reply(struct conn *c, const uint8_t *head, size_t have)
{
	struct request *r;

	if (!c->fifo_used)
		return -EPROTO;
	r = conn_find(c, c->fifo[c->fifo_first]);
	if (!r)
		return -EPROTO;
	c->fifo_first = (c->fifo_first + 1) % c->depth;
	c->fifo_used--;
	if (r->op == IO_READ)
		conn_expect(c, r, 0, r->len_bytes);
	else
		conn_done(c, r);
	return (int)have;
}

const struct proto limit_proto = {
	.name = "limit",
	.default_export = "",
	.reply_bytes = LIMIT_REPLY_BYTES,
	.probe = limit_probe,
	.open = limit_open,
	.header_bytes = LIMIT_REQUEST_BYTES,
	.submit = limit_submit,
	.reply = limit_reply,
};
