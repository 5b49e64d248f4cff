/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Host names to socket addresses. Main thread; asks the resolver, may block. */
#ifndef CLIENT_RESOLVE_H
#define CLIENT_RESOLVE_H

#include <stddef.h>

#include "client/nbd_dial.h"
#include "client/url.h"

#define RESOLVE_MAX 8

/*
 * The addresses of the URL in the order in which they are to be tried; a unix socket
 * has one. Returns how many, or -errno after having said what was wrong.
 */
int resolve_url(const struct url *u, struct nbd_address ret[RESOLVE_MAX]);

/* The address without port, numeric; `buf` holds NI_MAXHOST bytes. Returns buf. */
char *resolve_numeric(const struct nbd_address *a, char *buf, size_t len);

#endif
