/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the load client's NVMe/TCP share: nvme.c and nvme_login.c. */
#ifndef BENCH_LIB_NVME_H
#define BENCH_LIB_NVME_H

#include <stdint.h>

#define NVME_BENCH_HOST "nqn.2026-11.io.remem:bench"

struct target;

/*
 * A command (64 bytes) with data to send (`out`, in the capsule) or to receive (`in`);
 * blocks until it is answered. -EREMOTEIO: the status is not 0.
 */
int nvme_command(int fd, const void *cmd, const void *out, uint32_t out_len, void *in,
		 uint32_t in_len, uint32_t *ret_dw0);

/*
 * DH-HMAC-CHAP on a queue whose Connect asked for it, one-way, SHA-256 and the null
 * group: the least that proves who we are. -ENOKEY: there is no secret; -EACCES: it is
 * refused, after saying why.
 */
int nvme_login(int fd, const struct target *t);

#endif
