/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper: a small resident process that gives an NBD device of the kernel a new
 * socket whenever one dies, so that swap on it outlives its server's crash.
 *
 * What the kernel does (6.1, drivers/block/nbd.c): when the last socket is dead, new
 * requests wait dead_conn_timeout for another, and requests under way are sent again
 * once their own timeout has passed. Nobody but user space can bring the socket.
 *
 * The keeper runs when memory is short, because that is when swap is used: everything
 * it needs is locked and allocated before it reports ready, it is marked as an
 * I/O flusher (its allocations in the kernel never wait for swap), it can't be picked
 * by the OOM killer, and as a real-time task it may use the kernel's memory reserve.
 * It watches its own copies of the sockets, not only the kernel's announcement: the
 * kernel allocates memory to announce, in a context that may wait for swap.
 *
 * A new socket replaces a dead one only if it leads to the same bytes: it negotiates
 * the generation-qualified name, and the swap header's UUID must be there. When the
 * server says that it no longer has them, the keeper disconnects the device: I/O fails
 * from then on, which is the truth.
 */
#ifndef CLIENT_KEEPER_H
#define CLIENT_KEEPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "client/nbd_dial.h"
#include "client/nbd_netlink.h"

enum keeper_state {
	KEEPER_LIVE,       /* every connection stands */
	KEEPER_DEGRADED,   /* some do */
	KEEPER_CONNECTING, /* none: the swap waits */
	KEEPER_LOST,       /* the server no longer has the bytes: I/O fails */
};
const char *keeper_state_name(enum keeper_state s);

struct keeper_job {
	struct nbd_dial dial; /* with the canonical name; `mask` is set by the keeper */
	struct nbd_netlink_device device; /* as it was connected; fds may be fewer */
	unsigned int
		connections; /* what the kernel has; those beyond fds are unknown */
	uint32_t index;      /* of /dev/nbdN */
	uint8_t swap_uuid[16];
	const char *page_path; /* where it shows its state */
};

/* What a keeper shows, in a file that it keeps mapped. */
struct keeper_view {
	enum keeper_state state;
	pid_t pid;
	bool alive;
	unsigned int live, connections;
	uint64_t reconnects; /* sockets replaced since it started */
	int64_t since_s;     /* CLOCK_REALTIME, of `state` */
	int last_error;      /* errno of the last failed attempt, 0: none */
};

/*
 * Forks the keeper and waits until it is ready (locked, listening). 0 or -errno; the
 * caller still owns its descriptors. Main thread, no other threads.
 */
int keeper_start(const struct keeper_job *job);

/* -ENOENT: there was never one. */
int keeper_look(const char *page_path, struct keeper_view *ret);

/* Ends it and waits for its end; 0 also when there is none. The device stays. */
int keeper_stop(const char *page_path);

/* main's argv, so that the keeper can show what it is. Borrowed for ever. */
void keeper_use_title(int argc, char **argv);

#endif
