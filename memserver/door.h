/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A listening socket and the protocol behind it. Accepts on the main thread, checks
 * the address and the limits, and hands the connection to a worker.
 */
#ifndef MEMSERVER_DOOR_H
#define MEMSERVER_DOOR_H

#include <stdatomic.h>

#include "lib/addr.h"
#include "lib/log.h"
#include "lib/loop.h"

struct engine;
struct front;

struct door {
	struct loop_fd watch;
	int fd;
	const struct front *front; /* borrowed, constant */
	struct engine *engine;     /* borrowed */
	struct addr addr;          /* where it really listens: port 0 filled in */
	struct log_limit limit;    /* for all its connections */
	struct log_limit accept_limit;
	bool paused;              /* could not accept; door_tick tries again */
	_Atomic uint64_t refused; /* connections turned away here */
};

/*
 * Listens. Says why not, with the remedy, and returns -errno. Does not accept until
 * door_serve. The door stays where it is in memory until door_close.
 */
int door_open(struct door *d, const struct front *front, const struct addr *addr,
	      struct engine *engine);
int door_serve(struct door *d, struct loop *loop);

/* About once a second. */
void door_tick(struct door *d);

/* Fine on a zeroed door and twice. Removes a unix socket's file. */
void door_close(struct door *d);

#endif
