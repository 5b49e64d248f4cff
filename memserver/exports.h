/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The register of exports: names to exports, and how they come to be, change and
 * go. Its lock guards the list only; data paths hold a reference and never come
 * here. All calls from any thread unless said otherwise.
 */
#ifndef MEMSERVER_EXPORTS_H
#define MEMSERVER_EXPORTS_H

#include "memserver/export.h"

struct exports;

/* Adopts every export found in the pool (after a crash or an upgrade). Main thread. */
int exports_open(struct pool *pool, struct exports **ret);
void exports_close(struct exports *x); /* files stay */

/*
 * -EINVAL the name or size is not allowed, -EEXIST, -ENOSPC, -EIO. Logged by the
 * caller, who knows who asked; *ret_why (static text, may be NULL) says what.
 */
int exports_create(struct exports *x, const struct export_cfg *cfg,
		   const char **ret_why);

/*
 * Grows, or shrinks when nobody is attached. -ENOENT, -EBUSY, -EINVAL, -ENOSPC.
 * `quota_bytes` 0 follows the size.
 */
int exports_resize(struct exports *x, const char *name, uint64_t size_bytes,
		   uint64_t quota_bytes, const char **ret_why);

/* What its clients may do together from now on (caps_check has been asked). -ENOENT. */
int exports_limit(struct exports *x, const char *name, const struct caps_cfg *caps);
/* From now on it may (not) be opened in the clear; who has opened it stays. -ENOENT, or
 * what storing that says. */
int exports_set_tls(struct exports *x, const char *name, bool needs_tls);

/* Unlists it and unlinks its files; attached clients must be gone or -EBUSY;
 * `force`: they get errors from now on (attach fails; the caller kicks them). */
int exports_drop(struct exports *x, const char *name, bool force);

/*
 * A new reference, or NULL. `name` is NAME or NAME@GENERATION, not terminated; a
 * generation that is not the present one finds nothing.
 */
struct export *exports_find(struct exports *x, const char *name, size_t len);

/*
 * Calls `fn` for each under the register's lock, in order of name; stops at the
 * first non-zero value and returns it. `fn` must not call back into exports_*.
 */
int exports_each(struct exports *x, int (*fn)(struct export *e, void *arg), void *arg);

/* Goes up with every create, resize and drop (NVMe discovery's GENCTR). */
uint64_t exports_generation(const struct exports *x);

#endif
