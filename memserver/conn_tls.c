/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Encrypted connections: the way to the handshake thread and back, and bytes through the
 * session instead of the socket. On the connection's worker.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "lib/cleanup.h"
#include "lib/tls.h"
#include "memserver/conn_priv.h"
#include "memserver/secure.h"

/* ---- bytes ---- */

ssize_t conn_recvmsg(struct conn *c, const struct msghdr *m)
{
	struct msghdr plain = *m;

	return c->tls ? tls_recvmsg(c->tls, m) : recvmsg(c->fd, &plain, MSG_DONTWAIT);
}

ssize_t conn_sendmsg(struct conn *c, const struct msghdr *m)
{
	return c->tls ? tls_sendmsg(c->tls, m)
		      : sendmsg(c->fd, m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

bool conn_all_sent(struct conn *c)
{
	int r;

	if (c->tx_head || c->shaking)
		return false;
	if (!c->tls || !tls_unsent(c->tls))
		return true;
	r = tls_flush(c->tls);
	if (r < 0 && !conn_may_retry(-r))
		conn_abort(c);
	return r == 0;
}

void conn_bye(struct conn *c)
{
	if (!c->tls)
		return;
	tls_bye(c->tls);
	tls_flush(c->tls); /* if there is no room the peer does without it */
}

/* ---- handshake ---- */

/* On the handshake thread. After `over` the connection may be gone, its worker not. */
static void handshake_done(struct handshake *h)
{
	struct conn *c = container_of(h, struct conn, handshake);
	struct worker *w = c->worker;

	atomic_store(&c->poke, true);
	atomic_store(&h->over, true);
	worker_wake(w);
}

int conn_start_tls(struct conn *c)
{
	struct tls *t;
	int r;

	if (!c->engine->secure || conn_is_tls(c))
		return -EOPNOTSUPP;
	t = secure_context(c->engine->secure);
	r = tls_session_new(t, c->fd, NULL, &c->tls_next);
	tls_put(t);
	return r;
}

int conn_begin_tls(struct conn *c, struct tls *t)
{
	int r = tls_session_new(t, c->fd, NULL, &c->tls_next);

	c->tls_begun = r == 0;
	return r;
}

void conn_shake(struct conn *c)
{
	c->tls = take_ptr(c->tls_next);
	c->shaking = true;
	c->armed = 0;
	epoll_ctl(c->worker->epfd, EPOLL_CTL_DEL, c->fd, NULL);
	c->handshake.session = c->tls;
	c->handshake.fd = c->fd;
	c->handshake.done = handshake_done;
	handshakes_add(c->engine->handshakes, &c->handshake);
}

static void tell_failure(struct conn *c, int r)
{
	if (r == -ETIMEDOUT)
		conn_warn(c, "no TLS handshake within %d s", HANDSHAKE_SECONDS);
	else if (r == -EBUSY)
		conn_warn(c, "its TLS handshake took longest of %d at a time: ended",
			  HANDSHAKES_MAX);
	else if (r != -ESHUTDOWN && c->phase != CONN_DEAD)
		conn_warn(c, "%s", tls_error(c->tls));
}

bool conn_shaken(struct conn *c)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };
	const char *name;
	int r;

	if (!atomic_load(&c->handshake.over))
		return false;
	c->shaking = false;
	r = c->handshake.result;
	if (r < 0) {
		tell_failure(c, r);
		conn_abort(c);
		return true;
	}
	c->armed = ev.events;
	if (epoll_ctl(c->worker->epfd, EPOLL_CTL_ADD, c->fd, &ev) < 0)
		conn_abort(c);
	conns_encrypted(c->engine->conns, c);
	name = conn_proved_name(c);
	log_debug("%s %s: %s, %s", c->front->name, c->peer, c->tls_how,
		  name ? name : "an anonymous client");
	return true;
}

/* ---- what front ends ask ---- */

enum conn_tls_need conn_tls_need(const struct conn *c)
{
	switch (secure_nbd(c->engine->secure, c->is_unix)) {
	case TLS_REQUIRED:
		return CONN_TLS_REQUIRED;
	case TLS_OFFERED:
		return CONN_TLS_OFFERED;
	default:
		return CONN_TLS_OFF;
	}
}

bool conn_is_tls(const struct conn *c)
{
	return c->tls || c->tls_next;
}

const char *conn_proved_name(const struct conn *c)
{
	/* A certificate's common name says more to people than its whole subject. */
	for (size_t i = 0; c->tls && *tls_peer_name(c->tls, i); i++)
		if (strncmp(tls_peer_name(c->tls, i), "DN:", 3) != 0)
			return tls_peer_name(c->tls, i);
	return c->tls && *tls_peer_name(c->tls, 0) ? tls_peer_name(c->tls, 0) : NULL;
}

const char *conn_psk_id(const struct conn *c)
{
	return c->tls ? tls_psk_id(c->tls) : "";
}

int conn_allows(struct conn *c, const struct export *e)
{
	if (!c->tls)
		return export_needs_tls(e) &&
				       !secure_exempts(c->engine->secure, c->is_unix)
			       ? -ENOTSUP
			       : 0;
	if (c->tls_begun)
		return 0;
	return secure_allows(c->engine->secure, c->tls, export_name(e)) ? 0 : -EACCES;
}
