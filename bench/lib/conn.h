/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One connection of the load client: requests in flight, what is still to be sent,
 * and where the receiver stands in the peer's stream. A protocol fills in the wire
 * forms; conn moves the bytes, many requests in one send, many replies in one
 * receive, and never copies a payload in user space unless it is to be verified.
 *
 * One thread drives all connections. Nothing allocates after conn_open.
 */
#ifndef BENCH_LIB_CONN_H
#define BENCH_LIB_CONN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum io_op { IO_READ, IO_WRITE, IO_TRIM };

struct conn;
struct tls;
struct tls_session;
struct key_text;

/* One I/O in flight. */
struct request {
	uint64_t start_ns, offset;
	uint32_t len_bytes;
	uint32_t tag; /* index in conn.requests, goes over the wire */
	enum io_op op;
	uint8_t *
		header; /* the command's wire form; side by side with its neighbours' */
	uint8_t *aux;   /* what else of headers the protocol needs, aux_bytes */
	uint8_t *data;  /* what a write sends, and where a verified read lands */
};

/* What is known of the server before the first connection for I/O. */
struct target {
	const struct proto *proto;
	const char *where, *export; /* borrowed from argv */
	struct tls *tls; /* owned: how the server's certificate is checked, or NULL */
	struct key_text *secret; /* owned: nvme: the host's, or NULL */
	_Bool quiet;             /* say nothing when it does not answer */
	uint32_t depth, block_bytes;
	uint64_t size_bytes; /* of the export */
	int admin_fd;        /* nvme: the admin queue */
	uint16_t controller; /* nvme */
	uint32_t nsid;       /* nvme: the first active namespace */
	uint32_t
		inline_bytes; /* nvme, iscsi: the largest write sent with its command */
	uint32_t lba_bytes;   /* nvme, iscsi */
	_Bool r2t; /* nvme: the server fetches what is written, however short */
	enum io_op first_op; /* what most requests are; limit: all */
};

/*
 * A protocol. All return 0 or -errno and say on standard error what was wrong.
 * `open` is called once per connection on a connected blocking socket, the first
 * time (id 0) after `probe`, which fills in the target.
 */
struct proto {
	const char *name;
	const char *default_export;
	size_t reply_bytes; /* the shortest reply's header */

	int (*probe)(struct target *t);
	int (*open)(struct conn *c);
	size_t header_bytes; /* of a command on the wire */
	/* Headers beyond the command's: of data in pieces. NULL: none. */
	size_t (*aux_bytes)(const struct conn *c);
	/* Queues `r`'s wire form by conn_push. */
	void (*submit)(struct conn *c, struct request *r);
	/*
	 * `have` bytes of a reply's header. Returns how many are needed when that is
	 * more; else `have`, having called conn_done or conn_expect.
	 */
	int (*reply)(struct conn *c, const uint8_t *head, size_t have);
	/* What conn_expect announced has come. May be NULL: the request is done. */
	void (*payload_end)(struct conn *c, struct request *r);
	void (*close)(struct target *t);
};

extern const struct proto nbd_proto, nvme_proto, iscsi_proto, limit_proto;

#define CONN_HEAD_MAX 256

struct conn {
	struct target *target;
	int fd;
	struct tls_session *tls; /* owned: from conn_start_tls on, or NULL */
	uint32_t id, depth;
	_Bool verify; /* reads land in request.data */

	struct request *requests; /* owned, `depth` of them */
	uint32_t *idle;           /* ring of tags free for use, the first freed first */
	uint32_t idle_first, nr_idle;
	uint8_t *headers, *aux; /* owned: all requests' */

	struct iovec *tx; /* [tx_head, tx_tail) is still to be sent */
	size_t tx_head, tx_tail, tx_room;

	uint8_t head[CONN_HEAD_MAX]; /* a header that came in pieces */
	size_t head_have, head_need;
	struct request *payload_of;
	size_t payload_at, payload_left;
	_Bool payload_last; /* nvme: this payload ends the command */

	uint32_t max_data_bytes; /* nvme: of one H2CData */
	uint32_t *fifo;          /* limit: replies come in order */
	uint32_t fifo_first, fifo_used;
	uint32_t cmd_sn, stat_sn; /* iscsi */

	/* The engine's; called for each request that succeeded. */
	void (*on_done)(struct conn *c, struct request *r);
	void *owner;
};

/* Connects, lets the protocol log in, allocates. */
int conn_open(struct target *t, uint32_t id, _Bool verify, struct conn *c);
void conn_close(struct conn *c);

/* A free request, or NULL when `depth` are in flight. */
struct request *conn_take(struct conn *c);
void conn_submit(struct conn *c, struct request *r);

/* Sends what the socket takes now. 0 or -errno. */
int conn_send(struct conn *c);
_Bool conn_unsent(const struct conn *c);

/*
 * Receives once and handles what came. `flags` as for recv: without MSG_DONTWAIT it
 * sleeps. Returns the bytes received, 0 when there were none, -errno.
 */
int conn_receive(struct conn *c, int flags);

/* For protocols, while they log in: all of it, or -errno. */
int conn_start_tls(struct conn *c);
int conn_read(struct conn *c, void *buf, size_t len_bytes);
int conn_write(struct conn *c, const void *buf, size_t len_bytes);

/* For protocols. */
void conn_push(struct conn *c, const void *p, size_t len_bytes);
void conn_done(struct conn *c, struct request *r);
void conn_expect(struct conn *c, struct request *r, size_t at, size_t len_bytes);
/* Bytes that mean nothing to us. */
void conn_skip(struct conn *c, size_t len_bytes);
/* The request in flight with this tag, or NULL after saying the peer made it up. */
struct request *conn_find(struct conn *c, uint32_t tag);

uint64_t conn_now_ns(void);

#endif
