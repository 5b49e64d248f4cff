// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * NBD for the load client: fixed newstyle with NBD_OPT_GO, simple replies
 * (NetworkBlockDevice/nbd, doc/proto.md). The engine's one thread.
 */
#include "lib/proto/nbd.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/lib/conn.h"

static int skip(struct conn *c, size_t len_bytes)
{
	char waste[256];
	int r = 0;

	while (len_bytes && !r) {
		size_t n = len_bytes < sizeof(waste) ? len_bytes : sizeof(waste);

		r = conn_read(c, waste, n);
		len_bytes -= n;
	}
	return r;
}

static int hello(struct conn *c)
{
	uint32_t flags = htobe32(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	struct nbd_hello h;
	int r = conn_read(c, &h, sizeof(h));

	if (r < 0)
		return r;
	if (be64toh(h.magic) != NBD_MAGIC || be64toh(h.opts_magic) != NBD_OPTS_MAGIC ||
	    !(be16toh(h.flags) & NBD_FLAG_FIXED_NEWSTYLE))
		return -EPROTO;
	return conn_write(c, &flags, sizeof(flags));
}

static int start_tls(struct conn *c)
{
	struct nbd_opt opt = { .magic = htobe64(NBD_OPTS_MAGIC),
			       .option = htobe32(NBD_OPT_STARTTLS) };
	struct nbd_opt_reply rep;
	int r = conn_write(c, &opt, sizeof(opt));

	if (!r)
		r = conn_read(c, &rep, sizeof(rep));
	if (r < 0)
		return r;
	if (be32toh(rep.type) != NBD_REP_ACK) {
		fprintf(stderr, "nbd: the server refuses TLS: %#x\n",
			be32toh(rep.type));
		return -EOPNOTSUPP;
	}
	return conn_start_tls(c);
}

static int send_go(struct conn *c, const char *name)
{
	uint32_t name_len = (uint32_t)strlen(name);
	struct nbd_opt opt = { .magic = htobe64(NBD_OPTS_MAGIC),
			       .option = htobe32(NBD_OPT_GO),
			       .len = htobe32(4 + name_len + 2) };
	uint8_t buf[sizeof(opt) + 4 + NBD_MAX_STRING + 2] = { 0 }, *p = buf;

	if (name_len > NBD_MAX_STRING)
		return -ENAMETOOLONG;
	memcpy(p, &opt, sizeof(opt));
	p += sizeof(opt);
	memcpy(p, &(uint32_t){ htobe32(name_len) }, 4);
	memcpy(p + 4, name, name_len);
	p += 4 + name_len + 2; /* no information asked for: the export's comes anyway */
	return conn_write(c, buf, (size_t)(p - buf));
}

static int read_go(struct conn *c, uint64_t *ret_size)
{
	for (;;) {
		struct nbd_opt_reply rep;
		struct nbd_info_export info;
		uint32_t len;
		int r = conn_read(c, &rep, sizeof(rep));

		if (r < 0)
			return r;
		len = be32toh(rep.len);
		if (be32toh(rep.type) == NBD_REP_ACK)
			return 0;
		if (be32toh(rep.type) != NBD_REP_INFO) {
			fprintf(stderr, "nbd: the server refuses the export: %#x\n",
				be32toh(rep.type));
			return -ENOENT;
		}
		if (len < sizeof(info)) {
			r = skip(c, len);
		} else {
			r = conn_read(c, &info, sizeof(info));
			if (!r)
				r = skip(c, len - sizeof(info));
			if (!r && be16toh(info.info) == NBD_INFO_EXPORT)
				*ret_size = be64toh(info.size);
		}
		if (r < 0)
			return r;
	}
}

static int nbd_open(struct conn *c)
{
	int r = hello(c);

	if (!r && c->target->tls)
		r = start_tls(c);
	if (!r)
		r = send_go(c, c->target->export);
	if (!r)
		r = read_go(c, &c->target->size_bytes);
	if (r < 0 && !c->target->quiet)
		fprintf(stderr, "nbd: negotiation: %s\n", strerror(-r));
	return r;
}

static void nbd_submit(struct conn *c, struct request *r)
{
	static const uint16_t type[] = { [IO_READ] = NBD_CMD_READ,
					 [IO_WRITE] = NBD_CMD_WRITE,
					 [IO_TRIM] = NBD_CMD_TRIM };
	struct nbd_request *q = (void *)r->header;

	q->magic = htobe32(NBD_REQUEST_MAGIC);
	q->flags = 0;
	q->type = htobe16(type[r->op]);
	q->cookie = r->tag;
	q->offset = htobe64(r->offset);
	q->len = htobe32(r->len_bytes);
	conn_push(c, q, sizeof(*q));
	if (r->op == IO_WRITE)
		conn_push(c, r->data, r->len_bytes);
}

static int nbd_reply(struct conn *c, const uint8_t *head, size_t have)
{
	struct nbd_simple_reply rep;
	struct request *r;

	memcpy(&rep, head, sizeof(rep));
	if (be32toh(rep.magic) != NBD_SIMPLE_MAGIC) {
		fprintf(stderr, "nbd: not a simple reply: %#x\n", be32toh(rep.magic));
		return -EPROTO;
	}
	r = rep.cookie < c->depth ? conn_find(c, (uint32_t)rep.cookie) : NULL;
	if (!r)
		return -EPROTO;
	if (rep.error) {
		fprintf(stderr, "nbd: error %u at offset %" PRIu64 "\n",
			be32toh(rep.error), r->offset);
		return -EIO;
	}
	if (r->op == IO_READ)
		conn_expect(c, r, 0, r->len_bytes);
	else
		conn_done(c, r);
	return (int)have;
}

const struct proto nbd_proto = {
	.name = "nbd",
	.default_export = "",
	.reply_bytes = sizeof(struct nbd_simple_reply),
	.open = nbd_open,
	.header_bytes = sizeof(struct nbd_request),
	.submit = nbd_submit,
	.reply = nbd_reply,
};
