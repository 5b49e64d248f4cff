/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state folder: /run/memswap/KEY.json for every attachment, KEY.keeper beside it
 * (client/keeper.h), KEY.lock while somebody changes it.
 *
 * The folder is a ramfs of its own, mounted when it is first needed: /run is a tmpfs,
 * and a tmpfs is swapped out, here onto the very device whose state it would hold.
 * ramfs never is. Files are replaced by rename, so a reader sees the old or the new.
 *
 * Main thread.
 */
#ifndef CLIENT_STATE_H
#define CLIENT_STATE_H

#include <stddef.h>

#include "client/attachment.h"

#define STATE_KEY_MAX 127

/* For tests: another folder, and no mount. Before anything else; borrowed for ever. */
void state_use_folder(const char *path);

/* Makes and mounts the folder. 0, or -errno after having said why. */
int state_open_folder(void);

/* The file name of the address, without suffix; `key` holds STATE_KEY_MAX + 1. */
char *state_key(const struct url *u, char *key);

/* "FOLDER/KEY.SUFFIX" into buf; returns buf. */
char *state_path(const struct url *u, const char *suffix, char *buf, size_t len);

/* "FOLDER/NAME" into buf, for what belongs to no single attachment; returns buf. */
char *state_file(const char *name, char *buf, size_t len);

/* 0, -ENOENT, -EIO: not the file that state_save wrote, or -errno. */
int state_load(const struct url *u, struct attachment *ret);
int state_save(const struct attachment *a);

/* Removes every file of it. */
void state_remove(const struct url *u);

/*
 * All there are, in order of their keys, at most `max`. Returns the number; a file
 * that can't be read is said and left out. 0 when there is no folder.
 */
size_t state_list(struct attachment *ret, size_t max);

/*
 * One writer an attachment. Returns a descriptor to close, -EBUSY (somebody else has
 * it and `wait` is false) or -errno.
 */
int state_lock(const struct url *u, bool wait);

#endif
