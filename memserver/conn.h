/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One connection: its socket, what has arrived in part, where a payload is going,
 * and the queue of answers. Owned by one worker thread; every function here is
 * called on that thread unless marked (any thread).
 *
 * Payloads do not pass through a buffer of their own: a sink points into the
 * export's mapping and the socket is read straight into it (the part that arrived
 * in the same recv as its header, still in the cache, is copied there), and answers
 * are sent from the mapping by the same sendmsg as their headers.
 */
#ifndef MEMSERVER_CONN_H
#define MEMSERVER_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/log.h"
#include "memserver/export.h"

struct conn;
struct front;
struct exports;
struct acl;
struct nvme_auth;
struct nvme_tls;
struct tls;

/* A message that comes in pieces may be this long before its front end must have
 * taken it (NVMe admin capsule with 8 KiB of data and digests; NBD option with a
 * 4 KiB name and 16 requests). */
#define CONN_STASH (12u << 10)

/*
 * One answer: head, then payload, then tail, each may be empty. Lives in the front
 * end's preallocated request; the engine links it and calls `sent` once, when the
 * last byte is in the socket or the connection is ending. The payload is either
 * plain memory (`data`) or a gripped range of an export (`export`, `offset`).
 */
struct conn_tx {
	struct conn_tx *next;
	const void *head;
	const void *tail;
	const uint8_t *data;   /* plain payload, when export is NULL */
	struct export *export; /* borrowed: the connection holds the reference */
	uint64_t offset;
	uint32_t head_len, payload_len, tail_len;
	uint32_t done;       /* engine's: bytes sent so far */
	uint64_t arrived_ns; /* conn_now when the request came, for the histogram */
	enum io_op op;
	uint32_t counted; /* bytes to count for op (a write's length, say) */
	bool failed;      /* count as an error */
	bool no_space;    /* ... of this kind */
	void (*sent)(struct conn *c, struct conn_tx *tx);
};

/* Queues an answer. Sent at the end of the batch, with as many others as fit. */
void conn_send(struct conn *c, struct conn_tx *tx);

/*
 * The next `len` > 0 bytes of the stream go to `dst`, or nowhere if it is NULL; then
 * front->sunk is called. Call from receive (or sunk) only, at most once a call.
 */
void conn_sink(struct conn *c, void *dst, size_t len);

/*
 * From here on the limits of its export and its client are for this connection (it is
 * bound): not for what must not wait, as NVMe's admin queue.
 */
void conn_limit(struct conn *c);

/*
 * An I/O request that moves `bytes` has been taken: it counts against the limits of the
 * export and of the client. Who is over its limit is not read from for a while. Before
 * conn_limit it counts nothing.
 */
void conn_charge(struct conn *c, uint64_t bytes);

/* front->work is called once, soon, after others have been served. */
void conn_work_later(struct conn *c);

/* The front end's state (front->state_size bytes). */
void *conn_state(struct conn *c);

/* ns, CLOCK_MONOTONIC, as of this batch: cheap, not exact. */
uint64_t conn_now(const struct conn *c);

/* Counters by (op, bytes) for an answer that carries none: use conn_tx's fields. */
unsigned int conn_worker_id(const struct conn *c);

/*
 * In transmission: statistics go to `e` too and `who` shows it. The connection
 * takes over nothing; the front end holds reference and attachment until close.
 * `client` (copied, may be NULL) is the peer's own name: a host NQN.
 */
void conn_bind(struct conn *c, struct export *e, const char *client);

/* Until this is called a connection is a stranger and is ended after the handshake
 * time-out. conn_bind calls it; an NVMe admin queue does itself. */
void conn_welcome(struct conn *c);

/*
 * TLS. conn_tls_need: whether this connection may or must be encrypted (by the door it
 * came through; an export may ask for more, see conn_allows).
 * conn_start_tls: what is queued is sent, then the peer begins its handshake; call from
 * receive, or from open. From then on all that arrives was encrypted. What the peer has
 * sent ahead of its handshake ends the connection. -ENOMEM, -EOPNOTSUPP.
 */
enum conn_tls_need { CONN_TLS_OFF, CONN_TLS_OFFERED, CONN_TLS_REQUIRED };
enum conn_tls_need conn_tls_need(const struct conn *c);
int conn_start_tls(struct conn *c);
bool conn_is_tls(const struct conn *c);

/*
 * TLS by keys of the front end's own: `t`, of which it takes a reference. What receive has
 * just been given is the beginning of the handshake; receive returns 0 then. Who may open
 * which export is the front end's to say. -ENOMEM.
 */
int conn_begin_tls(struct conn *c, struct tls *t);

/* The name of the shared key that the peer has proved to have; "": none. */
const char *conn_psk_id(const struct conn *c);

/* Who the peer has proved to be, as "CN:guest1" or "PSK:guest1"; NULL: nobody. */
const char *conn_proved_name(const struct conn *c);

/*
 * May this connection open that export? -EACCES: it is not in the list of clients for
 * it; -ENOTSUP: the export asks for TLS and this is plain.
 */
int conn_allows(struct conn *c, const struct export *e);

/* What the front end may ask about its surroundings; all borrowed. */
struct exports *conn_exports(const struct conn *c);
const struct acl *conn_acl(const struct conn *c);
struct nvme_auth *conn_nvme_auth(const struct conn *c); /* NULL: hosts need no secret */
struct nvme_tls *conn_nvme_tls(const struct conn *c);   /* NULL: NVMe has no TLS */
const char *conn_peer(const struct conn *c); /* "10.0.2.15:40312", "unix:pid 77" */

/*
 * The local address of a TCP connection as text without the port, and the ports
 * the NVMe door has (for discovery records): the transport address the peer used.
 */
int conn_local(const struct conn *c, char *addr, size_t addr_len, uint16_t *ret_port,
	       int *ret_family);

/* (any thread, while the caller knows c is alive by a lock of its own) The owner will
 * see the connection end soon. */
void conn_kick(struct conn *c);

/*
 * (any thread, same condition) Runs front-end work on the owner: sets a bit that
 * `front->tick` is called for soon. Coalesces.
 */
void conn_poke(struct conn *c);

/* Logs with the peer's identity; rate-limited per connection's door, because the
 * peer can provoke it. Never above warning. */
void conn_warn(struct conn *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void conn_info(struct conn *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The same within a limit of its own, for what must not drown among other lines. */
void conn_warn_within(struct conn *c, struct log_limit *limit, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
