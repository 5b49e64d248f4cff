/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a context and a session are made of, for tls.c and tls_session.c alone. */
#ifndef LIB_TLS_PRIV_H
#define LIB_TLS_PRIV_H

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "lib/psk.h"
#include "lib/tls.h"

#define TLS_HELLO (24u << 10)        /* one read of the socket in a handshake, and */
#define TLS_IN    (64u << 10)        /* later: four full records */
#define TLS_PLAIN (16u << 10)        /* of one record */
#define TLS_OUT   (144u << 10)       /* eight full records, and room for alerts */
#define TLS_ROOM  (TLS_PLAIN + 1024) /* kept free for one more record */
#define TLS_NAMES 24

struct tls {
	_Atomic unsigned int refs;
	SSL_CTX *ctx;
	bool server;
	time_t expires;
	struct psk_key *psk; /* owned, PSK_NR_MAX of them, or NULL */
	size_t nr_psk;

	/* A server by tls_psk_server_new. */
	tls_psk_find_fn find;
	void (*release)(void *arg);
	void *arg;
};

/* One key that a ClientHello offers; borrowed from it. */
struct tls_offer {
	const uint8_t *id, *binder;
	uint16_t id_len;
	uint8_t binder_len;
};

#define TLS_OFFERS 8 /* looked at in one ClientHello */

struct tls_session {
	struct tls *tls; /* owned reference */
	SSL *ssl;        /* owned */
	int fd;
	bool dry;      /* all that was received has been handed out */
	bool may_read; /* OpenSSL may read the socket, once */
	int failed;    /* the socket's errno, when it did */
	bool eof;      /* the socket has ended */
	bool broken;   /* a fatal error was met */
	bool said_bye;
	bool ktls; /* the kernel encrypts what is sent; what OpenSSL writes is dropped */
	short wants;

	bool psk_known; /* the last name offered is one of ours */
	char psk_name[TLS_ID_MAX + 1];
	const char *psk_why;  /* static text; NULL: as OpenSSL says */
	struct tls_psk psk;   /* by tls->find: the one chosen, if psk_known */
	const uint8_t *hello; /* the ClientHello at hand; OpenSSL's */
	size_t hello_len;
	char error[TLS_ERROR_MAX];
	size_t nr_names;
	char names[TLS_NAMES][TLS_NAME_MAX];

	uint8_t secret
		[48]; /* what the server's keys are derived from, in a handshake */
	size_t secret_len;

	uint32_t in_len, in_done, out_len, out_done;
	uint8_t in[TLS_HELLO];
	uint8_t out[TLS_OUT];
};

/*
 * tls_psk.c: the body of a ClientHello's pre_shared_key extension (RFC 8446, 4.2.11) into
 * at most TLS_OFFERS offers; *ret_binders_len is the length of its list of binders, with
 * the two bytes before it. How many, or -EPROTO. Pure.
 */
int tls_offers_parse(const uint8_t *ext, size_t len, struct tls_offer *offers,
		     size_t *ret_binders_len);

/* tls.c: a context as all are; `error` as everywhere. */
int tls_common(const SSL_METHOD *method, bool only_13, struct tls **ret, char *error);

/* tls_ktls.c: OpenSSL's callback; notes the server's secret. */
void tls_ktls_keylog(const SSL *ssl, const char *line);

/* After a handshake, everything sent: has the kernel encrypt from now on, if it can. */
void tls_ktls_start(struct tls_session *s);

/* Our goodbye by the kernel. */
void tls_ktls_bye(struct tls_session *s);

#endif
