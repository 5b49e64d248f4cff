/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TLS 1.2 and 1.3 by OpenSSL over a non-blocking socket.
 *
 * A `struct tls` is what a server or client is: certificate, keys, whom it trusts. It is
 * made from files, never changed, counted; a rotation makes a new one while sessions go
 * on with theirs. Any thread.
 *
 * A `struct tls_session` is one connection's, used by one thread at a time. Its buffers
 * are its own and made with it: after the handshake sending and receiving take no new
 * memory (OpenSSL 3.0 takes two small blocks a record from malloc's cache of the thread
 * and gives them back at once), but for a peer's rare key update.
 *
 * Where the kernel has its module tls loaded, a server's TCP session of TLS 1.3 with
 * AES-GCM is sent by the kernel, straight from the caller's memory; receiving stays with
 * OpenSSL. Such a session ends if the peer asks us to change our keys (RFC 8446, 4.6.3).
 */
#ifndef LIB_TLS_H
#define LIB_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

#include "lib/hkdf.h"

struct tls;
struct tls_session;

#define TLS_ERROR_MAX 400
#define TLS_NAME_MAX  256 /* of a peer, with its kind and the NUL */
#define TLS_ID_MAX    600 /* bytes of a shared key's name that are looked at */

/* Paths, borrowed during the call; NULL: none. */
struct tls_files {
	const char *cert; /* PEM: ours, then the chain above it */
	const char *key;  /* PEM, not encrypted; a secret (lib/secret.h) */
	const char *ca;   /* PEM: whom we trust, and revocation lists */
	const char *psk;  /* NAME:HEX lines (lib/psk.h); a secret */
	bool only_13;     /* refuse TLS 1.2 */
};

/*
 * A server needs cert and key, or psk. With a ca, clients must show a certificate that it
 * vouches for (or a key of psk); without one, whoever has no key of psk is anonymous.
 * -errno and `error` (TLS_ERROR_MAX bytes), which names the file and never shows a key.
 */
int tls_server_new(const struct tls_files *files, struct tls **ret, char *error);

/* A shared key of TLS 1.3; it goes with the cipher suite of its hash. */
struct tls_psk {
	enum hkdf_hash hash;
	uint8_t key[HKDF_MAX]; /* hkdf_len(hash) bytes */
};

/*
 * A server of TLS 1.3 whose clients have shared keys and nothing else. `find` is asked
 * for each key that a client names by `id` (a stranger's bytes, at most TLS_ID_MAX): the
 * `nth` key that may be meant, from 0 on; 0, or -ENOENT: there are no more. Of several
 * the one is taken that the client has (its binder, RFC 8446, 4.2.11.2). Any thread.
 * `release` is called for `arg` with the last reference, or here on an error. -ENOMEM.
 */
typedef int (*tls_psk_find_fn)(void *arg, const uint8_t *id, size_t len,
			       unsigned int nth, struct tls_psk *ret);
int tls_psk_server_new(tls_psk_find_fn find, void (*release)(void *arg), void *arg,
		       struct tls **ret, char *error);

/* A client trusts its ca, or what the system trusts; cert and key prove who it is. */
int tls_client_new(const struct tls_files *files, struct tls **ret, char *error);

struct tls *tls_get(struct tls *t);
void tls_put(struct tls *t); /* NULL is fine */

/* Until when our certificate holds, Unix time; 0: there is none. */
time_t tls_expires(const struct tls *t);

/*
 * A session on `fd` (borrowed; non-blocking). A client names the `host` whose certificate
 * it wants to see; a server gives NULL. -ENOMEM.
 */
int tls_session_new(struct tls *t, int fd, const char *host, struct tls_session **ret);
void tls_session_free(struct tls_session *s); /* NULL is fine */

/* Bytes of the handshake that have been received already, before its first step.
 * -EMSGSIZE: more than a beginning. */
int tls_begun(struct tls_session *s, const uint8_t *data, size_t len);

/*
 * One step of the handshake. 0: done. -EAGAIN: call again when the socket is ready for
 * tls_wants. -EPROTO, -EACCES (the peer is not who it should be), -ECONNRESET: it failed,
 * tls_error says why.
 */
int tls_handshake(struct tls_session *s);
short tls_wants(const struct tls_session *s); /* POLLIN or POLLOUT */
const char *tls_error(const struct tls_session *s);

/*
 * As recvmsg with MSG_DONTWAIT: at most one read of the socket. 0: the peer has ended.
 * -1 and errno; EPROTO: what came is not its TLS. While tls_pending is true there is more
 * to be had than the socket tells of.
 */
ssize_t tls_recvmsg(struct tls_session *s, const struct msghdr *m);
bool tls_pending(const struct tls_session *s);

/*
 * As sendmsg with MSG_DONTWAIT: takes what fits in the session's buffer and sends of that
 * what the socket takes. While tls_unsent is true call tls_flush when it takes more.
 */
ssize_t tls_sendmsg(struct tls_session *s, const struct msghdr *m);
bool tls_unsent(const struct tls_session *s);
int tls_flush(struct tls_session *s); /* 0, -EAGAIN or -errno */

/* Queues our goodbye, once; tls_flush sends it. */
void tls_bye(struct tls_session *s);

/*
 * Who the peer has proved to be, after the handshake: "PSK:alice"; of a certificate
 * "DNS:", "URI:", "EMAIL:" and "IP:" for its alternative names, "CN:" for the common name
 * of its subject and "DN:" for the whole subject as RFC 2253 writes it. Names with
 * characters that are not printable ASCII are left out. "" past the last.
 */
const char *tls_peer_name(const struct tls_session *s, size_t i);
bool tls_peer_is(const struct tls_session *s, const char *name);

/* The name of the shared key that the peer has proved to have; "": none. */
const char *tls_psk_id(const struct tls_session *s);

/* "TLSv1.3 TLS_AES_256_GCM_SHA384", with ", sent by the kernel" where it is; for logs. */
void tls_describe(const struct tls_session *s, char *buf, size_t len);

#endif
