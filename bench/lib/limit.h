/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `load --proto limit` and `limit` agree on: the client says once how large
 * requests and replies are, then each request gets its reply, in order. Native byte
 * order: both ends are the same machine.
 */
#ifndef BENCH_LIB_LIMIT_H
#define BENCH_LIB_LIMIT_H

#include <stdint.h>

#define LIMIT_MAGIC         0x74696d694c656d72u
#define LIMIT_REQUEST_BYTES 28 /* as NBD's */
#define LIMIT_REPLY_BYTES   16
#define LIMIT_MAX_BYTES     (8u << 20)

struct limit_hello {
	uint64_t magic;
	uint32_t request_bytes, reply_bytes;
};
_Static_assert(sizeof(struct limit_hello) == 16, "both ends agree");

#endif
