/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The client's half of NBD's fixed newstyle negotiation (doc/proto.md, "Fixed newstyle
 * negotiation", NBD_OPT_GO and NBD_OPT_LIST), as a pure state machine: the caller
 * sends what it says, reads as many bytes as it wants, and feeds them. It does no I/O
 * and allocates nothing, so the keeper uses it while the machine is out of memory.
 *
 * NBD_INFO_NAME is asked for: memserver answers with NAME@GENERATION, and a client
 * that comes back with that name is refused by a server that has lost the bytes.
 */
#ifndef CLIENT_NBD_HANDSHAKE_H
#define CLIENT_NBD_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NBD_HANDSHAKE_NAME_MAX 255  /* longer canonical names are a refusal */
#define NBD_HANDSHAKE_CHUNK    8192 /* most bytes ever wanted at once */

enum nbd_handshake_state {
	NBD_HANDSHAKE_HELLO,
	NBD_HANDSHAKE_HEAD,
	NBD_HANDSHAKE_BODY,
	NBD_HANDSHAKE_END,
};

/* What the server told of the export; valid after the end without refusal. */
struct nbd_export_info {
	uint64_t size_bytes;
	uint16_t flags;                                 /* NBD_FLAG_* of transmission */
	uint32_t block_min, block_preferred, block_max; /* 0: not told */
	char name[NBD_HANDSHAKE_NAME_MAX + 1]; /* canonical; as asked when not told */
};

struct nbd_handshake {
	struct nbd_export_info info;
	uint32_t refusal;       /* NBD_REP_ERR_*, or 0 */
	char refusal_text[128]; /* the server's words, printable, may be empty */

	/* Called for every name of the list, not terminated; set before listing. */
	void (*found)(void *arg, const char *name, size_t len);
	void *found_arg;

	enum nbd_handshake_state state;
	uint32_t option;     /* the one under way */
	uint32_t reply, len; /* of the reply whose body is awaited */
	unsigned int nr_replies;
	bool has_export;
	uint8_t out[16 + 4 + NBD_HANDSHAKE_NAME_MAX + 2 + 4 + 4];
	size_t out_len;
};

/* `name` at most NBD_HANDSHAKE_NAME_MAX bytes, else -ENAMETOOLONG. */
int nbd_handshake_init(struct nbd_handshake *h, const char *name);

/*
 * After a refusal, when the connection is still in negotiation: asks for the list.
 * The end comes as for the first option.
 */
void nbd_handshake_list(struct nbd_handshake *h);

/* What is to be sent before anything is read; once. Valid until the next call. */
const uint8_t *nbd_handshake_output(struct nbd_handshake *h, size_t *ret_len);

/* How many bytes the next feed takes: 1 to NBD_HANDSHAKE_CHUNK, 0 at the end. */
size_t nbd_handshake_want(const struct nbd_handshake *h);

/*
 * Takes exactly that many. 0: go on (there may be output). 1: the option is over, see
 * `refusal`. -EPROTO: the peer broke the protocol or is no NBD server; -EOPNOTSUPP:
 * it speaks only the negotiation of before 2016. The connection is worthless then.
 */
int nbd_handshake_feed(struct nbd_handshake *h, const uint8_t *bytes);

/*
 * The refusal as an errno: -ENOENT unknown export, -EACCES policy, -ENOKEY wants TLS,
 * -ESHUTDOWN going down, -EOPNOTSUPP no NBD_OPT_GO, -EPROTO anything else; 0 none.
 */
int nbd_handshake_errno(const struct nbd_handshake *h);

#endif
