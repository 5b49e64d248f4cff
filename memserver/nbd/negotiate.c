/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The handshake: options in, replies out, an export chosen. On the worker; here alone
 * replies are allocated, because a client that negotiates does not swap yet.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memserver/exports.h"
#include "memserver/nbd/nbd.h"
#include "memserver/nbd/option.h"

#define DEFAULT_EXPORT "default"
#define CONTEXT        "base:allocation"
#define MIN_BLOCK      512

/* A handshake reply: freed when sent. */
struct reply {
	struct conn_tx tx;
	uint8_t bytes[];
};

static void reply_sent(struct conn *c, struct conn_tx *tx)
{
	struct nbd_conn *n = conn_state(c);

	n->replies--;
	free(container_of(tx, struct reply, tx));
}

/* Queues two pieces as one reply. */
static int send_pieces(struct conn *c, const void *a, size_t a_len, const void *b,
		       size_t b_len)
{
	struct nbd_conn *n = conn_state(c);
	struct reply *r = calloc(1, sizeof(*r) + a_len + b_len);

	if (!r)
		return -ENOMEM;
	memcpy(r->bytes, a, a_len);
	if (b_len)
		memcpy(r->bytes + a_len, b, b_len);
	r->tx.data = r->bytes;
	r->tx.payload_len = (uint32_t)(a_len + b_len);
	r->tx.sent = reply_sent;
	n->replies++;
	conn_send(c, &r->tx);
	return 0;
}

static int answer(struct conn *c, uint32_t option, uint32_t type, const void *data,
		  size_t len)
{
	struct nbd_opt_reply h = {
		.magic = htobe64(NBD_OPT_REPLY_MAGIC),
		.option = htobe32(option),
		.type = htobe32(type),
		.len = htobe32((uint32_t)len),
	};

	return send_pieces(c, &h, sizeof(h), data, len);
}

/* An error, with words for the person at the other end. */
static int refuse(struct conn *c, uint32_t option, uint32_t type, const char *words)
{
	return answer(c, option, type, words, strlen(words));
}

int nbd_greet(struct conn *c)
{
	struct nbd_hello h = {
		.magic = htobe64(NBD_MAGIC),
		.opts_magic = htobe64(NBD_OPTS_MAGIC),
		.flags = htobe16(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES),
	};

	return send_pieces(c, &h, sizeof(h), NULL, 0);
}

/* ---- which export ---- */

static struct export *find(struct conn *c, struct nbd_text name)
{
	if (!name.len)
		return exports_find(conn_exports(c), DEFAULT_EXPORT,
				    strlen(DEFAULT_EXPORT));
	return exports_find(conn_exports(c), name.text, name.len);
}

static uint16_t transmission_flags(const struct nbd_conn *n)
{
	return NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA |
	       NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES |
	       NBD_FLAG_SEND_FAST_ZERO | NBD_FLAG_CAN_MULTI_CONN | NBD_FLAG_SEND_CACHE |
	       (n->structured ? NBD_FLAG_SEND_DF : 0);
}

/* Becomes the export's client, or not (r < 0: what went wrong after export_attach).
 * Takes the reference over. */
static int enter(struct conn *c, struct export *e, int r)
{
	if (r == 0) {
		nbd_enter_transmission(c, e);
		return 0;
	}
	export_detach(e);
	export_put(e);
	return r;
}

static int option_export_name(struct conn *c, const uint8_t *data, uint32_t len)
{
	struct nbd_conn *n = conn_state(c);
	struct nbd_text name = { (const char *)data, len };
	struct export *e = find(c, name);
	struct nbd_export_name_reply h;
	uint8_t zeroes[NBD_EXPORT_NAME_ZEROES] = { 0 };
	int r;

	if (!e) { /* this old option has no error reply: the end is the answer */
		conn_warn(c, "asked for an export that is not here: %.*s", (int)len,
			  (const char *)data);
		return -EPROTO;
	}
	r = conn_allows(c, e);
	if (r < 0) {
		conn_warn(c, "refused: %s",
			  r == -ENOTSUP
				  ? "the export is served with TLS only"
				  : "it may not open that export (--tls-clients)");
		export_put(e);
		return -EPROTO;
	}
	r = export_attach(e);
	if (r < 0) {
		if (r == -EBUSY)
			conn_warn(c, "refused: the export is in use over iSCSI");
		export_put(e);
		return r;
	}
	h.size = htobe64(export_size(e));
	h.flags = htobe16(transmission_flags(n));
	r = send_pieces(c, &h, sizeof(h), zeroes, n->no_zeroes ? 0 : sizeof(zeroes));
	return enter(c, e, r);
}

/* ---- TLS ---- */

/* Until it is encrypted a connection that must be may do nothing else. */
static bool must_encrypt(const struct conn *c)
{
	return conn_tls_need(c) == CONN_TLS_REQUIRED && !conn_is_tls(c);
}

/*
 * No such export, or none that this client may open: the same words for both, so that
 * asking tells nobody which names there are.
 */
static int refuse_unknown(struct conn *c, uint32_t option)
{
	return refuse(c, option, NBD_REP_ERR_UNKNOWN,
		      "no such export here for this client (or not of that "
		      "generation)");
}

/* What conn_allows has against it, in the protocol's words. */
static int refuse_use(struct conn *c, uint32_t option, int r)
{
	if (r == -ENOTSUP) {
		conn_warn(c, "refused: asked in the clear for an export that is "
			     "served with TLS only");
		return refuse(c, option, NBD_REP_ERR_TLS_REQD,
			      "this export is served with TLS only");
	}
	conn_warn(c, "refused: %s may not open that export (--tls-clients)",
		  conn_proved_name(c) ? conn_proved_name(c) : "an anonymous client");
	return refuse_unknown(c, option);
}

static int refuse_clear(struct conn *c, uint32_t option)
{
	struct nbd_conn *n = conn_state(c);

	if (!n->told_tls)
		conn_warn(c, "refused: it asks for something in the clear, and TLS is "
			     "required here");
	n->told_tls = true;
	if (option == NBD_OPT_EXPORT_NAME) /* has no error reply */
		return -EPROTO;
	return refuse(c, option, NBD_REP_ERR_TLS_REQD,
		      "this server requires TLS: send STARTTLS first");
}

static int option_starttls(struct conn *c, uint32_t len)
{
	struct nbd_conn *n = conn_state(c);
	int r;

	if (conn_tls_need(c) == CONN_TLS_OFF)
		return refuse(c, NBD_OPT_STARTTLS, NBD_REP_ERR_UNSUP,
			      "this server has no TLS");
	if (len || conn_is_tls(c))
		return refuse(c, NBD_OPT_STARTTLS, NBD_REP_ERR_INVALID,
			      len ? "STARTTLS takes no data"
				  : "it is encrypted already");
	r = answer(c, NBD_OPT_STARTTLS, NBD_REP_ACK, NULL, 0);
	if (r == 0)
		r = conn_start_tls(c);
	/* Nothing that was said in the clear holds. */
	n->structured = n->asked_size = n->context = false;
	return r;
}

/* ---- INFO and GO ---- */

static int send_info(struct conn *c, uint32_t option, struct export *e)
{
	struct nbd_info_export i = {
		.info = htobe16(NBD_INFO_EXPORT),
		.size = htobe64(export_size(e)),
		.flags = htobe16(transmission_flags(conn_state(c))),
	};

	return answer(c, option, NBD_REP_INFO, &i, sizeof(i));
}

/*
 * The canonical name carries the generation: a client that reconnects with it never
 * meets a reborn export under the old name.
 */
static int send_name(struct conn *c, uint32_t option, struct export *e)
{
	char buf[2 + EXPORT_NAME_MAX + 16];
	int n = snprintf(buf + 2, sizeof(buf) - 2, "%s@%s", export_name(e),
			 export_id(e)->generation);

	buf[0] = 0;
	buf[1] = NBD_INFO_NAME;
	return answer(c, option, NBD_REP_INFO, buf, (size_t)n + 2);
}

static int send_description(struct conn *c, uint32_t option)
{
	static const char text[] = "\0\2memory lent by remem memserver";

	return answer(c, option, NBD_REP_INFO, text, sizeof(text) - 1);
}

static int send_block_size(struct conn *c, uint32_t option)
{
	struct nbd_info_block_size b = {
		.info = htobe16(NBD_INFO_BLOCK_SIZE),
		.minimum = htobe32(MIN_BLOCK),
		.preferred = htobe32(EXPORT_BLOCK),
		.maximum = htobe32(NBD_MAX_PAYLOAD),
	};
	struct nbd_conn *n = conn_state(c);

	n->asked_size = true;
	return answer(c, option, NBD_REP_INFO, &b, sizeof(b));
}

static int send_infos(struct conn *c, uint32_t option, const struct nbd_opt_info *info,
		      struct export *e)
{
	uint16_t seen = 0; /* each kind once, however often it is asked for */
	int r = send_info(c, option, e);

	for (uint16_t i = 0; i < info->nr_requests && r == 0; i++) {
		uint16_t want = nbd_option_request(info, i);

		if (want > NBD_INFO_BLOCK_SIZE || (seen & 1u << want))
			continue;
		seen |= (uint16_t)(1u << want);
		if (want == NBD_INFO_NAME)
			r = send_name(c, option, e);
		else if (want == NBD_INFO_DESCRIPTION)
			r = send_description(c, option);
		else if (want == NBD_INFO_BLOCK_SIZE)
			r = send_block_size(c, option);
	}
	return r;
}

/* What export_attach has against it. */
static int refuse_attach(struct conn *c, uint32_t option, int r)
{
	if (r == -ESHUTDOWN)
		return refuse(c, option, NBD_REP_ERR_SHUTDOWN,
			      "it is being dropped or cut down");
	conn_warn(c, "refused: the export is %s",
		  r == -EBUSY ? "in use over iSCSI"
			      : "with tgtd, which does not answer");
	return refuse(c, option, NBD_REP_ERR_POLICY,
		      r == -EBUSY ? "it is in use over iSCSI, or kept for an initiator "
				    "that is reconnecting"
				  : "it is served over iSCSI and can't be had now");
}

static int option_info_go(struct conn *c, uint32_t option, const uint8_t *data,
			  uint32_t len)
{
	struct nbd_conn *n = conn_state(c);
	bool go = option == NBD_OPT_GO;
	struct nbd_opt_info info;
	struct export *e;
	int r;

	if (nbd_option_info(data, len, &info) < 0)
		return refuse(c, option, NBD_REP_ERR_INVALID, "malformed option data");
	e = find(c, info.name);
	if (!e) {
		conn_info(c, "asked for an export that is not here: %.*s",
			  (int)info.name.len, info.name.text);
		return refuse_unknown(c, option);
	}
	r = conn_allows(c, e);
	if (r < 0) {
		export_put(e);
		return refuse_use(c, option, r);
	}
	r = go ? export_attach(e) : 0;
	if (r < 0) {
		export_put(e);
		return refuse_attach(c, option, r);
	}
	n->asked_size = false;
	r = send_infos(c, option, &info, e);
	if (r == 0)
		r = answer(c, option, NBD_REP_ACK, NULL, 0);
	if (go)
		return enter(c, e, r);
	export_put(e);
	return r;
}

/* ---- the other options ---- */

struct list_arg {
	struct conn *c;
	int r;
};

static int list_one(struct export *e, void *arg)
{
	struct list_arg *l = arg;
	uint32_t name_len = (uint32_t)strlen(export_name(e));
	uint8_t buf[4 + EXPORT_NAME_MAX];
	uint32_t be = htobe32(name_len);

	if (conn_allows(l->c, e) < 0)
		return 0;
	memcpy(buf, &be, 4);
	memcpy(buf + 4, export_name(e), name_len);
	l->r = answer(l->c, NBD_OPT_LIST, NBD_REP_SERVER, buf, 4 + name_len);
	return l->r;
}

static int option_list(struct conn *c, uint32_t len)
{
	struct list_arg l = { .c = c };

	if (len)
		return refuse(c, NBD_OPT_LIST, NBD_REP_ERR_INVALID,
			      "LIST takes no data");
	exports_each(conn_exports(c), list_one, &l);
	return l.r ? l.r : answer(c, NBD_OPT_LIST, NBD_REP_ACK, NULL, 0);
}

static int option_structured(struct conn *c, uint32_t len)
{
	struct nbd_conn *n = conn_state(c);

	if (len)
		return refuse(c, NBD_OPT_STRUCTURED_REPLY, NBD_REP_ERR_INVALID,
			      "STRUCTURED_REPLY takes no data");
	n->structured = true;
	return answer(c, NBD_OPT_STRUCTURED_REPLY, NBD_REP_ACK, NULL, 0);
}

static bool matches(struct nbd_text query, bool listing)
{
	return (query.len == strlen(CONTEXT) &&
		!memcmp(query.text, CONTEXT, query.len)) ||
	       (listing && query.len == 5 && !memcmp(query.text, "base:", 5));
}

static int send_context(struct conn *c, uint32_t option)
{
	uint8_t buf[4 + sizeof(CONTEXT) - 1];
	uint32_t id = htobe32(option == NBD_OPT_SET_META_CONTEXT ? NBD_CONTEXT_ID : 0);

	memcpy(buf, &id, 4);
	memcpy(buf + 4, CONTEXT, sizeof(CONTEXT) - 1);
	return answer(c, option, NBD_REP_META_CONTEXT, buf, sizeof(buf));
}

static int option_meta(struct conn *c, uint32_t option, const uint8_t *data,
		       uint32_t len)
{
	bool listing = option == NBD_OPT_LIST_META_CONTEXT, wanted;
	struct nbd_conn *n = conn_state(c);
	struct nbd_opt_meta m;
	struct nbd_text query;
	const uint8_t *at;
	struct export *e;
	int r = 0;

	if (!listing) /* replaces what was selected, even by failing */
		n->context = false;
	if (!n->structured)
		return refuse(c, option, NBD_REP_ERR_INVALID,
			      "negotiate structured replies first");
	if (nbd_option_meta(data, len, &m) < 0)
		return refuse(c, option, NBD_REP_ERR_INVALID, "malformed option data");
	e = find(c, m.name);
	if (!e)
		return refuse_unknown(c, option);
	r = conn_allows(c, e);
	if (r < 0) {
		export_put(e);
		return refuse_use(c, option, r);
	}
	wanted = listing && !m.nr_queries;
	at = m.queries;
	for (uint32_t i = 0; i < m.nr_queries; i++)
		if (!nbd_option_query(&m, &at, &query))
			wanted |= matches(query, listing);
	if (wanted)
		r = send_context(c, option);
	if (wanted && !listing) {
		n->context = true;
		snprintf(n->context_name, sizeof(n->context_name), "%s",
			 export_name(e));
	}
	export_put(e);
	return r ? r : answer(c, option, NBD_REP_ACK, NULL, 0);
}

static int one_option(struct conn *c, uint32_t option, const uint8_t *data,
		      uint32_t len)
{
	int r;

	if (must_encrypt(c) && option != NBD_OPT_STARTTLS && option != NBD_OPT_ABORT)
		return refuse_clear(c, option);
	switch (option) {
	case NBD_OPT_STARTTLS:
		return option_starttls(c, len);
	case NBD_OPT_EXPORT_NAME:
		return option_export_name(c, data, len);
	case NBD_OPT_ABORT:
		r = answer(c, option, NBD_REP_ACK, NULL, 0);
		return r ? r : -ESHUTDOWN;
	case NBD_OPT_LIST:
		return option_list(c, len);
	case NBD_OPT_INFO:
	case NBD_OPT_GO:
		return option_info_go(c, option, data, len);
	case NBD_OPT_STRUCTURED_REPLY:
		return option_structured(c, len);
	case NBD_OPT_LIST_META_CONTEXT:
	case NBD_OPT_SET_META_CONTEXT:
		return option_meta(c, option, data, len);
	default:
		return refuse(c, option, NBD_REP_ERR_UNSUP, "not supported here");
	}
}

static ssize_t take_flags(struct conn *c, const uint8_t *data, size_t len)
{
	struct nbd_conn *n = conn_state(c);
	uint32_t flags;

	if (len < sizeof(flags))
		return 0;
	memcpy(&flags, data, sizeof(flags));
	flags = be32toh(flags);
	if (flags & ~(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES)) {
		conn_warn(c, "unknown handshake flags 0x%x", flags);
		return -EPROTO;
	}
	n->no_zeroes = flags & NBD_FLAG_NO_ZEROES;
	n->phase = NBD_OPTIONS;
	return sizeof(flags);
}

ssize_t nbd_negotiate(struct conn *c, const uint8_t *data, size_t len)
{
	struct nbd_conn *n = conn_state(c);
	struct nbd_opt h;
	uint32_t option, opt_len;
	int r;

	if (n->phase == NBD_WAIT_FLAGS)
		return take_flags(c, data, len);
	if (len < sizeof(h))
		return 0;
	memcpy(&h, data, sizeof(h));
	option = be32toh(h.option);
	opt_len = be32toh(h.len);
	if (be64toh(h.magic) != NBD_OPTS_MAGIC) {
		conn_warn(c, "not an NBD option (wrong magic)");
		return -EPROTO;
	}
	if (opt_len > NBD_OPTION_MAX) {
		if (opt_len > NBD_MAX_PAYLOAD || option == NBD_OPT_EXPORT_NAME) {
			conn_warn(c, "an option with %u bytes of data", opt_len);
			return -EPROTO;
		}
		conn_sink(c, NULL, opt_len);
		r = refuse(c, option, NBD_REP_ERR_TOO_BIG, "option data too long");
		return r < 0 ? r : (ssize_t)sizeof(h);
	}
	if (len - sizeof(h) < opt_len)
		return 0;
	r = one_option(c, option, data + sizeof(h), opt_len);
	return r < 0 ? r : (ssize_t)(sizeof(h) + opt_len);
}
