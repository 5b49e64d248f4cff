/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Aligned tables and readable numbers for memctl. One thread; running out of memory
 * ends the program.
 */
#ifndef CLIENT_MEMCTL_TABLE_H
#define CLIENT_MEMCTL_TABLE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct memctl_table;

/*
 * `columns` names them, separated by blanks; a name that begins with '>' is a column
 * of numbers, set to the right.
 */
struct memctl_table *memctl_table_new(const char *columns);

/* The next cell, row by row; copied. What a terminal would obey is replaced by '?'. */
void memctl_table_cell(struct memctl_table *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Cells by kind: a count, bytes as 4G, nanoseconds as 12us, seconds as 3d4h. */
void memctl_table_count(struct memctl_table *t, uint64_t n);
void memctl_table_bytes(struct memctl_table *t, uint64_t bytes);
void memctl_table_ns(struct memctl_table *t, uint64_t ns);
void memctl_table_seconds(struct memctl_table *t, uint64_t seconds);

/* Prints and frees. */
void memctl_table_end(struct memctl_table *t, FILE *to);

/* "850ns", "12us", "1.2ms", "3.4s"; always terminated. Returns `buf`. */
const char *memctl_format_ns(uint64_t ns, char *buf, size_t len);

/* "45s", "12m05s", "3h12m", "9d4h". */
const char *memctl_format_seconds(uint64_t seconds, char *buf, size_t len);

#define MEMCTL_FORMAT_MAX 32

#endif
