/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes from a socket in, calls to a front end out; conn_tx.c brings the answers back.
 * All on the connection's worker.
 *
 * One recvmsg fills first the sink (a payload's place in the export), then the
 * worker's buffer; the front end takes messages off that until it is empty, and what
 * is left (part of a header) waits in the stash.
 */
#include "memserver/conn.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/fault.h"
#include "lib/tls.h"
#include "memserver/conn_priv.h"

#define SECOND         UINT64_C(1000000000)
#define HANDSHAKE_TIME (20 * SECOND)
#define FAREWELL_TIME  (5 * SECOND) /* to drain, and again to linger */

/* ---- life ---- */

static bool is_unix(int fd)
{
	socklen_t len = sizeof(int);
	int domain;

	return !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) &&
	       domain == AF_UNIX;
}

int conn_new(struct engine *g, const struct front *front, int fd, const char *peer,
	     struct log_limit *limit, struct conn **ret)
{
	int r = fault_point("conn.new");
	struct conn *c;

	if (r < 0)
		return r;
	c = calloc(1, sizeof(*c) + front->state_size);
	if (!c)
		return -ENOMEM;
	c->who = clients_get(g->clients, peer);
	if (!c->who) {
		free(c);
		return -ENOMEM;
	}
	c->stash = mmap(NULL, RX_BUFFER, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (c->stash == MAP_FAILED) {
		clients_put(g->clients, c->who);
		free(c);
		return -ENOMEM;
	}
	c->engine = g;
	c->front = front;
	c->fd = fd;
	c->limit = limit;
	c->since_ns = clock_ns();
	c->deadline = c->since_ns + HANDSHAKE_TIME;
	c->tx_tail = &c->tx_head;
	list_init(&c->link);
	list_init(&c->reg);
	list_init(&c->busy);
	list_init(&c->paused);
	list_init(&c->handshake.link);
	snprintf(c->peer, sizeof(c->peer), "%s", peer);
	c->is_unix = is_unix(fd);
	*ret = c;
	return 0;
}

/* Ends it in good order: no more input, what is queued is sent, then the end. */
static void finish(struct conn *c)
{
	if (c->phase != CONN_OPEN)
		return;
	c->phase = CONN_DRAIN;
	c->deadline = c->worker->now + FAREWELL_TIME;
	c->sink_len = c->stash_len = 0;
}

void conn_abort(struct conn *c)
{
	c->phase = CONN_DEAD;
}

/* Hands every unsent answer back to its owner. */
static void return_answers(struct conn *c)
{
	struct conn_tx *tx;

	while ((tx = c->tx_head) != NULL) {
		c->tx_head = tx->next;
		tx->sent(c, tx);
	}
	c->tx_tail = &c->tx_head;
}

bool conn_reap(struct conn *c)
{
	struct worker *w = c->worker;

	if (c->phase != CONN_DEAD)
		return false;
	/* The thread lets go of it soon, and we are woken. */
	if (c->shaking && !atomic_load(&c->handshake.over)) {
		shutdown(c->fd, SHUT_RDWR);
		return false;
	}
	for (int i = 0; i < NR_HOT; i++)
		if (w->hot[i] == c) {
			memmove(&w->hot[i], &w->hot[i + 1],
				(size_t)(NR_HOT - 1 - i) * sizeof(w->hot[0]));
			w->hot[NR_HOT - 1] = NULL;
		}
	conn_unpause(c);
	if (c->owns)
		export_disown(c->export);
	conns_del(c->engine->conns, c);
	return_answers(c);
	c->front->close(c);
	list_del(&c->busy);
	list_del(&c->link);
	atomic_fetch_sub(&w->nr_conns, 1);
	tls_session_free(c->tls);
	tls_session_free(c->tls_next);
	close(c->fd); /* leaves the epoll with its last descriptor */
	munmap(c->stash, RX_BUFFER);
	clients_put(c->engine->clients, c->who);
	free(c);
	return true;
}

static void obey(struct conn *c, int r)
{
	if (r < 0)
		finish(c);
}

/* ---- in ---- */

/* Feeds the sink from memory; returns what it took. */
static size_t feed_sink(struct conn *c, const uint8_t *data, size_t len)
{
	size_t n = len < c->sink_len ? len : c->sink_len;

	if (c->sink) {
		memcpy(c->sink, data, n);
		c->sink += n;
	}
	c->sink_len -= n;
	return n;
}

static void stash(struct conn *c, const uint8_t *data, size_t len)
{
	if (data != c->stash || len != c->stash_len)
		memmove(c->stash, data, len);
	/* A stash that was once large gives its pages back, locked as they are (5.18). */
	if (len <= CONN_STASH && c->stash_len > CONN_STASH)
		madvise(c->stash + CONN_STASH, RX_BUFFER - CONN_STASH,
			MADV_DONTNEED_LOCKED);
	c->stash_len = (uint32_t)len;
}

/* No slot left: sending what is queued usually frees some. */
static bool can_take(struct conn *c)
{
	if (!c->front->ready(c))
		conn_output(c);
	return c->phase == CONN_OPEN && c->front->ready(c) && !conn_is_held(c);
}

/* Lets the front end take messages until there are none, or it is not ready. */
static void take(struct conn *c, const uint8_t *data, size_t len)
{
	c->blocked = false;
	while (c->phase == CONN_OPEN && len) {
		ssize_t n;

		if (c->sink_len) {
			n = (ssize_t)feed_sink(c, data, len);
			if (!c->sink_len)
				obey(c, c->front->sunk(c));
		} else if (!can_take(c)) {
			c->blocked = true;
			break;
		} else {
			n = c->front->receive(c, data, len);
			obey(c, (int)n);
			if (n <= 0)
				break;
		}
		data += n;
		len -= (size_t)n;
		if (c->tls_next)
			break;
	}
	if (c->tls_next && len && c->tls_begun && !tls_begun(c->tls_next, data, len)) {
		len = 0;
	} else if (c->tls_next && len) {
		conn_warn(c, "bytes ahead of its TLS handshake");
		conn_abort(c);
	}
	stash(c, data, c->phase == CONN_OPEN ? len : 0);
}

/* A peer that sends no more may still wait for its answers. */
static void end_of_input(struct conn *c, ssize_t n)
{
	if (n < 0) {
		if (errno == EPROTO && c->tls)
			conn_warn(c, "%s", tls_error(c->tls));
		if (!conn_may_retry(errno))
			conn_abort(c);
		return;
	}
	c->eof = true;
	finish(c);
}

static ssize_t receive(struct conn *c, void *to, size_t len)
{
	struct iovec v = { to, len };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	if (!c->tls)
		return recv(c->fd, to, len, MSG_DONTWAIT);
	return conn_recvmsg(c, &m);
}

/* With nothing to take, only the peer's end is of interest. */
static bool discard_input(struct conn *c)
{
	ssize_t n = receive(c, c->worker->rx, RX_BUFFER);

	if (n <= 0)
		end_of_input(c, n);
	return n > 0;
}

/* A payload and what follows it, in one call: the first part straight to its place. */
static bool read_sink(struct conn *c)
{
	struct iovec v[2] = {
		{ c->sink ? c->sink : c->worker->rx,
		  !c->sink && c->sink_len > RX_BUFFER ? RX_BUFFER : c->sink_len },
		{ c->worker->rx, RX_BUFFER },
	};
	struct msghdr m = { .msg_iov = v, .msg_iovlen = c->sink ? 2 : 1 };
	size_t direct;
	ssize_t n;

	if (fault_point("conn.short_recv"))
		m.msg_iovlen = v[0].iov_len = 1;
	n = fault_errno("conn.recv") ? -1 : conn_recvmsg(c, &m);
	if (n <= 0) {
		end_of_input(c, n);
		return false;
	}
	direct = (size_t)n < c->sink_len ? (size_t)n : c->sink_len;
	if (c->sink)
		c->sink += direct;
	c->sink_len -= direct;
	if (!c->sink_len)
		obey(c, c->front->sunk(c));
	take(c, c->worker->rx, (size_t)n - direct);
	return true;
}

static bool read_messages(struct conn *c)
{
	uint8_t *rx = c->worker->rx;
	size_t room = RX_BUFFER - c->stash_len;
	ssize_t n;

	if (c->stash_len)
		memcpy(rx, c->stash, c->stash_len);
	if (fault_point("conn.short_recv"))
		room = 1;
	n = fault_errno("conn.recv") ? -1 : receive(c, rx + c->stash_len, room);
	if (n <= 0) {
		end_of_input(c, n);
		return false;
	}
	take(c, rx, c->stash_len + (size_t)n);
	return true;
}

/* ---- both ---- */

/* All is sent: our side is shut, and only the peer's end is waited for. */
static void linger(struct conn *c)
{
	conn_bye(c);
	shutdown(c->fd, SHUT_WR);
	c->phase = CONN_LINGER;
	c->deadline = c->worker->now + FAREWELL_TIME;
}

/* Answers go out, which may free what input was waiting for, which may answer. */
static void settle_once(struct conn *c)
{
	conn_output(c);
	while (c->phase == CONN_OPEN && c->blocked && !c->want_out &&
	       c->front->ready(c) && !conn_is_held(c)) {
		take(c, c->stash, c->stash_len);
		conn_output(c);
	}
	if (c->phase == CONN_DRAIN && conn_all_sent(c) && list_empty(&c->busy))
		linger(c);
	if (c->phase == CONN_LINGER && c->eof)
		conn_abort(c);
	if (c->phase != CONN_OPEN) {
		c->blocked = false;
		conn_unpause(c);
	}
}

static bool read_some(struct conn *c)
{
	if (c->phase != CONN_OPEN)
		return discard_input(c);
	return c->sink_len ? read_sink(c) : read_messages(c);
}

/* What TLS has received and not handed out, epoll does not tell of. */
static bool has_pending(const struct conn *c)
{
	return c->tls && !c->shaking && c->phase != CONN_DEAD && !c->blocked &&
	       !c->eof && tls_pending(c->tls);
}

void conn_settle(struct conn *c)
{
	settle_once(c);
	while (has_pending(c)) {
		if (!read_some(c) && !c->eof)
			break;
		settle_once(c);
	}
	if (c->tls_next && c->phase == CONN_OPEN && !c->tx_head)
		conn_shake(c);
	conn_rearm(c);
}

bool conn_input(struct conn *c)
{
	bool some;

	if (c->blocked || c->eof || c->tls_next || c->shaking)
		return false;
	some = read_some(c);
	if (some || c->eof)
		conn_settle(c);
	return some;
}

void conn_event(struct conn *c, uint32_t events)
{
	if (c->shaking)
		return;
	if (events & EPOLLOUT)
		conn_settle(c);
	if (c->phase == CONN_DEAD)
		return;
	if (events & EPOLLIN)
		conn_input(c);
	else if (events & (EPOLLERR | EPOLLHUP))
		conn_abort(c);
}

void conn_work_later(struct conn *c)
{
	if (list_empty(&c->busy))
		list_add_tail(&c->worker->busy, &c->busy);
}

void conn_work(struct conn *c)
{
	list_del(&c->busy);
	if (c->phase <= CONN_DRAIN) /* begun before the peer's end: it is finished */
		obey(c, c->front->work(c));
	conn_settle(c);
}

void conn_start(struct conn *c)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };

	c->armed = ev.events;
	if (epoll_ctl(c->worker->epfd, EPOLL_CTL_ADD, c->fd, &ev) < 0) {
		conn_abort(c);
		return;
	}
	obey(c, c->front->open(c));
	conn_settle(c);
}

void conn_tick(struct conn *c)
{
	uint64_t now = c->worker->now;

	if (c->shaking) { /* the thread has its own time-out */
		if (!conn_shaken(c) || c->phase == CONN_DEAD)
			return;
		conn_settle(c);
	}
	if (c->deadline && now > c->deadline) {
		if (c->phase == CONN_OPEN)
			conn_warn(c, "no handshake within %u s",
				  (unsigned int)(HANDSHAKE_TIME / SECOND));
		conn_abort(c);
		return;
	}
	atomic_store(&c->poke, false);
	if (c->phase != CONN_OPEN)
		return;
	if (c->front->tick)
		obey(c, c->front->tick(c, now));
	conn_settle(c); /* also one that waits for a limit which is gone */
}

/* ---- what front ends ask for ---- */

void conn_sink(struct conn *c, void *dst, size_t len)
{
	c->sink = dst;
	c->sink_len = len;
}

void *conn_state(struct conn *c)
{
	return c->state;
}

uint64_t conn_now(const struct conn *c)
{
	return c->worker->now;
}

unsigned int conn_worker_id(const struct conn *c)
{
	return c->worker->id;
}

void conn_welcome(struct conn *c)
{
	c->welcome = true;
	if (c->phase == CONN_OPEN)
		c->deadline = 0;
}

struct exports *conn_exports(const struct conn *c)
{
	return c->engine->exports;
}

const struct acl *conn_acl(const struct conn *c)
{
	return c->engine->acl;
}

struct nvme_auth *conn_nvme_auth(const struct conn *c)
{
	return c->engine->nvme_auth;
}

struct nvme_tls *conn_nvme_tls(const struct conn *c)
{
	return c->engine->nvme_tls;
}

const char *conn_peer(const struct conn *c)
{
	return c->peer;
}

void conn_kick(struct conn *c)
{
	shutdown(c->fd, SHUT_RDWR);
}

void conn_poke(struct conn *c)
{
	atomic_store(&c->poke, true);
	worker_wake(c->worker);
}

static void conn_log(struct conn *c, struct log_limit *limit, enum log_level level,
		     const char *fmt, va_list ap)
{
	unsigned int held_back;
	char text[512];

	if (!log_limit_ok(limit, &held_back))
		return;
	vsnprintf(text, sizeof(text), fmt, ap);
	for (char *p = text; *p; p++) /* a peer's words may hold lines of their own */
		if (!isascii((unsigned char)*p) || iscntrl((unsigned char)*p))
			*p = '?';
	if (held_back)
		log_line(level, "%s %s: %s (%u lines like it held back)",
			 c->front->name, c->peer, text, held_back);
	else
		log_line(level, "%s %s: %s", c->front->name, c->peer, text);
}

void conn_warn(struct conn *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	conn_log(c, c->limit, LOG_WARN_, fmt, ap);
	va_end(ap);
}

void conn_warn_within(struct conn *c, struct log_limit *limit, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	conn_log(c, limit, LOG_WARN_, fmt, ap);
	va_end(ap);
}

void conn_info(struct conn *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	conn_log(c, c->limit, LOG_INFO_, fmt, ap);
	va_end(ap);
}
