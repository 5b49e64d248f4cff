/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory a host lends: a folder on tmpfs, one sparse file per export, and the
 * account of how much of it is in use. The pool knows files and pages, nothing of
 * exports or protocols.
 *
 * Files outlive the process (a crash or an upgrade loses nothing) and die with the
 * host. One memserver per pool: a lock file keeps a second one out.
 */
#ifndef MEMSERVER_POOL_H
#define MEMSERVER_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "memserver/drop.h"

#define POOL_PAGE      4096u
#define POOL_HUGE_PAGE (2u << 20)

struct pool_cfg {
	const char *dir;      /* borrowed during pool_open; NULL: the default folder */
	uint64_t limit_bytes; /* all exports together; 0: no limit but the host's */
	uint64_t reserve_bytes; /* host memory that lending never takes */
	bool huge;     /* back with 2 MiB pages; memory returns in such units */
	int numa_node; /* -1: anywhere */
	const struct drop *owner; /* borrowed; whom it is given to; NULL: nobody else */
};

struct pool;

/* The folder's path, for the caller to free. -ENOMEM. */
int pool_find(const struct pool_cfg *cfg, char **ret_path);

/* The host's memory as /proc/meminfo names it, bytes; 0: it does not. */
uint64_t pool_host_memory(const char *key);

/*
 * Makes the folder, mounts a tmpfs there when we are root and it is not on one, and gives it
 * with all its files to the owner. Without some of root's rights what has been done already is
 * enough. Errors are logged with their remedy.
 */
int pool_prepare(const struct pool_cfg *cfg);

/* Opens what has been prepared, with the rights of its owner; errors as of pool_open. */
int pool_attach(const struct pool_cfg *cfg, struct pool **ret);

/*
 * Both: opens the folder, mounting a tmpfs there first when we are root and it is not on
 * one. Errors are logged here with their remedy: -EBUSY another memserver has it,
 * -EOPNOTSUPP not a tmpfs, or whatever mount(2) and open(2) say. Main thread.
 */
int pool_open(const struct pool_cfg *cfg, struct pool **ret);

/* Whoever may change the size of its tmpfs, where we may not. */
void pool_size_by(struct pool *p, int (*fn)(void *arg, uint64_t bytes), void *arg);

/* Frees the handle; files stay. NULL is fine. */
void pool_close(struct pool *p);

/* The folder's descriptor (borrowed) and path (borrowed), for openat and messages. */
int pool_dirfd(const struct pool *p);
const char *pool_path(const struct pool *p);

/* True when the kernel itself keeps the pool off the swap (tmpfs noswap, 6.4). */
bool pool_is_noswap(const struct pool *p);

/* Bytes that are given and taken back at once: 4 KiB, or 2 MiB with huge pages. */
uint32_t pool_granule(const struct pool *p);

/*
 * Opens (`create`: makes) the file `name` and gives it `size` bytes. -EEXIST, -ENOENT, or
 * what the file system says. The caller owns the descriptor.
 */
int pool_carve(struct pool *p, const char *name, uint64_t size, bool create,
	       int *ret_fd);
int pool_unlink(struct pool *p, const char *name);

/*
 * Takes `bytes` into the account before they are stored, so that a store never
 * meets a full tmpfs (that would be a SIGBUS). -ENOSPC: over the limit, or the host
 * is below its reserve. Any thread, lock-free, does not allocate.
 */
int pool_charge(struct pool *p, uint64_t bytes);
void pool_uncharge(struct pool *p, uint64_t bytes);

/* Takes what is already stored (found at start) into the account, limit or not. */
void pool_charge_found(struct pool *p, uint64_t bytes);

uint64_t pool_used(const struct pool *p);
uint64_t pool_limit(const struct pool *p);
uint64_t pool_reserve(const struct pool *p);

/*
 * From now on another process (tgtd) stores in the pool's files past the account, so the
 * tmpfs itself has to keep the limits: its size that of the pool, and pool_watch_host
 * stops its growth while the host is below its reserve. -EINVAL (logged with its
 * remedy): the tmpfs is larger than the pool's limit and not ours to size. Main thread.
 */
int pool_share(struct pool *p);

/*
 * Looks at the host's free memory; call about once a second from the main thread.
 * Below the reserve, pool_charge refuses until it is above again; both changes are
 * logged.
 */
void pool_watch_host(struct pool *p);

/* True while lending is stopped because the host itself is short of memory. */
bool pool_is_short(const struct pool *p);

#endif
