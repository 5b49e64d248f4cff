/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sizes as people write them: "4G", "512M", "64KiB", "4096". Binary units only;
 * a bare number is bytes. Pure functions, any thread.
 */
#ifndef LIB_SIZE_H
#define LIB_SIZE_H

#include <stddef.h>
#include <stdint.h>

/* Reads the whole of `text`. -EINVAL: not a size; -ERANGE: above 2^63 - 1. */
int size_parse(const char *text, uint64_t *ret_bytes);

/* Writes "4.0G", "512M" or "17B"; always terminated. Returns `buf`. */
const char *size_format(uint64_t bytes, char *buf, size_t len_bytes);

#define SIZE_FORMAT_MAX 16

#endif
