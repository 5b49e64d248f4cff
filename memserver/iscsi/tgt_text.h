/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What tgtd shows as text, taken apart. Initiators choose their own names, so the text
 * is hostile: a line out of its place makes the whole answer -EPROTO. Pure functions.
 */
#ifndef MEMSERVER_ISCSI_TGT_TEXT_H
#define MEMSERVER_ISCSI_TGT_TEXT_H

#include <stddef.h>
#include <stdint.h>

#define TGT_NAME_MAX 223 /* RFC 7143, 4.2.7.2: an iSCSI name, without the NUL */

struct tgt_session {
	uint32_t sid, cid;
	char initiator[TGT_NAME_MAX + 1]; /* printable ASCII */
	char address[64];                 /* "10.0.2.15", without a port */
};

/*
 * The answer to "show connections" of one target. Up to `max` into `ret`; returns how
 * many there are, or -EPROTO.
 */
int tgt_text_sessions(const char *text, struct tgt_session *ret, size_t max);

struct tgt_counters {
	uint64_t read_bytes, read_ops, write_bytes, write_ops, errors;
};

/* The answer to "stat" of one target: what session `sid` did on LUN `lun`. -ENOENT: it
 * isn't in there; -EPROTO. */
int tgt_text_counters(const char *text, uint64_t lun, uint32_t sid,
		      struct tgt_counters *ret);

/* "1.0.85" and what may follow, as 1000085; 0: not a version. */
unsigned int tgt_text_version(const char *text);

#endif
