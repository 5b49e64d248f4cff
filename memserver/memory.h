/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process's own memory: locked where a request may touch it, given back where only
 * starting did. Swap-out on a guest waits for us, so we may never wait for memory.
 * Main thread.
 */
#ifndef MEMSERVER_MEMORY_H
#define MEMSERVER_MEMORY_H

#include <stdbool.h>

/*
 * Locks all that is mapped now and later, as it is touched (the pool's pages too, not
 * before). What cannot be is logged with its remedy; `noswap`: the pool never swaps anyway.
 * True: locked.
 */
bool memory_lock(bool noswap);

/* Has the kernel treat us as part of the I/O path in reclaim (Linux 5.6; SYS_RESOURCE): this
 * thread and those it starts later. */
void memory_flusher(void);

/*
 * Starting is over: code and constants of libraries that no request runs through are
 * unlocked and unmapped until they are called again (they are the file's, so nothing is
 * lost; the caller may then wait for the disk, as the main thread and that of the
 * metrics may). The program's own, libc's and, with `tls`, OpenSSL's stay. Any failure
 * only leaves more memory in use.
 */
void memory_trim(bool tls);

/* Is the library of that path one that requests run through? For tests. */
bool memory_serves(const char *path, bool tls);

#endif
