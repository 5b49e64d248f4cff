/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who an export is, kept beside its bytes: NAME.json next to NAME.mem on the same
 * tmpfs, so both survive a crash of memserver and neither survives the host. Main
 * thread; allocates.
 */
#ifndef MEMSERVER_IDENTITY_H
#define MEMSERVER_IDENTITY_H

#include "memserver/export.h"

struct pool;

struct identity {
	struct export_id id;
	uint64_t size_bytes, quota_bytes;
	struct caps_cfg caps; /* absent in files of before 0.2: none */
	bool needs_tls;
};

/* A name that is safe as a file, in an NQN and in an NBD URI. */
bool identity_name_ok(const char *name);

/* New random UUID and all that follows from it. -EIO: no randomness. */
int identity_make(struct export_id *ret);

/* Stores whole or not at all (rename). */
int identity_store(struct pool *p, const char *name, const struct identity *i);

/* -ENOENT; -EBADMSG: not ours or damaged, or it names another size than allowed. */
int identity_load(struct pool *p, const char *name, struct identity *ret);

int identity_unlink(struct pool *p, const char *name);

#endif
