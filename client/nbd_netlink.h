/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's nbd driver by generic netlink (Linux include/uapi/linux/nbd-netlink.h;
 * drivers/block/nbd.c). Messages are built in fixed buffers: the keeper sends them
 * while the machine is out of memory. Needs CAP_SYS_ADMIN. Any thread, one at a time
 * per struct.
 */
#ifndef CLIENT_NBD_NETLINK_H
#define CLIENT_NBD_NETLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NBD_NETLINK_SOCKETS_MAX 16

struct nbd_netlink {
	int fd;          /* owned; -1: closed */
	uint16_t family; /* of "nbd" */
	uint32_t group;  /* where the kernel announces dead links */
	uint32_t seq;
};

struct nbd_netlink_device {
	uint64_t size_bytes;
	uint32_t block_bytes;
	uint64_t server_flags; /* NBD_FLAG_* of the export */
	/*
	 * A request without an answer for so long declares its connection dead and is
	 * sent again on another; so are those that were under way when a connection
	 * died: the driver looks at them only when their time is up. 0: never.
	 */
	uint64_t timeout_s;
	/* How long I/O waits for a new socket when all are dead; 0: it fails. */
	uint64_t dead_timeout_s;
	const char *backend; /* shown in sysfs, and asked for by reconfigure */
	const int *fds;      /* borrowed: the kernel takes references */
	size_t nr_fds;
};

/* Wait for ever, in the driver's terms: 10 years; it multiplies by HZ. */
#define NBD_NETLINK_FOREVER_S (UINT64_C(10) * 365 * 86400)

/* -ENOENT: the driver isn't loaded. */
int nbd_netlink_open(struct nbd_netlink *ret);
void nbd_netlink_close(struct nbd_netlink *nl);

/* Makes a device out of connected sockets. 0 and the N of /dev/nbdN, or -errno. */
int nbd_netlink_connect(struct nbd_netlink *nl, const struct nbd_netlink_device *d,
			uint32_t *ret_index);

/*
 * Hands one socket to the device, in the place of a dead one. The kernel says 0 also
 * when it found none dead and dropped it: see nbd_netlink_was_taken.
 */
int nbd_netlink_replace(struct nbd_netlink *nl, uint32_t index, const char *backend,
			int fd);

/*
 * True when the kernel has made `fd` a socket of a device with this (non-zero)
 * timeout: it sets the socket's send timeout to it. Before handing it over,
 * nbd_netlink_mark_untaken must have been called.
 */
bool nbd_netlink_was_taken(int fd, uint64_t timeout_s);
void nbd_netlink_mark_untaken(int fd);

int nbd_netlink_set_timeout(struct nbd_netlink *nl, uint32_t index, const char *backend,
			    uint64_t seconds);
int nbd_netlink_set_dead_timeout(struct nbd_netlink *nl, uint32_t index,
				 const char *backend, uint64_t seconds);

/* I/O that is under way, waits, or comes later fails. */
int nbd_netlink_disconnect(struct nbd_netlink *nl, uint32_t index);

/* A non-blocking socket on which the kernel says that a link is dead. fd or -errno. */
int nbd_netlink_listen(const struct nbd_netlink *nl);

/* Takes all announcements off it; 1 if one was for `index` or some were lost, else 0. */
int nbd_netlink_heard(int fd, uint32_t index);

#endif
