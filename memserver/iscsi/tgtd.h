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
#include <sys/types.h>

#include "lib/addr.h"
#include "lib/loop.h"

struct tgtd;

/* What tgtd is run with. Zeroed: nothing to free. */
struct tgtd_words {
	char *program; /* owned; its path; NULL: not installed */
	char *base;    /* owned; what it is told its socket is called */
	char *portals; /* owned; the value of --iscsi */
};

/* `folder` is for its socket. -ENOMEM. */
int tgtd_words_init(const struct addr *portals, size_t nr, const char *folder,
		    struct tgtd_words *ret);
void tgtd_words_fini(struct tgtd_words *w);

/* In a new process: becomes tgtd, with its words going to `output`. */
_Noreturn void tgtd_words_exec(const struct tgtd_words *w, int output);

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
	/* Has a child of this process call tgtd_words_exec, with the same words. */
	int (*run)(void *arg, int output, pid_t *ret_pid);
	void *run_arg;
};

/*
 * Starts it and waits until it takes orders; `up` is called within. Errors are logged
 * with their remedy: -ENOENT not installed, -EOPNOTSUPP too old,
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
