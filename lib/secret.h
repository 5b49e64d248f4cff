/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading files that hold keys: only plain files of root's or ours that nobody else can
 * read or write. What was read is wiped before it is freed. Any thread; not on the
 * serving path.
 */
#ifndef LIB_SECRET_H
#define LIB_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#define SECRET_MAX       (1u << 20) /* bytes of such a file */
#define SECRET_ERROR_MAX 320

/*
 * All of `path`, terminated by a NUL that *ret_len does not count; give it to
 * secret_free. `is_public` files (certificates, lists of names) may be read by anybody
 * but written by root and us only. On failure `error` (SECRET_ERROR_MAX bytes) says what
 * and the remedy, never with a byte of the file. -EPERM: others could read or write it.
 */
int secret_read(const char *path, bool is_public, char **ret_text, size_t *ret_len,
		char *error);
/*
 * From now on `fn` opens such files: a descriptor, or -errno. For a process without the
 * rights that had somebody with them do it. Before there are threads; NULL: open(2) again.
 */
void secret_open_by(int (*fn)(void *arg, const char *path), void *arg);

/* As open(2), to read, by whoever does it. */
int secret_open(const char *path);

void secret_free(char *text, size_t len); /* NULL is fine */

#endif
