// SPDX-License-Identifier: GPL-2.0-or-later
/* Addresses in, connected or listening sockets out; blocking transfers. */
#include "bench/lib/net.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "lib/cleanup.h"

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_un un;
		struct sockaddr_storage room;
	};
	socklen_t len;
};

static int address_tcp(const char *where, struct address *a)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;
	const char *colon = strrchr(where, ':');
	char host[256];

	if (!colon || colon == where || (size_t)(colon - where) >= sizeof(host))
		return -EINVAL;
	memcpy(host, where, (size_t)(colon - where));
	host[colon - where] = '\0';
	if (getaddrinfo(host, colon + 1, &hints, &found))
		return -EINVAL;
	memcpy(&a->room, found->ai_addr, found->ai_addrlen);
	a->len = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

static int address_parse(const char *where, struct address *a)
{
	memset(a, 0, sizeof(*a));
	if (strncmp(where, "unix:", 5))
		return address_tcp(where, a);
	where += 5;
	if (!*where || strlen(where) >= sizeof(a->un.sun_path))
		return -EINVAL;
	a->un.sun_family = AF_UNIX;
	strcpy(a->un.sun_path, where);
	a->len = sizeof(a->un);
	return 0;
}

void net_nodelay(int fd)
{
	int one = 1;

	/* Fails on a unix socket, which has no Nagle to switch off. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

int net_connect(const char *where, _Bool quiet, int *ret_fd)
{
	_cleanup_close_ int fd = -1;
	struct address a;
	int r = address_parse(where, &a);

	if (!r) {
		fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0 || connect(fd, &a.any, a.len) < 0)
			r = -errno;
	}
	if (r < 0) {
		if (!quiet)
			fprintf(stderr, "%s: %s\n", where, strerror(-r));
		return r;
	}
	net_nodelay(fd);
	*ret_fd = take_fd(&fd);
	return 0;
}

int net_listen(const char *where, int *ret_fd)
{
	_cleanup_close_ int fd = -1;
	struct address a;
	int one = 1, r = address_parse(where, &a);

	if (!r) {
		fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (a.any.sa_family == AF_UNIX)
			unlink(a.un.sun_path);
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (fd < 0 || bind(fd, &a.any, a.len) < 0 || listen(fd, 64) < 0)
			r = -errno;
	}
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", where, strerror(-r));
		return r;
	}
	*ret_fd = take_fd(&fd);
	return 0;
}

int net_read(int fd, void *buf, size_t len_bytes)
{
	char *p = buf;

	while (len_bytes) {
		ssize_t n = recv(fd, p, len_bytes, MSG_WAITALL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ECONNRESET;
		p += n;
		len_bytes -= (size_t)n;
	}
	return 0;
}

int net_write(int fd, const void *buf, size_t len_bytes)
{
	const char *p = buf;

	while (len_bytes) {
		ssize_t n = send(fd, p, len_bytes, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len_bytes -= (size_t)n;
	}
	return 0;
}

int net_skip(int fd, size_t len_bytes)
{
	char waste[4096];
	int r = 0;

	while (len_bytes && !r) {
		size_t n = len_bytes < sizeof(waste) ? len_bytes : sizeof(waste);

		r = net_read(fd, waste, n);
		len_bytes -= n;
	}
	return r;
}
