/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections from the network in, connections handed to workers out; main thread. */
#include "memserver/door.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/fault.h"
#include "memserver/acl.h"
#include "memserver/conn_priv.h"

#define BACKLOG          1024
#define ACCEPTS_PER_CALL 64

static void door_warn(struct door *d, const char *peer, const char *what)
{
	unsigned int held_back;

	d->refused++;
	if (!log_limit_ok(&d->accept_limit, &held_back))
		return;
	if (held_back)
		log_warn("%s %s: %s (%u more were refused since the last such line)",
			 d->front->name, peer, what, held_back);
	else
		log_warn("%s %s: %s", d->front->name, peer, what);
}

/* A unix socket file nobody listens on is what a killed memserver left. */
static void remove_stale(const struct addr *a)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (a->sa.sa_family != AF_UNIX || lstat(a->un.sun_path, &st) < 0 ||
	    !S_ISSOCK(st.st_mode))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, &a->sa, a->len) < 0 && errno == ECONNREFUSED)
		unlink(a->un.sun_path);
}

static const char *remedy(int error)
{
	switch (error) {
	case EADDRINUSE:
		return "another program listens there; stop it or choose another port";
	case EADDRNOTAVAIL:
		return "this host does not have that address";
	case EACCES:
		return "not allowed; ports below 1024 and this path need more rights";
	default:
		return "";
	}
}

static int listen_on(struct door *d, const struct addr *addr)
{
	int one = 1;

	d->fd = socket(addr->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
		       0);
	if (d->fd < 0)
		return -errno;
	if (addr->sa.sa_family != AF_UNIX)
		setsockopt(d->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (addr->sa.sa_family == AF_INET6)
		setsockopt(d->fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	remove_stale(addr);
	if (bind(d->fd, &addr->sa, addr->len) < 0 || listen(d->fd, BACKLOG) < 0)
		return -errno;
	d->addr = *addr;
	if (addr->sa.sa_family == AF_UNIX)
		return 0;
	d->addr.len = sizeof(d->addr.storage);
	return getsockname(d->fd, &d->addr.sa, &d->addr.len) < 0 ? -errno : 0;
}

int door_open(struct door *d, const struct front *front, const struct addr *addr,
	      struct engine *engine)
{
	char text[ADDR_TEXT_MAX];
	int r;

	memset(d, 0, sizeof(*d));
	d->front = front;
	d->engine = engine;
	d->limit = d->accept_limit = (struct log_limit)LOG_LIMIT_INIT;
	r = listen_on(d, addr);
	if (r < 0) {
		addr_format(&addr->sa, text, sizeof(text));
		log_err("%s %s: cannot listen: %s%s%s (--%s %s)", front->name, text,
			strerror(-r), *remedy(-r) ? "; " : "", remedy(-r),
			!strncmp(front->name, "nvme-d", 6) ? "discovery" : front->name,
			"ADDR:PORT|off");
		cleanup_close(&d->fd);
		d->fd = -1;
	}
	return r;
}

/*
 * A send buffer of half a megabyte (the kernel doubles what it is given) keeps a large
 * read's bytes in the cache between our copy and the peer's: 128 KiB reads 6.0 GB/s
 * against 4.7 with the kernel's own sizing, interleaved on loopback; no clear gain at 1 MiB.
 */
#define SEND_BUFFER (256 << 10)

/*
 * Small messages at once; a peer that vanished is noticed in some ten minutes, not
 * sooner: a paused VM answers nothing either, and its swap must survive the pause.
 */
static void tune_tcp(int fd)
{
	int one = 1, idle = 300, interval = 60, count = 5, send_buffer = SEND_BUFFER;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof(send_buffer));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

static void name_peer(int fd, const struct addr *a, char *buf, size_t len)
{
	struct ucred cred;
	socklen_t cred_len = sizeof(cred);

	if (a->sa.sa_family != AF_UNIX)
		addr_format(&a->sa, buf, len);
	else if (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &cred_len))
		snprintf(buf, len, "unix:pid %d", (int)cred.pid);
	else
		snprintf(buf, len, "unix");
}

static void welcome(struct door *d, int accepted, const struct addr *a)
{
	_cleanup_close_ int fd = accepted;
	char peer[112];
	struct conn *c;
	int r;

	name_peer(fd, a, peer, sizeof(peer));
	if (!acl_allows_address(d->engine->acl, &a->sa)) {
		door_warn(d, peer, "refused: its address is not in the --allow list");
		return;
	}
	if (conns_count(d->engine->conns) >= d->engine->max_conns) {
		door_warn(d, peer,
			  "refused: the limit of connections (--max-conns) is "
			  "reached");
		return;
	}
	if (a->sa.sa_family != AF_UNIX)
		tune_tcp(fd);
	r = conn_new(d->engine, d->front, fd, peer, &d->limit, &c);
	if (r < 0) {
		door_warn(d, peer, "refused: no memory for another connection");
		return;
	}
	take_fd(&fd);
	engine_assign(d->engine, c);
}

/* Polling on would only spin: door_tick looks again. */
static void pause_door(struct door *d)
{
	door_warn(
		d, "(new peer)",
		"cannot accept: out of descriptors (LimitNOFILE) or memory; it waits");
	if (!loop_fd_set(&d->watch, 0))
		d->paused = true;
}

void door_tick(struct door *d)
{
	if (d->paused && !loop_fd_set(&d->watch, EPOLLIN))
		d->paused = false;
}

static void on_ready(void *arg, uint32_t events)
{
	struct door *d = arg;

	for (int i = 0; i < ACCEPTS_PER_CALL; i++) {
		struct addr a = { .len = sizeof(a.storage) };
		int r = fault_point("door.accept"), fd;

		errno = -r;
		fd = r < 0 ? -1
			   : accept4(d->fd, &a.sa, &a.len,
				     SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			welcome(d, fd, &a);
			continue;
		}
		/* Out of descriptors: the peer waits in the backlog until one is free. */
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
			pause_door(d);
		if (errno != ECONNABORTED && errno != EINTR)
			return;
	}
}

int door_serve(struct door *d, struct loop *loop)
{
	return loop_fd_add(loop, &d->watch, d->fd, EPOLLIN, on_ready, d);
}

void door_close(struct door *d)
{
	if (!d->front || d->fd < 0)
		return;
	loop_fd_del(&d->watch);
	close(d->fd);
	d->fd = -1;
	if (d->addr.sa.sa_family == AF_UNIX)
		unlink(d->addr.un.sun_path);
}
