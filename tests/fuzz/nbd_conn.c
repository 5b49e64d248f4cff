/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as all that an NBD client ever sends, to a real worker over a socket pair.
 * The first byte says in what pieces they come. Afterwards the connection must be gone,
 * nobody attached, and every page given back by one trim: no grip was forgotten.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/log.h"
#include "memserver/accounts.h"
#include "memserver/acl.h"
#include "memserver/conn_priv.h"
#include "memserver/exports.h"
#include "memserver/pool.h"

#define SIZE (256u << 10) /* small: what is read is all sent */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct {
	char dir[64];
	struct pool *pool;
	struct acl *acl;
	struct engine engine;
	struct export *export;
} world;

static void must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "nbd_conn: %s\n", what);
	abort();
}

static void remove_pool(void)
{
	char cmd[96];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", world.dir);
	must(system(cmd) == 0, cmd);
}

static void make_world(void)
{
	struct export_cfg cfg = { .name = "default", .size_bytes = SIZE };
	struct pool_cfg pool = { .dir = world.dir, .numa_node = -1 };
	struct engine *g = &world.engine;

	log_set_level((enum log_level)0);
	strcpy(world.dir, "/dev/shm/remem-fuzz-XXXXXX");
	must(mkdtemp(world.dir) != NULL, "no folder on /dev/shm");
	atexit(remove_pool);
	must(!pool_open(&pool, &world.pool), "pool_open");
	must(!exports_open(world.pool, &g->exports), "exports_open");
	must(!exports_create(g->exports, &cfg, NULL), "exports_create");
	must(!conns_new(&g->conns), "conns_new");
	must(!clients_new(&g->clients), "clients_new");
	must(!accounts_new(&g->accounts), "accounts_new");
	must(!acl_new(&world.acl), "acl_new");
	world.export = exports_find(g->exports, "default", 7);
	g->acl = world.acl;
	g->nr_workers = 1;
	g->max_conns = 16;
	must(!engine_start(g), "engine_start");
}

/* Sends all of it in pieces, reads whatever comes, until the server ends it. */
static void talk(int fd, const uint8_t *data, size_t len, size_t piece)
{
	static uint8_t sink[1 << 16];
	ssize_t n = 1;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (n) {
		struct pollfd p = { fd, (short)(POLLIN | (len ? POLLOUT : 0)), 0 };

		must(poll(&p, 1, 30000) == 1,
		     "the server neither reads, sends nor ends");
		if (p.revents & POLLIN)
			n = read(fd, sink, sizeof(sink));
		if (n < 0 && errno != EAGAIN)
			return;
		if (!len || !(p.revents & POLLOUT))
			continue;
		n = send(fd, data, piece < len ? piece : len, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			return;
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
		if (!len)
			shutdown(fd, SHUT_WR);
		n = 1;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct log_limit limit = LOG_LIMIT_INIT;
	struct conn *c;
	int fds[2];

	if (!world.pool)
		make_world();
	if (len < 2)
		return 0;
	must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), "socketpair");
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	must(!conn_new(&world.engine, &front_nbd, fds[1], "fuzz", &limit, &c),
	     "conn_new");
	engine_assign(&world.engine, c);
	talk(fds[0], data + 1, len - 1, data[0] ? data[0] : 1u << 16);
	close(fds[0]);
	while (conns_count(world.engine.conns))
		sched_yield();
	while (export_users(world.export)) /* a moment later */
		sched_yield();
	export_trim(world.export, 0, SIZE, false);
	must(export_resident(world.export) == 0, "somebody still grips the export");
	return 0;
}
