/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An address and a name in, a socket out that has been negotiated into transmission.
 * The sockets are non-blocking until then; every wait goes through await(). Any thread.
 */
#include "client/nbd_dial.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/proto/nbd.h"

struct line {
	int fd;
	struct timespec deadline;
	const sigset_t *mask;
};

static struct line line_begin(const struct nbd_dial *d, int fd)
{
	struct line l = { .fd = fd, .mask = d->mask };

	clock_gettime(CLOCK_MONOTONIC, &l.deadline);
	l.deadline.tv_sec += d->timeout_ms / 1000;
	l.deadline.tv_nsec += d->timeout_ms % 1000 * 1000000L;
	if (l.deadline.tv_nsec >= 1000000000L) {
		l.deadline.tv_nsec -= 1000000000L;
		l.deadline.tv_sec++;
	}
	return l;
}

static int await(const struct line *l, short events)
{
	struct pollfd p = { .fd = l->fd, .events = events };
	struct timespec now, left;
	int r;

	clock_gettime(CLOCK_MONOTONIC, &now);
	left.tv_sec = l->deadline.tv_sec - now.tv_sec;
	left.tv_nsec = l->deadline.tv_nsec - now.tv_nsec;
	if (left.tv_nsec < 0) {
		left.tv_nsec += 1000000000L;
		left.tv_sec--;
	}
	if (left.tv_sec < 0)
		return -ETIMEDOUT;
	r = ppoll(&p, 1, &left, l->mask);
	if (r < 0)
		return -errno;
	return r ? 0 : -ETIMEDOUT;
}

static int send_all(const struct line *l, const void *bytes, size_t len)
{
	const char *p = bytes;

	while (len) {
		ssize_t n = send(l->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		int r;

		if (n >= 0) {
			p += n;
			len -= (size_t)n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		r = await(l, POLLOUT);
		if (r)
			return r;
	}
	return 0;
}

static int recv_all(const struct line *l, void *bytes, size_t len)
{
	char *p = bytes;

	while (len) {
		ssize_t n = recv(l->fd, p, len, MSG_DONTWAIT);
		int r;

		if (n > 0) {
			p += n;
			len -= (size_t)n;
			continue;
		}
		if (!n)
			return -ECONNRESET;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		r = await(l, POLLIN);
		if (r)
			return r;
	}
	return 0;
}

/*
 * What a connection may hold of unsent data. While memory is short that comes out of the
 * kernel's reserve (vm.min_free_kbytes, see client/tune.h), which the default, growing to
 * 4 MiB, could use up alone on a small machine. The kernel doubles it for its own
 * overhead; 1 MiB keeps 25 Gbit/s busy over 300 us.
 */
#define SEND_BUFFER_BYTES (1 << 20)

static void set_option(int fd, int level, int option, int value)
{
	setsockopt(fd, level, option, &value, sizeof(value));
}

/*
 * For a device whose connection may die silently, too: probe an idle line, so that the
 * keeper has replaced it before the first page is wanted.
 */
static void prepare(int fd, bool tcp)
{
	if (!tcp)
		return;
	set_option(fd, SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER_BYTES);
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 10);
	set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
	set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

static int dial(const struct nbd_dial *d, struct line *l, int *ret_fd)
{
	const struct sockaddr *addr = (const struct sockaddr *)&d->address.addr;
	_cleanup_close_ int fd =
		socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t len = sizeof(int);
	int r = 0;

	if (fd < 0)
		return -errno;
	prepare(fd, addr->sa_family != AF_UNIX);
	l->fd = fd;
	if (connect(fd, addr, d->address.len)) {
		if (errno != EINPROGRESS && errno != EAGAIN)
			return -errno;
		r = await(l, POLLOUT);
		if (r)
			return r;
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &r, &len))
			return -errno;
		if (r)
			return -r;
	}
	*ret_fd = take_fd(&fd);
	return 0;
}

/*
 * A shut-down TCP socket still delivers what is queued, for minutes if the network comes
 * back: an old write could overtake a newer one that went over the next connection. So
 * the last close drops the queue and sends a reset, also the kernel's when nobody else
 * has the socket any more: a keeper that died may have been the only one to abort it.
 */
static void drop_unsent_at_close(int fd)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

/* Runs the machine to the end of the option it is in. */
static int negotiate(const struct line *l, struct nbd_handshake *h)
{
	uint8_t buf[NBD_HANDSHAKE_CHUNK];
	int r;

	for (;;) {
		size_t len;
		const uint8_t *out = nbd_handshake_output(h, &len);

		r = send_all(l, out, len);
		if (r)
			return r;
		r = recv_all(l, buf, nbd_handshake_want(h));
		if (r)
			return r;
		r = nbd_handshake_feed(h, buf);
		if (r)
			return r < 0 ? r : 0;
	}
}

int nbd_dial_go(const struct nbd_dial *d, struct nbd_handshake *h, int *ret_fd,
		int *ret_open)
{
	struct line l = line_begin(d, -1);
	_cleanup_close_ int fd = -1;
	int r;

	if (ret_open)
		*ret_open = -1;
	r = nbd_handshake_init(h, d->name);
	if (!r)
		r = dial(d, &l, &fd);
	if (!r)
		r = negotiate(&l, h);
	if (r)
		return r;
	r = nbd_handshake_errno(h);
	if (r) {
		if (ret_open)
			*ret_open = take_fd(&fd);
		return r;
	}
	if (fcntl(fd, F_SETFL, 0))
		return -errno;
	drop_unsent_at_close(fd);
	*ret_fd = take_fd(&fd);
	return 0;
}

int nbd_dial_list(const struct nbd_dial *d, struct nbd_handshake *h, int fd)
{
	struct line l = line_begin(d, fd);
	int r;

	nbd_handshake_list(h);
	r = negotiate(&l, h);
	return r ? r : nbd_handshake_errno(h);
}

int nbd_dial_read(const struct nbd_dial *d, int fd, uint64_t offset, void *buf,
		  size_t len)
{
	struct line l = line_begin(d, fd);
	struct nbd_request q = {
		.magic = htobe32(NBD_REQUEST_MAGIC),
		.type = htobe16(NBD_CMD_READ),
		.cookie = htobe64(1),
		.offset = htobe64(offset),
		.len = htobe32((uint32_t)len),
	};
	struct nbd_simple_reply a;
	int r;

	r = send_all(&l, &q, sizeof(q));
	if (!r)
		r = recv_all(&l, &a, sizeof(a));
	if (r)
		return r;
	if (be32toh(a.magic) != NBD_SIMPLE_MAGIC || a.cookie != q.cookie)
		return -EPROTO;
	if (a.error)
		return -EIO;
	return recv_all(&l, buf, len);
}

bool nbd_dial_ended_here(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len))
		return false;
	return (info.tcpi_state == TCP_FIN_WAIT1 || info.tcpi_state == TCP_FIN_WAIT2) &&
	       !info.tcpi_retransmits;
}

void nbd_dial_abort(int fd)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	/* Disconnecting drops the queue and sends a reset; where the kernel doesn't allow
	 * it now, the last close does the same. */
	shutdown(fd, SHUT_RDWR);
	connect(fd, &none, sizeof(none));
}
