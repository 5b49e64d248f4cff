/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A connection without a socket, for tests of front ends: bytes are fed, answers are
 * collected. It defines what conn.h promises a front end, so the program that
 * includes it (once) has no engine in it. One thread.
 */
#ifndef TESTS_FAKECONN_H
#define TESTS_FAKECONN_H

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "memserver/acl.h"
#include "memserver/conn.h"
#include "memserver/exports.h"
#include "memserver/front.h"

/* Bytes of answers kept, and of input that may wait; define them less to be fast. */
#ifndef FAKE_OUT
#define FAKE_OUT (4u << 20)
#endif
#ifndef FAKE_IN
#define FAKE_IN (512u << 10)
#endif

struct conn {
	const struct front *front;
	struct exports *exports;
	struct acl *acl;
	struct nvme_auth *nvme_auth; /* NULL unless a test sets it */
	struct nvme_tls *nvme_tls;   /* likewise */
	const char *psk_id;          /* likewise: it is encrypted */
	uint64_t now, charged_ops, charged_bytes;
	bool open, busy, kicked, bound, limited, welcome;
	int ended; /* what the front end ended it with, or 0 */
	uint8_t *sink;
	size_t sink_len;
	uint8_t stash[FAKE_IN]; /* bytes fed and not yet taken */
	size_t stash_len;
	struct conn_tx *tx, **tx_tail;
	uint8_t out[FAKE_OUT]; /* what was sent */
	size_t out_len;
	_Alignas(16) uint8_t state[];
};

/* The connection is up; `x` and `acl` are borrowed. */
static inline struct conn *fake_open(const struct front *front, struct exports *x,
				     struct acl *acl)
{
	struct conn *c = calloc(1, sizeof(*c) + front->state_size);

	assert(c);
	c->front = front;
	c->exports = x;
	c->acl = acl;
	c->now = 1000000000;
	c->tx_tail = &c->tx;
	c->open = true;
	c->ended = front->open(c);
	return c;
}

static inline void fake_put(struct conn *c, const void *p, size_t len)
{
	if (!len)
		return;
	if (len > FAKE_OUT - c->out_len)
		c->out_len = 0; /* nobody looks at so much */
	if (len > FAKE_OUT)
		return;
	memcpy(c->out + c->out_len, p, len);
	c->out_len += len;
}

/* Sends all that is queued. */
static inline void fake_flush(struct conn *c)
{
	struct conn_tx *tx;

	while ((tx = c->tx) != NULL) {
		c->tx = tx->next;
		if (!c->tx)
			c->tx_tail = &c->tx;
		fake_put(c, tx->head, tx->head_len);
		for (uint32_t at = 0; at < tx->payload_len;) {
			const uint8_t *p;
			size_t n = tx->payload_len - at;

			if (!tx->export)
				p = tx->data + at;
			else
				n = export_run(tx->export, tx->offset + at, n, &p,
					       NULL);
			fake_put(c, p, n);
			at += (uint32_t)n;
		}
		fake_put(c, tx->tail, tx->tail_len);
		tx->sent(c, tx);
	}
}

static inline void fake_obey(struct conn *c, ssize_t r)
{
	if (r < 0 && !c->ended)
		c->ended = (int)r;
}

/* Feeds bytes, as one recv would bring them; does not flush. */
static inline void fake_feed(struct conn *c, const void *data, size_t len)
{
	size_t at = 0;

	assert(len <= sizeof(c->stash) - c->stash_len);
	if (len)
		memcpy(c->stash + c->stash_len, data, len);
	c->stash_len += len;
	while (at < c->stash_len && !c->ended) {
		ssize_t n;

		if (c->sink_len) {
			n = (ssize_t)(c->stash_len - at);
			if ((size_t)n > c->sink_len)
				n = (ssize_t)c->sink_len;
			if (c->sink) {
				memcpy(c->sink, c->stash + at, (size_t)n);
				c->sink += n;
			}
			c->sink_len -= (size_t)n;
			if (!c->sink_len)
				fake_obey(c, c->front->sunk(c));
		} else if (!c->front->ready(c)) {
			break;
		} else {
			n = c->front->receive(c, c->stash + at, c->stash_len - at);
			fake_obey(c, n);
			if (n <= 0)
				break;
		}
		at += (size_t)n;
	}
	memmove(c->stash, c->stash + at, c->stash_len - at);
	c->stash_len -= at;
}

/* Does its long work to the end, then takes what waited for that. */
static inline void fake_work(struct conn *c)
{
	while (c->busy && !c->ended) {
		c->busy = false;
		fake_obey(c, c->front->work(c));
	}
	fake_feed(c, "", 0);
}

/* The peer is gone. */
static inline void fake_close(struct conn *c)
{
	struct conn_tx *tx;

	while ((tx = c->tx) != NULL) {
		c->tx = tx->next;
		tx->sent(c, tx);
	}
	c->front->close(c);
	free(c);
}

void conn_send(struct conn *c, struct conn_tx *tx)
{
	for (const struct conn_tx *t = c->tx; t; t = t->next)
		assert(t != tx); /* queued twice */
	tx->next = NULL;
	tx->done = 0;
	*c->tx_tail = tx;
	c->tx_tail = &tx->next;
}

void conn_sink(struct conn *c, void *dst, size_t len)
{
	assert(len);
	c->sink = dst;
	c->sink_len = len;
}

void conn_work_later(struct conn *c)
{
	c->busy = true;
}

void *conn_state(struct conn *c)
{
	return c->state;
}

uint64_t conn_now(const struct conn *c)
{
	return c->now;
}

unsigned int conn_worker_id(const struct conn *c)
{
	return 0;
}

void conn_bind(struct conn *c, struct export *e, const char *client)
{
	c->bound = c->welcome = true;
}

void conn_limit(struct conn *c)
{
	assert(c->bound);
	c->limited = true;
}

void conn_charge(struct conn *c, uint64_t bytes)
{
	assert(c->limited);
	c->charged_ops++;
	c->charged_bytes += bytes;
}

void conn_welcome(struct conn *c)
{
	c->welcome = true;
}

struct exports *conn_exports(const struct conn *c)
{
	return c->exports;
}

const struct acl *conn_acl(const struct conn *c)
{
	return c->acl;
}

struct nvme_auth *conn_nvme_auth(const struct conn *c)
{
	return c->nvme_auth;
}

struct nvme_tls *conn_nvme_tls(const struct conn *c)
{
	return c->nvme_tls;
}

bool conn_is_tls(const struct conn *c)
{
	return c->psk_id;
}

const char *conn_psk_id(const struct conn *c)
{
	return c->psk_id ? c->psk_id : "";
}

/* There is nobody to shake hands with. */
int conn_begin_tls(struct conn *c, struct tls *t)
{
	return -ENOMEM;
}

const char *conn_peer(const struct conn *c)
{
	return "fake";
}

int conn_local(const struct conn *c, char *addr, size_t addr_len, uint16_t *ret_port,
	       int *ret_family)
{
	snprintf(addr, addr_len, "192.0.2.1");
	*ret_port = 4420;
	*ret_family = AF_INET;
	return 0;
}

int conn_allows(struct conn *c, const struct export *e)
{
	return export_needs_tls(e) && !c->psk_id ? -ENOTSUP : 0;
}

void conn_kick(struct conn *c)
{
	c->kicked = true;
}

void conn_poke(struct conn *c)
{
}

void conn_warn(struct conn *c, const char *fmt, ...)
{
}

void conn_warn_within(struct conn *c, struct log_limit *limit, const char *fmt, ...)
{
}

void conn_info(struct conn *c, const char *fmt, ...)
{
}

#endif
