/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The register of live connections: for `who`, for dropping an export, for limits.
 * A connection enters when it is accepted and leaves on its worker when it is freed;
 * while the register's lock is held a connection in it is alive. Any thread.
 */
#ifndef MEMSERVER_CONNS_H
#define MEMSERVER_CONNS_H

#include "memserver/export.h"

struct conn;
struct conns;

/* A picture of one connection. */
struct conn_info {
	uint64_t id;                      /* never used twice while the server runs */
	char peer[112];                   /* "10.0.2.15:40312", "unix:pid 77" */
	char client[224];                 /* host NQN, or "" */
	char export[EXPORT_NAME_MAX + 1]; /* "" when not in transmission */
	char tls[64];                     /* "TLSv1.3 …", or "" in the clear */
	const char *front;                /* "nbd", "nvme", "nvme-discovery" */
	unsigned int worker;
	uint64_t since_ns; /* CLOCK_MONOTONIC */
	struct io_stats stats;
};

int conns_new(struct conns **ret);
void conns_free(struct conns *r);

void conns_add(struct conns *r, struct conn *c);
void conns_del(struct conns *r, struct conn *c);
/* Its handshake is done: `who` tells of it. On its worker. */
void conns_encrypted(struct conns *r, struct conn *c);
unsigned int conns_count(const struct conns *r);

/* Calls `fn` for each, oldest first, under the lock; stops at non-zero, returns it.
 * `fn` must not block nor call back. */
int conns_each(struct conns *r, int (*fn)(const struct conn_info *info, void *arg),
	       void *arg);

/* Ends the connections bound to this export (NULL: all; id 0: any). Returns how many
 * were told; they go soon, on their workers. */
unsigned int conns_kick(struct conns *r, const struct export *e, uint64_t id);

/* Pokes every connection (front->tick soon): exports were created, resized, dropped. */
void conns_poke(struct conns *r);

#endif
