/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The helper's protocol, for its two ends (helper.h tells what it means) and for tests. */
#ifndef MEMSERVER_HELPER_PRIV_H
#define MEMSERVER_HELPER_PRIV_H

#include "memserver/helper.h"
#include "memserver/iscsi/tgtd.h"

enum helper_op {
	HELPER_LOGIN = 1,
	HELPER_TGTD,
	HELPER_OPEN,
	HELPER_POOL_SIZE,
	HELPER_END,
};

struct helper_request {
	uint32_t op, index;
	uint64_t bytes;
};

struct helper_answer {
	int32_t result, pid;
};

/* What the configuration names. Strings are borrowed from it but for those marked. */
struct helper_words {
	const char *files[HELPER_FILES];
	size_t nr_files;
	int audit;              /* index in files; -1: none */
	char *pool;             /* owned */
	struct tgtd_words tgtd; /* owned */
	bool has_tgtd;
	const struct server_cfg *cfg;
	const struct drop *drop;
};

#define HELPER_FDS 2 /* descriptors of a packet, at most */

/* One packet with `nr` descriptors. 0 or -errno. */
int helper_send(int sock, const void *data, size_t len, const int *fds, size_t nr);

/* One packet of exactly `len` bytes; descriptors are the caller's from then on, -1 where
 * there is none. 1; 0: the other end is gone; -EPROTO: another length; -errno. */
int helper_receive(int sock, void *data, size_t len, int fds[HELPER_FDS]);

/* The helper's life; returns when the other end of `sock` is gone or says so. */
void helper_serve(int sock, const struct helper_words *w);

#endif
