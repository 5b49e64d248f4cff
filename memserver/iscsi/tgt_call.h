/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One request to a running tgtd over its management socket: what tgtadm does, without
 * the process. A CHAP secret given to tgtadm would stand on a command line that every
 * user can read; here it passes between two processes only.
 *
 * The format is that of tgt 1.0.85 (seen with strace, and in its usr/tgtadm.h): a
 * header of 120 bytes in the host's byte order, then a text. One request a connection.
 */
#ifndef MEMSERVER_ISCSI_TGT_CALL_H
#define MEMSERVER_ISCSI_TGT_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tgt_mode {
	TGT_SYSTEM = 0,
	TGT_TARGET = 1,
	TGT_UNIT = 2,
	TGT_CONNECTION = 6,
	TGT_ACCOUNT = 7
};
enum tgt_op {
	TGT_NEW = 0,
	TGT_DELETE = 1,
	TGT_SHOW = 2,
	TGT_BIND = 3,
	TGT_UNBIND = 4,
	TGT_UPDATE = 5,
	TGT_STAT = 6
};

#define TGT_TEXT_MAX 900 /* tgtd reads into 1024 bytes */

struct tgt_request {
	enum tgt_mode mode;
	enum tgt_op op;
	int32_t tid;      /* -1: none */
	uint64_t sid;     /* of a connection */
	uint64_t lun;     /* UINT64_MAX: none */
	uint32_t cid;     /* of a connection */
	bool outgoing;    /* an account that proves the target to the initiator */
	bool force;       /* of a delete */
	const char *text; /* NULL: none; else at most TGT_TEXT_MAX bytes */
};

/* A request with nothing but what every one has. */
#define TGT_REQUEST(MODE, OP, TID)                                          \
	{                                                                   \
		.mode = (MODE), .op = (OP), .tid = (TID), .lun = UINT64_MAX \
	}

/*
 * Any thread; blocks `timeout_ms` at most for each of send and receive. 0; or
 * -ECONNREFUSED nobody listens, -ETIMEDOUT no answer, -EPROTO an answer that is none,
 * -ENODEV no such target, -EBUSY a target with sessions, -EINPROGRESS a logical unit
 * with commands under way, -EEXIST, -EREMOTEIO any other refusal of tgtd's. `*ret_text`
 * (may be NULL) is what it shows, terminated, to be freed; written on success only.
 */
int tgt_call(const char *socket_path, const struct tgt_request *req, int timeout_ms,
	     char **ret_text);

#endif
