/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Small files: what /proc and /sys consist of. No allocation, any thread.
 */
#ifndef CLIENT_FILE_H
#define CLIENT_FILE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Reads at most len - 1 bytes, terminates them and drops one trailing newline.
 * Returns the length or -errno.
 */
int file_read(char *buf, size_t len, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The file holds one decimal number. -EINVAL: it doesn't. */
int file_read_number(uint64_t *ret, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Writes `text` in one write(2) to an existing file. 0 or -errno. */
int file_write(const char *path, const char *text);

/* Makes the file, or empties it, and writes all of `text`. 0 or -errno. */
int file_create(const char *path, const char *text);

#endif
