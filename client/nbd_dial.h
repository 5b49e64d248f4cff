/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sockets to an NBD server, ready to be handed to the kernel: connect, negotiate,
 * and a look at the first bytes. Allocates nothing, so the keeper calls it while the
 * machine is out of memory; every wait has a deadline and ends early with -EINTR when
 * a signal that `mask` lets through has come. Any thread.
 */
#ifndef CLIENT_NBD_DIAL_H
#define CLIENT_NBD_DIAL_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "client/nbd_handshake.h"

struct nbd_address {
	struct sockaddr_storage addr;
	socklen_t len;
};

/* What is the same for every connection of one device. */
struct nbd_dial {
	struct nbd_address address;
	char name[NBD_HANDSHAKE_NAME_MAX + 1];
	unsigned int
		timeout_ms;   /* for one connection, from connect to the last reply */
	const sigset_t *mask; /* during waits; NULL: unchanged. Borrowed */
};

/*
 * Connects and negotiates NBD_OPT_GO. 0: *ret_fd is a blocking close-on-exec socket in
 * transmission, h->info is filled; what it has not sent when it is closed is dropped.
 * Else -errno of the connection, -ETIMEDOUT, -EINTR, or of the negotiation
 * (nbd_handshake.h); when the server refused, h->refusal says so. `ret_open` (may be NULL) then takes the socket, still in negotiation, or -1.
 */
int nbd_dial_go(const struct nbd_dial *d, struct nbd_handshake *h, int *ret_fd,
		int *ret_open);

/* On a socket left open by a refusal: lists the exports to h->found. 0 or -errno. */
int nbd_dial_list(const struct nbd_dial *d, struct nbd_handshake *h, int fd);

/*
 * In transmission, with nothing else under way: reads `len` bytes at `offset`. -EIO:
 * the server answered with an error.
 */
int nbd_dial_read(const struct nbd_dial *d, int fd, uint64_t offset, void *buf,
		  size_t len);

/*
 * True when the connection was shut down on this side although the peer's host still
 * acknowledged everything: its program is slow, nobody is dead.
 */
bool nbd_dial_ended_here(int fd);

/* Ends a connection for good: nothing unsent will still reach the server. */
void nbd_dial_abort(int fd);

#endif
