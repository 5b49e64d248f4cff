/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes of a server in negotiation go in, bytes for it and a struct nbd_export_info
 * come out. Pure: any thread, one at a time per struct.
 */
#include "client/nbd_handshake.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "lib/be.h"
#include "lib/proto/nbd.h"

/* A server that never comes to the end of an option; a list may be long. */
#define MAX_REPLIES_GO   64
#define MAX_REPLIES_LIST 65536

static void put(struct nbd_handshake *h, const void *bytes, size_t len)
{
	memcpy(h->out + h->out_len, bytes, len);
	h->out_len += len;
}

static void put_be16(struct nbd_handshake *h, uint16_t v)
{
	v = htobe16(v);
	put(h, &v, sizeof(v));
}

static void put_be32(struct nbd_handshake *h, uint32_t v)
{
	v = htobe32(v);
	put(h, &v, sizeof(v));
}

static void put_option(struct nbd_handshake *h, uint32_t option, uint32_t len)
{
	struct nbd_opt o = {
		.magic = htobe64(NBD_OPTS_MAGIC),
		.option = htobe32(option),
		.len = htobe32(len),
	};

	put(h, &o, sizeof(o));
	h->option = option;
	h->nr_replies = 0;
}

int nbd_handshake_init(struct nbd_handshake *h, const char *name)
{
	if (strlen(name) > NBD_HANDSHAKE_NAME_MAX)
		return -ENAMETOOLONG;
	memset(h, 0, sizeof(*h));
	strcpy(h->info.name, name);
	h->state = NBD_HANDSHAKE_HELLO;
	return 0;
}

void nbd_handshake_list(struct nbd_handshake *h)
{
	h->out_len = 0;
	put_option(h, NBD_OPT_LIST, 0);
	h->refusal = 0;
	h->state = NBD_HANDSHAKE_HEAD;
}

const uint8_t *nbd_handshake_output(struct nbd_handshake *h, size_t *ret_len)
{
	*ret_len = h->out_len;
	h->out_len = 0;
	return h->out;
}

size_t nbd_handshake_want(const struct nbd_handshake *h)
{
	switch (h->state) {
	case NBD_HANDSHAKE_HELLO:
		return sizeof(struct nbd_hello);
	case NBD_HANDSHAKE_HEAD:
		return sizeof(struct nbd_opt_reply);
	case NBD_HANDSHAKE_BODY:
		return h->len;
	case NBD_HANDSHAKE_END:
		break;
	}
	return 0;
}

static int feed_hello(struct nbd_handshake *h, const uint8_t *bytes)
{
	size_t name_len = strlen(h->info.name);
	struct nbd_hello hello;

	memcpy(&hello, bytes, sizeof(hello));
	if (be64toh(hello.magic) != NBD_MAGIC)
		return -EPROTO;
	if (be64toh(hello.opts_magic) != NBD_OPTS_MAGIC ||
	    !(be16toh(hello.flags) & NBD_FLAG_FIXED_NEWSTYLE))
		return -EOPNOTSUPP;
	put_be32(h,
		 NBD_FLAG_FIXED_NEWSTYLE | (be16toh(hello.flags) & NBD_FLAG_NO_ZEROES));
	put_option(h, NBD_OPT_GO, (uint32_t)(4 + name_len + 2 + 2 * 2));
	put_be32(h, (uint32_t)name_len);
	put(h, h->info.name, name_len);
	put_be16(h, 2);
	put_be16(h, NBD_INFO_NAME);
	put_be16(h, NBD_INFO_BLOCK_SIZE);
	h->state = NBD_HANDSHAKE_HEAD;
	return 0;
}

/* A name that is cut or holds a NUL would not be the one the server meant. */
static int info_name(struct nbd_handshake *h, const uint8_t *name, size_t len)
{
	if (!len || len > NBD_HANDSHAKE_NAME_MAX || memchr(name, '\0', len))
		return -EPROTO;
	memcpy(h->info.name, name, len);
	h->info.name[len] = '\0';
	return 0;
}

static int feed_info(struct nbd_handshake *h, const uint8_t *body)
{
	if (h->len < 2)
		return -EPROTO;
	switch (be_get16(body)) {
	case NBD_INFO_EXPORT:
		if (h->len != sizeof(struct nbd_info_export))
			return -EPROTO;
		h->info.size_bytes =
			(uint64_t)be_get32(body + 2) << 32 | be_get32(body + 6);
		h->info.flags = be_get16(body + 10);
		h->has_export = true;
		return 0;
	case NBD_INFO_BLOCK_SIZE:
		if (h->len != sizeof(struct nbd_info_block_size))
			return -EPROTO;
		h->info.block_min = be_get32(body + 2);
		h->info.block_preferred = be_get32(body + 6);
		h->info.block_max = be_get32(body + 10);
		return 0;
	case NBD_INFO_NAME:
		return info_name(h, body + 2, h->len - 2);
	default:
		return 0; /* doc/proto.md: unknown information is ignored */
	}
}

static int feed_server(struct nbd_handshake *h, const uint8_t *body)
{
	uint32_t len;

	if (h->len < 4)
		return -EPROTO;
	len = be_get32(body);
	if (len > h->len - 4)
		return -EPROTO;
	if (h->found)
		h->found(h->found_arg, (const char *)body + 4, len);
	return 0;
}

static int refused(struct nbd_handshake *h, const uint8_t *text)
{
	size_t n = h->len;

	if (n > sizeof(h->refusal_text) - 1)
		n = sizeof(h->refusal_text) - 1;
	for (size_t i = 0; i < n; i++)
		h->refusal_text[i] =
			text[i] < ' ' || text[i] == 0x7f ? '?' : (char)text[i];
	h->refusal_text[n] = '\0';
	h->refusal = h->reply;
	h->state = NBD_HANDSHAKE_END;
	return 1;
}

static int feed_body(struct nbd_handshake *h, const uint8_t *body)
{
	bool go = h->option == NBD_OPT_GO;

	h->state = NBD_HANDSHAKE_HEAD;
	if (h->reply == NBD_REP_ACK) {
		if (h->len || (go && !h->has_export))
			return -EPROTO;
		h->state = NBD_HANDSHAKE_END;
		return 1;
	}
	if (h->reply & UINT32_C(0x80000000))
		return refused(h, body);
	if (h->reply == NBD_REP_INFO && go)
		return feed_info(h, body);
	if (h->reply == NBD_REP_SERVER && !go)
		return feed_server(h, body);
	return -EPROTO;
}

static int feed_head(struct nbd_handshake *h, const uint8_t *bytes)
{
	struct nbd_opt_reply r;

	memcpy(&r, bytes, sizeof(r));
	if (be64toh(r.magic) != NBD_OPT_REPLY_MAGIC || be32toh(r.option) != h->option)
		return -EPROTO;
	if (be32toh(r.len) > NBD_HANDSHAKE_CHUNK)
		return -EPROTO;
	if (++h->nr_replies >
	    (h->option == NBD_OPT_GO ? MAX_REPLIES_GO : MAX_REPLIES_LIST))
		return -EPROTO;
	h->reply = be32toh(r.type);
	h->len = be32toh(r.len);
	if (!h->len)
		return feed_body(h, bytes);
	h->state = NBD_HANDSHAKE_BODY;
	return 0;
}

int nbd_handshake_feed(struct nbd_handshake *h, const uint8_t *bytes)
{
	switch (h->state) {
	case NBD_HANDSHAKE_HELLO:
		return feed_hello(h, bytes);
	case NBD_HANDSHAKE_HEAD:
		return feed_head(h, bytes);
	case NBD_HANDSHAKE_BODY:
		return feed_body(h, bytes);
	case NBD_HANDSHAKE_END:
		break;
	}
	return -EPROTO;
}

int nbd_handshake_errno(const struct nbd_handshake *h)
{
	switch (h->refusal) {
	case 0:
		return 0;
	case NBD_REP_ERR_UNKNOWN:
		return -ENOENT;
	case NBD_REP_ERR_POLICY:
		return -EACCES;
	case NBD_REP_ERR_TLS_REQD:
		return -ENOKEY;
	case NBD_REP_ERR_SHUTDOWN:
		return -ESHUTDOWN;
	case NBD_REP_ERR_UNSUP:
		return -EOPNOTSUPP;
	default:
		return -EPROTO;
	}
}
