/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A tgtd of our own: found, checked, started, watched, started again when it dies, and
 * ended with us. It listens for orders on a socket of its own in our folder, so a tgtd
 * of the system's is not disturbed. Main thread, but for those marked.
 */
#ifndef MEMSERVER_ISCSI_TGTD_H
#define MEMSERVER_ISCSI_TGTD_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/addr.h"
#include "lib/loop.h"

struct tgtd;

struct tgtd_cfg {
	struct loop *loop;          /* borrowed */
	const char *folder;         /* for its socket; ours alone; copied */
	const struct addr *portals; /* where it serves; copied */
	size_t nr_portals;
	/* It has just come up (configure it: 0, or it is ended and started again), or is
	 * gone. */
	int (*up)(void *arg);
	void (*down)(void *arg);
	void *arg;
};

/*
 * Starts it and waits until it takes orders; `up` is called within. Errors are logged
 * with their remedy: -EPERM not root, -ENOENT not installed, -EOPNOTSUPP too old,
 * -ENAMETOOLONG, or it ended at once (-ECHILD: the address is taken, say).
 */
int tgtd_start(const struct tgtd_cfg *cfg, struct tgtd **ret);

/* Ends it and waits for that. NULL is fine. */
void tgtd_stop(struct tgtd *d);

/* A tgtd that is stuck: it is told as any other end of it. */
void tgtd_kill(struct tgtd *d);

/* (any thread) */
bool tgtd_is_up(const struct tgtd *d);
const char *tgtd_socket(const struct tgtd *d);
int tgtd_pid(const struct tgtd *d);          /* 0: not running */
uint64_t tgtd_refused(const struct tgtd *d); /* logins with a wrong user or secret */
const char *tgtd_version(const struct tgtd *d);

#endif
