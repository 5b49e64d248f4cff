/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A connection's answers in, bytes on its socket out, and the counting of what was
 * answered. One sendmsg takes as many queued answers as fit: small pieces gathered in
 * the worker's buffer, payloads straight from the export's mapping. On the worker.
 */
#include "memserver/conn.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "lib/clock.h"
#include "lib/fault.h"
#include "memserver/conn_priv.h"

/* Epoll must not report input that nobody may take: it would, again and again. */
void conn_rearm(struct conn *c)
{
	struct epoll_event ev = { .data.ptr = c };

	if (c->shaking)
		return;
	ev.events = (c->blocked || c->eof || c->tls_next ? 0u : (uint32_t)EPOLLIN) |
		    (c->want_out ? (uint32_t)EPOLLOUT : 0u);
	if (c->phase == CONN_DEAD || ev.events == c->armed)
		return;
	c->armed = ev.events;
	epoll_ctl(c->worker->epfd, EPOLL_CTL_MOD, c->fd, &ev);
}

void conn_send(struct conn *c, struct conn_tx *tx)
{
	tx->next = NULL;
	tx->done = 0;
	*c->tx_tail = tx;
	c->tx_tail = &tx->next;
}

static uint64_t tx_len(const struct conn_tx *tx)
{
	return (uint64_t)tx->head_len + tx->payload_len + tx->tail_len;
}

/* The pieces of one send, being gathered. */
struct gather {
	struct worker *w;
	int nr;
	uint32_t heads; /* bytes of w->heads in use */
	uint64_t bytes;
};

static bool add_piece(struct gather *g, const void *p, size_t len)
{
	struct iovec *v = &g->w->iov[g->nr];

	if (g->nr == TX_IOVECS)
		return false;
	v->iov_base = (void *)(uintptr_t)p;
	v->iov_len = len;
	g->nr++;
	g->bytes += len;
	return true;
}

/* Small pieces side by side become one: the kernel walks fewer. */
static bool add_small(struct gather *g, const void *p, size_t len)
{
	uint8_t *at = g->w->heads + g->heads;
	struct iovec *last = g->nr ? &g->w->iov[g->nr - 1] : NULL;

	if (len > TX_HEADS - g->heads)
		return false;
	memcpy(at, p, len);
	g->heads += (uint32_t)len;
	if (last && (uint8_t *)last->iov_base + last->iov_len == at) {
		last->iov_len += len;
		g->bytes += len;
		return true;
	}
	return add_piece(g, at, len);
}

static bool add_payload(struct gather *g, const struct conn_tx *tx, uint32_t from)
{
	while (from < tx->payload_len) {
		size_t n = tx->payload_len - from;
		const uint8_t *p;

		if (tx->export)
			n = export_run(tx->export, tx->offset + from, n, &p, NULL);
		else
			p = tx->data + from;
		if (!add_piece(g, p, n))
			return false;
		from += (uint32_t)n;
	}
	return true;
}

/* Adds what is unsent of one answer; false when there is no more room. */
static bool add_answer(struct gather *g, const struct conn_tx *tx)
{
	uint32_t skip = tx->done;

	if (skip < tx->head_len) {
		if (!add_small(g, (const uint8_t *)tx->head + skip,
			       tx->head_len - skip))
			return false;
		skip = 0;
	} else {
		skip -= tx->head_len;
	}
	if (skip < tx->payload_len) {
		if (!add_payload(g, tx, skip))
			return false;
		skip = 0;
	} else {
		skip -= tx->payload_len;
	}
	return skip >= tx->tail_len ||
	       add_small(g, (const uint8_t *)tx->tail + skip, tx->tail_len - skip);
}

/* Answers of the same kind and batch, counted together. */
struct tally {
	enum io_op op;
	uint32_t nr, errors, no_space;
	uint64_t bytes, arrived;
};

#define relaxed_add(var, n)                                                       \
	__atomic_store_n(&(var), __atomic_load_n(&(var), __ATOMIC_RELAXED) + (n), \
			 __ATOMIC_RELAXED)

static void count_into(struct io_stats *s, const struct tally *t, uint64_t ns)
{
	relaxed_add(s->ops[t->op], t->nr);
	relaxed_add(s->bytes[t->op], t->bytes);
	relaxed_add(s->errors, t->errors);
	relaxed_add(s->no_space, t->no_space);
	if (t->op <= IO_ZERO)
		hist_add(&s->latency[t->op], ns, t->nr);
}

static void flush_tally(struct conn *c, struct tally *t, uint64_t now)
{
	if (!t->nr)
		return;
	count_into(&c->stats, t, now - t->arrived);
	if (c->export)
		count_into(export_stats(c->export, c->worker->id), t, now - t->arrived);
	t->nr = t->errors = t->no_space = 0;
	t->bytes = 0;
}

static void tally_add(struct conn *c, struct tally *t, const struct conn_tx *tx,
		      uint64_t now)
{
	if (!tx->arrived_ns)
		return; /* handshakes are not I/O */
	if (t->nr && (t->op != tx->op || t->arrived != tx->arrived_ns))
		flush_tally(c, t, now);
	t->op = tx->op;
	t->arrived = tx->arrived_ns;
	t->nr++;
	t->errors += tx->failed;
	t->no_space += tx->no_space;
	t->bytes += tx->counted;
}

/* `n` bytes went out: completes the answers they cover. */
static void complete(struct conn *c, uint64_t n)
{
	struct tally t = { 0 };
	uint64_t now = clock_ns();
	struct conn_tx *tx;

	while ((tx = c->tx_head) != NULL) {
		uint64_t left = tx_len(tx) - tx->done;

		if (n < left) {
			tx->done += (uint32_t)n;
			break;
		}
		n -= left;
		c->tx_head = tx->next;
		if (!c->tx_head)
			c->tx_tail = &c->tx_head;
		tally_add(c, &t, tx, now);
		tx->sent(c, tx);
	}
	flush_tally(c, &t, now);
	c->worker->now = now;
}

/* One sendmsg. True when all of what was gathered went out. */
static bool send_once(struct conn *c)
{
	struct gather g = { .w = c->worker };
	struct msghdr m = { .msg_iov = g.w->iov };
	ssize_t n;

	for (const struct conn_tx *tx = c->tx_head; tx; tx = tx->next)
		if (!add_answer(&g, tx))
			break;
	m.msg_iovlen = (size_t)g.nr;
	if (fault_point("conn.short_send"))
		m.msg_iovlen = m.msg_iov->iov_len = 1;
	n = fault_errno("conn.send") ? -1 : conn_sendmsg(c, &m);
	if (n < 0) {
		if (!conn_may_retry(errno))
			conn_abort(c);
		return false;
	}
	complete(c, (uint64_t)n);
	return (uint64_t)n == g.bytes;
}

void conn_output(struct conn *c)
{
	bool whole = true;

	if (c->shaking)
		return;
	while (c->tx_head && whole && c->phase != CONN_DEAD)
		whole = send_once(c);
	c->want_out = c->phase != CONN_DEAD && !conn_all_sent(c);
}
