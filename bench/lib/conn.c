// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Requests come in from the engine, wire bytes go out; reply bytes come in, finished
 * requests go back to the engine. The protocol at hand is a table of functions. The
 * engine's one thread.
 */
#include "bench/lib/conn.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/lib/net.h"
#include "lib/tls.h"

/* Of a server that says nothing. */
#define PATIENCE_S 20

/* Stays in a second-level cache; larger ones were no faster with 1 MiB replies. */
#define RX_BYTES (256u << 10)

static uint8_t rx[RX_BYTES] __attribute__((aligned(4096)));

uint64_t conn_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int wait_for(struct conn *c, short events)
{
	struct pollfd p = { .fd = c->fd, .events = events };

	if (poll(&p, 1, PATIENCE_S * 1000) > 0)
		return 0;
	errno = ETIMEDOUT;
	return -ETIMEDOUT;
}

/* Payload nobody looks at: all writes of unverified runs send the same bytes. */
static uint8_t *shared_payload(uint32_t len_bytes)
{
	static uint8_t *shared;

	if (!shared && !posix_memalign((void **)&shared, 4096, len_bytes))
		for (uint32_t i = 0; i < len_bytes; i++)
			shared[i] = (uint8_t)(i * 131 + (i >> 8) + 1);
	return shared;
}

static int alloc_requests(struct conn *c)
{
	const struct proto *proto = c->target->proto;
	uint32_t block = c->target->block_bytes;
	size_t aux = proto->aux_bytes ? proto->aux_bytes(c) : 0;

	c->requests = calloc(c->depth, sizeof(*c->requests));
	c->idle = calloc(c->depth, sizeof(*c->idle));
	c->headers = calloc(c->depth, proto->header_bytes);
	c->aux = calloc(c->depth, aux ? aux : 1);
	/* Per request: header, data, and a pair for each piece; no header is under 24. */
	c->tx_room = (size_t)c->depth * (4 + 2 * aux / 24);
	c->tx = calloc(c->tx_room, sizeof(*c->tx));
	c->fifo = calloc(c->depth, sizeof(*c->fifo));
	if (!c->requests || !c->idle || !c->headers || !c->aux || !c->tx || !c->fifo)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->depth; i++) {
		struct request *r = &c->requests[i];

		r->tag = i;
		r->header = c->headers + i * proto->header_bytes;
		r->aux = c->aux + i * aux;
		if (!c->verify)
			r->data = shared_payload(block);
		else if (posix_memalign((void **)&r->data, 4096, block))
			r->data = NULL;
		if (!r->data)
			return -ENOMEM;
		c->idle[i] = i;
	}
	c->nr_idle = c->depth;
	return 0;
}

int conn_open(struct target *t, uint32_t id, _Bool verify, struct conn *c)
{
	struct timeval patience = { .tv_sec = PATIENCE_S };
	int r;

	memset(c, 0, sizeof(*c));
	c->fd = -1;
	c->target = t;
	c->id = id;
	c->depth = t->depth;
	c->verify = verify;
	c->head_need = t->proto->reply_bytes;
	r = net_connect(t->where, t->quiet, &c->fd);
	if (r < 0)
		return r;
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	r = t->proto->open(c);
	if (r < 0)
		return r;
	return alloc_requests(c);
}

void conn_close(struct conn *c)
{
	for (uint32_t i = 0; c->verify && c->requests && i < c->depth; i++)
		free(c->requests[i].data);
	free(c->requests);
	free(c->idle);
	free(c->headers);
	free(c->aux);
	free(c->tx);
	free(c->fifo);
	tls_session_free(c->tls);
	c->tls = NULL;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

struct request *conn_take(struct conn *c)
{
	uint32_t tag;

	if (!c->nr_idle)
		return NULL;
	tag = c->idle[c->idle_first];
	c->idle_first = (c->idle_first + 1) % c->depth;
	c->nr_idle--;
	return &c->requests[tag];
}

void conn_submit(struct conn *c, struct request *r)
{
	c->target->proto->submit(c, r);
}

static _Bool queued(const struct conn *c)
{
	return c->tx_head != c->tx_tail;
}

_Bool conn_unsent(const struct conn *c)
{
	return queued(c) || (c->tls && tls_unsent(c->tls));
}

void conn_push(struct conn *c, const void *p, size_t len_bytes)
{
	struct iovec *last = queued(c) ? &c->tx[c->tx_tail - 1] : NULL;

	/* Headers of requests taken one after the other lie side by side. */
	if (last && (uint8_t *)last->iov_base + last->iov_len == p) {
		last->iov_len += len_bytes;
		return;
	}
	if (c->tx_tail == c->tx_room) {
		memmove(c->tx, c->tx + c->tx_head,
			(c->tx_tail - c->tx_head) * sizeof(*c->tx));
		c->tx_tail -= c->tx_head;
		c->tx_head = 0;
	}
	c->tx[c->tx_tail++] =
		(struct iovec){ .iov_base = (void *)p, .iov_len = len_bytes };
}

static void tx_consume(struct conn *c, size_t sent)
{
	while (sent) {
		struct iovec *v = &c->tx[c->tx_head];

		if (sent < v->iov_len) {
			v->iov_base = (uint8_t *)v->iov_base + sent;
			v->iov_len -= sent;
			return;
		}
		sent -= v->iov_len;
		c->tx_head++;
	}
	if (c->tx_head == c->tx_tail)
		c->tx_head = c->tx_tail = 0;
}

int conn_send(struct conn *c)
{
	if (c->tls && tls_unsent(c->tls)) {
		int r = tls_flush(c->tls);

		if (r < 0)
			return r == -EAGAIN ? 0 : r;
	}
	while (queued(c)) {
		size_t nr = c->tx_tail - c->tx_head;
		struct msghdr m = { .msg_iov = c->tx + c->tx_head,
				    .msg_iovlen = nr < IOV_MAX ? nr : IOV_MAX };
		ssize_t n = c->tls ? tls_sendmsg(c->tls, &m)
				   : sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			perror("send");
			return -EIO;
		}
		tx_consume(c, (size_t)n);
	}
	return 0;
}

void conn_done(struct conn *c, struct request *r)
{
	c->on_done(c, r);
	r->start_ns = 0;
	c->idle[(c->idle_first + c->nr_idle++) % c->depth] = r->tag;
}

void conn_expect(struct conn *c, struct request *r, size_t at, size_t len_bytes)
{
	c->payload_of = r;
	c->payload_at = at;
	c->payload_left = len_bytes;
}

void conn_skip(struct conn *c, size_t len_bytes)
{
	conn_expect(c, NULL, 0, len_bytes);
}

struct request *conn_find(struct conn *c, uint32_t tag)
{
	if (tag < c->depth && c->requests[tag].start_ns)
		return &c->requests[tag];
	fprintf(stderr, "the server answers a request nobody made (tag %u)\n", tag);
	return NULL;
}

static size_t take_payload(struct conn *c, const uint8_t *p, size_t len)
{
	struct request *r = c->payload_of;
	size_t n = len < c->payload_left ? len : c->payload_left;

	if (c->verify && r)
		memcpy(r->data + c->payload_at, p, n);
	c->payload_at += n;
	c->payload_left -= n;
	if (!c->payload_left && r) {
		if (c->target->proto->payload_end)
			c->target->proto->payload_end(c, r);
		else
			conn_done(c, r);
	}
	return n;
}

/* A header that is whole in the receive buffer is read there. */
static ssize_t take_header(struct conn *c, const uint8_t *p, size_t len)
{
	const struct proto *proto = c->target->proto;
	const uint8_t *head = p;
	size_t used = 0;
	int r;

	for (;;) {
		if (c->head_have || len < c->head_need) {
			size_t n = c->head_need - c->head_have;

			if (!c->head_have)
				used = 0;
			n = n < len - used ? n : len - used;
			memcpy(c->head + c->head_have, p + used, n);
			c->head_have += n;
			used += n;
			if (c->head_have < c->head_need)
				return (ssize_t)used;
			head = c->head;
		} else {
			used = c->head_need;
		}
		r = proto->reply(c, head, c->head_need);
		if (r < 0)
			return r;
		if ((size_t)r <= c->head_need)
			break;
		if (r > CONN_HEAD_MAX)
			return -EPROTO;
		c->head_need = (size_t)r;
	}
	c->head_have = 0;
	c->head_need = proto->reply_bytes;
	return (ssize_t)used;
}

/* As recv on a blocking socket, for some seconds. */
static ssize_t receive(struct conn *c, void *buf, size_t len_bytes, int flags)
{
	struct iovec v = { .iov_base = buf, .iov_len = len_bytes };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	ssize_t n;

	if (!c->tls)
		return recv(c->fd, buf, len_bytes, flags);
	for (;;) {
		n = tls_recvmsg(c->tls, &m);
		if (n >= 0 || errno != EAGAIN || flags & MSG_DONTWAIT)
			return n;
		if (wait_for(c, POLLIN) < 0)
			return -1;
	}
}

int conn_read(struct conn *c, void *buf, size_t len_bytes)
{
	uint8_t *p = buf;

	while (len_bytes) {
		ssize_t n = receive(c, p, len_bytes, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ECONNRESET;
		p += n;
		len_bytes -= (size_t)n;
	}
	return 0;
}

int conn_write(struct conn *c, const void *buf, size_t len_bytes)
{
	struct iovec v = { .iov_base = (void *)buf, .iov_len = len_bytes };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	if (!c->tls)
		return net_write(c->fd, buf, len_bytes);
	/* A message of a login is shorter than what the session holds. */
	return tls_sendmsg(c->tls, &m) == (ssize_t)len_bytes ? 0 : -EIO;
}

int conn_start_tls(struct conn *c)
{
	char host[256];
	int r;

	snprintf(host, sizeof(host), "%.*s", (int)strcspn(c->target->where, ":"),
		 c->target->where);
	r = tls_session_new(c->target->tls, c->fd, host, &c->tls);
	if (r < 0)
		return r;
	do
		r = tls_handshake(c->tls);
	while (r == -EAGAIN && (r = wait_for(c, tls_wants(c->tls))) == 0);
	if (r < 0 && !c->target->quiet)
		fprintf(stderr, "%s\n", tls_error(c->tls));
	return r;
}

int conn_receive(struct conn *c, int flags)
{
	ssize_t got = receive(c, rx, sizeof(rx), flags), n;

	if (got < 0 && (errno == EAGAIN || errno == EINTR) && (flags & MSG_DONTWAIT))
		return 0;
	if (got <= 0) {
		fprintf(stderr, "receive: %s\n",
			got ? strerror(errno) : "the server closed the connection");
		return -EIO;
	}
	for (size_t at = 0; at < (size_t)got; at += (size_t)n) {
		if (c->payload_left)
			n = (ssize_t)take_payload(c, rx + at, (size_t)got - at);
		else
			n = take_header(c, rx + at, (size_t)got - at);
		if (n < 0)
			return (int)n;
	}
	return (int)got;
}
