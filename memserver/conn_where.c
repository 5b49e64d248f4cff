/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which address a peer reached us at, and where NVMe is served on it: what discovery
 * records are made of. On the connection's worker.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "memserver/conn_priv.h"

static const void *address_of(const struct sockaddr_storage *ss)
{
	return ss->ss_family == AF_INET6
		       ? (const void *)&((const struct sockaddr_in6 *)ss)->sin6_addr
		       : (const void *)&((const struct sockaddr_in *)ss)->sin_addr;
}

static uint16_t port_of(const struct sockaddr_storage *ss)
{
	return ntohs(ss->ss_family == AF_INET6
			     ? ((const struct sockaddr_in6 *)ss)->sin6_port
			     : ((const struct sockaddr_in *)ss)->sin_port);
}

static bool same_address(const struct sockaddr_storage *a,
			 const struct sockaddr_storage *b)
{
	size_t len = a->ss_family == AF_INET6 ? 16 : 4;

	return a->ss_family == b->ss_family &&
	       !memcmp(address_of(a), address_of(b), len);
}

/* The NVMe door for a peer that reached us at `here`: the door of that address, else
 * the first (which then listens on all addresses). */
static uint16_t nvme_port(const struct engine *g, const struct sockaddr_storage *here)
{
	for (unsigned int i = 0; i < g->nr_nvme_doors; i++)
		if (same_address(&g->nvme_doors[i], here))
			return port_of(&g->nvme_doors[i]);
	return g->nr_nvme_doors ? port_of(&g->nvme_doors[0]) : 0;
}

int conn_local(const struct conn *c, char *addr, size_t addr_len, uint16_t *ret_port,
	       int *ret_family)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	if (getsockname(c->fd, (struct sockaddr *)&ss, &len) < 0)
		return -errno;
	if (ss.ss_family != AF_INET && ss.ss_family != AF_INET6)
		return -EAFNOSUPPORT;
	if (!inet_ntop(ss.ss_family, address_of(&ss), addr, (socklen_t)addr_len))
		return -errno;
	*ret_port = nvme_port(c->engine, &ss);
	*ret_family = ss.ss_family;
	return 0;
}
