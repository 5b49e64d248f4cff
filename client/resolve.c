/* SPDX-License-Identifier: GPL-2.0-or-later */
/* struct url in, socket addresses out. Main thread. */
#include "client/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "client/say.h"

static void unix_address(const char *path, struct nbd_address *ret)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	memcpy(un.sun_path, path, strnlen(path, sizeof(un.sun_path) - 1));
	memcpy(&ret->addr, &un, sizeof(un));
	ret->len = sizeof(un);
}

int resolve_url(const struct url *u, struct nbd_address ret[RESOLVE_MAX])
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *all;
	char port[8];
	int n = 0, r;

	if (u->scheme == URL_NBD_UNIX) {
		unix_address(u->socket, &ret[0]);
		return 1;
	}
	snprintf(port, sizeof(port), "%u", u->port);
	r = getaddrinfo(u->host, port, &hints, &all);
	if (r) {
		say_error("can't find the host \"%s\": %s", u->host,
			  r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
		return -EHOSTUNREACH;
	}
	for (struct addrinfo *a = all; a && n < RESOLVE_MAX; a = a->ai_next) {
		memcpy(&ret[n].addr, a->ai_addr, a->ai_addrlen);
		ret[n++].len = a->ai_addrlen;
	}
	freeaddrinfo(all);
	return n;
}

char *resolve_numeric(const struct nbd_address *a, char *buf, size_t len)
{
	if (getnameinfo((const struct sockaddr *)&a->addr, a->len, buf, (socklen_t)len,
			NULL, 0, NI_NUMERICHOST))
		snprintf(buf, len, "?");
	return buf;
}
