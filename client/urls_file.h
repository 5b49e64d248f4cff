/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * /etc/memswap.urls: what `memswap on --all` attaches, one device a line, as it would
 * be typed after "memswap on": a URL and options. "#" begins a comment. No quoting: a
 * blank in an export's name is %20. Pure, but for the reading.
 */
#ifndef CLIENT_URLS_FILE_H
#define CLIENT_URLS_FILE_H

#include <stddef.h>

#define URLS_FILE          "/etc/memswap.urls"
#define URLS_FILE_WORDS    32
#define URLS_FILE_LINE_MAX 2048

/*
 * Cuts `line` into words, in place, after "on" as argv[0]; argv[argc] is NULL.
 * Returns argc: 1 for a line that says nothing; -E2BIG.
 */
int urls_file_words(char *line, char *argv[URLS_FILE_WORDS + 1]);

/*
 * Calls `fn` for every line that says something, with its number. Returns the number
 * of lines for which it returned non-zero, or -errno if the file can't be read.
 */
int urls_file_each(const char *path,
		   int (*fn)(int argc, char **argv, unsigned int line));

#endif
