/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * This host's NVMe name and identifier: /etc/nvme/hostnqn and hostid, as nvme-cli
 * keeps them, else a pair that is made once and remembered in /var/lib/memswap. A
 * server's access list may name it, so it must not change. Main thread.
 */
#ifndef CLIENT_HOSTNQN_H
#define CLIENT_HOSTNQN_H

#define HOSTNQN_MAX 223

struct hostnqn {
	char nqn[HOSTNQN_MAX + 1];
	char id[37];
};

/* 0, or -errno after having said why there is none. */
int hostnqn_get(struct hostnqn *ret);

#endif
