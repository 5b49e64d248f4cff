/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a context and a session are made of, for tls.c and tls_session.c alone. */
#ifndef LIB_TLS_PRIV_H
#define LIB_TLS_PRIV_H

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "lib/psk.h"
#include "lib/tls.h"

#define TLS_IN    (64u << 10)        /* one read of the socket: four full records */
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
};

struct tls_session {
	struct tls *tls; /* owned reference */
	SSL *ssl;        /* owned */
	int fd;
	bool dry;    /* all that was received has been handed out */
	bool eof;    /* the socket has ended */
	bool broken; /* a fatal error was met */
	bool said_bye;
	short wants;

	bool psk_known; /* the last name offered is one of ours */
	char psk_name[PSK_NAME_MAX + 1];
	char error[TLS_ERROR_MAX];
	size_t nr_names;
	char names[TLS_NAMES][TLS_NAME_MAX];

	uint32_t in_len, in_done, out_len, out_done;
	uint8_t in[TLS_IN];
	uint8_t out[TLS_OUT];
};

#endif
