/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What memserver needs rights for once it serves is done by a small process of its own, forked
 * before anything is taken, that keeps the rights memserver was started with (of root's
 * capabilities a few) and never sees a byte of a peer. The two share a socketpair; one
 * request, one answer, each a packet of fixed size:
 *
 *	request { u32 op, index; u64 bytes }   with 0 to 2 descriptors
 *	answer  { s32 result, pid }            with 0 or 1
 *
 *	HELPER_LOGIN     2 descriptors: "memserver --pam-login" gets them as 0 and 1; it is
 *	                 killed after LOGIN_SECONDS. At most HELPER_LOGINS at a time (-EAGAIN).
 *	HELPER_TGTD      1 descriptor, for what it says: runs tgtd as memserver's user, a child
 *	                 of memserver's (that waits for it), with words fixed at the start.
 *	HELPER_OPEN      index: opens that file of the configuration, to read (the audit log:
 *	                 to append). The answer has the descriptor.
 *	HELPER_POOL_SIZE bytes: sets the size of the pool's tmpfs, and nothing else of it.
 *	HELPER_END       removes the socket files of the configuration and ends.
 *
 * Names and words come from the configuration, which the helper has had since before the first
 * peer came: a memserver that somebody has taken over chooses among them and no others. Any
 * other packet is answered with -EPROTO. The helper ends with the socket, so with memserver;
 * when it dies memserver serves on, without what is above, and says so.
 *
 * All calls: main thread, wait for the answer (microseconds; 5 s at most, then the helper
 * counts as dead): -EPIPE no helper any more, -errno what the operation came to.
 */
#ifndef MEMSERVER_HELPER_H
#define MEMSERVER_HELPER_H

#include <stdint.h>
#include <sys/types.h>

#include "memserver/config.h"
#include "memserver/drop.h"

struct helper;

#define HELPER_LOGINS 16
#define HELPER_FILES  10

/* Forks it: no other thread may run yet. `cfg` and `drop` are borrowed for ever. */
int helper_start(const struct server_cfg *cfg, const struct drop *drop,
		 struct helper **ret);

/* HELPER_END; NULL is fine. */
void helper_stop(struct helper *h);

/* `in` and `out` stay the caller's. */
int helper_login(struct helper *h, int in, int out);

/* `output` stays the caller's; the process is a child of ours. */
int helper_tgtd(struct helper *h, int output, pid_t *ret_pid);

/* -ENOENT: no file of the configuration's. */
int helper_open(struct helper *h, const char *path, int *ret_fd);

int helper_pool_size(struct helper *h, uint64_t bytes);

#endif
