/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How the register makes, changes and ends an export. For exports.c only. Main
 * thread; the caller serialises them.
 */
#ifndef MEMSERVER_EXPORT_PRIV_H
#define MEMSERVER_EXPORT_PRIV_H

#include "memserver/export.h"

/* Takes over `fd` on success only. One reference. What the file holds is adopted. */
int export_new(struct pool *pool, const struct export_cfg *cfg,
	       const struct export_id *id, int fd, struct export **ret);
void export_free(struct export *e);

/* The bitmap and the charge from what the file holds; both must be empty. */
int export_find_present(struct export *e);

/* Makes the bytes, not yet shown to anybody; may be done again.
 * -EFBIG: beyond the addresses reserved when it was opened (4 times its size). */
int export_grow(struct export *e, uint64_t size);
/* After export_grow: from now on the new bytes are the clients'. */
void export_show_growth(struct export *e, uint64_t size);
/* Nobody may be attached. */
int export_shrink(struct export *e, uint64_t size);
void export_set_tls(struct export *e, bool needs_tls);
void export_set_quota(struct export *e, uint64_t quota); /* 0: none but the size */

/*
 * From now on attach fails. -EBUSY: somebody is attached and it is not by `force`; then
 * nothing has changed. One that is shut is freed on a thread of its own.
 */
int export_shut(struct export *e, bool force);
void export_reopen(struct export *e);

/* Called once when the memory is really gone, from whatever thread freed it. */
void export_on_free(struct export *e, void (*freed)(void *arg), void *arg);

#endif
