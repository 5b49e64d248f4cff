/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sockets of the bench programs: "HOST:PORT" or "unix:PATH", blocking. What goes
 * wrong is said on standard error, once, here. Any thread.
 */
#ifndef BENCH_LIB_NET_H
#define BENCH_LIB_NET_H

#include <stddef.h>

/* Connects, TCP without Nagle. -errno; -EINVAL when `where` is not an address. */
int net_connect(const char *where, _Bool quiet, int *ret_fd);
int net_listen(const char *where, int *ret_fd);

/* The whole of `len_bytes`, or -errno; -ECONNRESET when the peer ended. */
int net_read(int fd, void *buf, size_t len_bytes);
int net_write(int fd, const void *buf, size_t len_bytes);

/* Reads and drops. */
int net_skip(int fd, size_t len_bytes);

void net_nodelay(int fd);

#endif
