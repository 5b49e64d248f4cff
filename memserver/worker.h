/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The serving threads. Each owns its connections, one epoll and its buffers; nothing
 * on the way of an I/O is shared with another worker but the exports themselves.
 *
 * Waiting is adaptive: for spin_ns after the last byte a worker polls its recently
 * active sockets, then it sleeps in epoll_wait. At most one worker spins for each CPU
 * the process may use, so an idle server uses none.
 */
#ifndef MEMSERVER_WORKER_H
#define MEMSERVER_WORKER_H

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdint.h>

struct acl;
struct conn;
struct clients;
struct conns;
struct exports;
struct nvme_auth;
struct nvme_tls;
struct handshakes;
struct secure;
struct worker;

/* What all workers and doors share. Filled before engine_start; all borrowed. */
struct engine {
	struct exports *exports;
	struct conns *conns;
	struct clients *clients;
	struct accounts *accounts;
	const struct acl *acl;
	struct nvme_auth *nvme_auth; /* NULL: NVMe hosts need no secret */
	struct nvme_tls *nvme_tls;   /* NULL: NVMe has no TLS */
	unsigned int nr_workers;     /* 1 .. EXPORT_MAX_WORKER */
	uint64_t spin_ns;            /* 0: never spin */
	struct secure *secure;       /* NULL: no TLS */
	unsigned int max_conns;
	/* Where NVMe is served, for discovery records. */
	struct sockaddr_storage nvme_doors[16];
	unsigned int nr_nvme_doors;

	struct worker *workers;        /* owned from engine_start on */
	struct handshakes *handshakes; /* owned likewise; NULL without TLS */
	_Atomic unsigned int spinners;
	unsigned int max_spinners;
};

/* How many CPUs this process may run on. */
unsigned int engine_nr_cpus(void);

/* Starts the threads. 0 or -errno. Main thread. */
int engine_start(struct engine *g);

/* Ends every connection (what is queued for them is tried for a moment) and the
 * threads. Main thread. Fine on an engine that never started. */
void engine_stop(struct engine *g);

/* Hands an accepted connection to the least loaded worker. Main thread. */
void engine_assign(struct engine *g, struct conn *c);

#endif
