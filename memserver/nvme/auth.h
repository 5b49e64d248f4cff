/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What all logins of a server share: the table of hosts, which may be read anew while
 * it serves, counters, and one thread that does the arithmetic. A DH operation takes
 * up to tens of milliseconds: on a worker it would hold up everybody's I/O. The thread
 * takes one task at a time, in turn by the address of the peer, at a lower priority
 * than the workers': a flood of logins costs its senders time, and others a task's.
 *
 * Lock order: auth's, then whatever conn_poke takes.
 */
#ifndef MEMSERVER_NVME_AUTH_H
#define MEMSERVER_NVME_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/list.h"
#include "memserver/nvme/auth_keys.h"
#include "memserver/nvme/auth_msg.h"

struct conn;
struct log_limit;
struct nvme_auth;

/* Reads the file of hosts: 0, or -errno after it has been logged why. No thread yet:
 * tasks are done where they are given. Main thread. */
int nvme_auth_new(const char *path, const struct nvme_auth_prefs *prefs,
		  struct nvme_auth **ret);

/* The same from text, without a file. -EINVAL. For tests. */
int nvme_auth_new_text(const char *text, size_t len,
		       const struct nvme_auth_prefs *prefs, struct nvme_auth **ret);

/* Starts the thread. 0 or -errno. */
int nvme_auth_start(struct nvme_auth *a);

/* Ends it. No connection may have a task any more. NULL is fine. */
void nvme_auth_free(struct nvme_auth *a);

/* Reads the file again. On failure, which is logged, the old table stays. Who is
 * connected stays so. Main thread. */
int nvme_auth_reload(struct nvme_auth *a);

/* May it try to log in for `export`; is it known at all (`export` NULL)? Any thread. */
bool nvme_auth_allows(struct nvme_auth *a, const char *nqn, const char *export);

/* Must that host have TLS for `export`, because it or every host has to? Any thread. */
bool nvme_auth_needs_concat(struct nvme_auth *a, const char *nqn, const char *export);

/* The table as it is now, with a reference. Any thread. */
struct nvme_auth_keys *nvme_auth_keys(struct nvme_auth *a);
const struct nvme_auth_prefs *nvme_auth_prefs(const struct nvme_auth *a);

struct nvme_auth_counters {
	uint64_t accepted;
	uint64_t refused; /* unknown host, or not for that export */
	uint64_t failed[NVME_AUTH_EXPLANATION_NR]; /* by explanation; 0: the host's */
};

/* Refusals and failures have a share of the log of their own. */
struct log_limit *nvme_auth_log_limit(struct nvme_auth *a);

/* Any thread. */
void nvme_auth_count_accepted(struct nvme_auth *a);
void nvme_auth_count_refused(struct nvme_auth *a);
void nvme_auth_count_failed(struct nvme_auth *a, uint8_t explanation);
void nvme_auth_counters(struct nvme_auth *a, struct nvme_auth_counters *ret);

/* ---- tasks ---- */

/*
 * Something to compute, embedded as the first member of what it works on. Given away by
 * nvme_auth_give: `run` is called on the auth thread, then the connection is poked and
 * nvme_auth_done is true. nvme_auth_drop takes it back for good: `free` is called, now
 * or when `run` has ended. Both on the connection's worker.
 */
struct nvme_auth_task {
	struct list link; /* under auth's lock, as is `c` */
	struct conn *c;   /* NULL: dropped while it runs */
	void (*run)(struct nvme_auth_task *t);
	void (*free)(struct nvme_auth_task *t);
	_Atomic int state; /* enum nvme_auth_task_state */
	char address[64];  /* the peer's, without the port */
};

enum nvme_auth_task_state { NVME_TASK_IDLE, NVME_TASK_WAITING, NVME_TASK_RUNNING };

void nvme_auth_task_init(struct nvme_auth_task *t, struct conn *c);
void nvme_auth_give(struct nvme_auth *a, struct nvme_auth_task *t);
bool nvme_auth_done(struct nvme_auth_task *t);
void nvme_auth_drop(struct nvme_auth *a, struct nvme_auth_task *t);

#endif
