/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One running memserver, as main, ctl and metrics see it. Nobody else includes this.
 */
#ifndef MEMSERVER_SERVER_H
#define MEMSERVER_SERVER_H

#include "lib/loop.h"
#include "memserver/accounts.h"
#include "memserver/clients.h"
#include "memserver/config.h"
#include "memserver/conns.h"
#include "memserver/door.h"
#include "memserver/drop.h"
#include "memserver/exports.h"
#include "memserver/pool.h"
#include "memserver/roles.h"
#include "memserver/worker.h"

struct trail;
struct ctl_server;
struct helper;
struct iscsi;
struct httpd;
struct login_stats;
struct nvme_auth;
struct nvme_tls;
struct remote;
struct secure;

struct server {
	struct server_cfg cfg;
	struct drop drop;      /* who it becomes */
	struct helper *helper; /* NULL: nothing is left that needs rights */
	struct loop *loop;
	struct pool *pool;
	struct exports *exports;
	struct conns *conns;
	struct clients *clients;
	struct accounts *accounts;
	struct engine engine;
	struct door *doors; /* nr_doors of them */
	size_t nr_doors;
	struct iscsi *iscsi;         /* NULL: off or not started */
	struct nvme_auth *nvme_auth; /* NULL: NVMe hosts need no secret */
	struct nvme_tls *nvme_tls;   /* NULL: NVMe has no TLS */
	struct secure *secure;       /* NULL: no TLS */
	struct roles roles;
	struct remote *remote;            /* NULL: off or not started */
	const struct login_stats *logins; /* its, borrowed; NULL likewise */
	struct trail *audit;              /* NULL: no audit log */
	struct ctl_server *ctl;           /* NULL: not started */
	struct httpd *metrics;            /* NULL: off or not started */
	uint64_t started_ns;              /* CLOCK_MONOTONIC */
	bool locked;                      /* mlockall worked */
	char confined[160];               /* what is in force, in words */
};

#endif
