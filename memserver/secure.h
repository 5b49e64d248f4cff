/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the server's doors ask of TLS today: the context made of the files of
 * certificates and keys, and the list of clients. Both are replaced as a whole by a
 * reload, which leaves sessions and what they have opened alone. Any thread unless
 * marked; takes a lock: not on the serving path.
 */
#ifndef MEMSERVER_SECURE_H
#define MEMSERVER_SECURE_H

#include <stdbool.h>
#include <time.h>

#include "lib/tls.h"

struct secure;

enum tls_mode { TLS_OFF, TLS_OFFERED, TLS_REQUIRED };

struct secure_cfg {
	enum tls_mode nbd; /* for peers over TCP */
	bool nbd_unix;     /* peers on unix sockets are not exempt */
	struct tls_files files;
	const char *clients; /* path of the list of clients; NULL: no list */
};

/* Reads the files. Errors are logged. `cfg` and its strings are borrowed for ever.
 * Main thread. */
int secure_new(const struct secure_cfg *cfg, struct secure **ret);
void secure_free(struct secure *s); /* NULL is fine */

/*
 * Reads the files again. On an error all stays as it was; `why` (TLS_ERROR_MAX bytes)
 * says what it is. Main thread.
 */
int secure_reload(struct secure *s, char *why);

/* For an NBD peer. NULL is a server without TLS. */
enum tls_mode secure_nbd(const struct secure *s, bool is_unix);

/* A plain peer of a unix socket, where these are exempt. */
bool secure_exempts(const struct secure *s, bool is_unix);

/* A reference to today's context. */
struct tls *secure_context(struct secure *s);

/* May the peer of this session open the export of that name? Everybody may without a
 * list. */
bool secure_allows(struct secure *s, const struct tls_session *peer,
		   const char *export);

/* When the certificate in use ends, Unix time; 0: there is none. */
time_t secure_expires(struct secure *s);

#endif
