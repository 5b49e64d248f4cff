/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file a control socket lives at: made with the right mode from its first moment,
 * replaced when its server is dead, left alone when it lives. PATH.lock, held as long
 * as the server runs, decides between two that start at once. Any one thread.
 */
#ifndef LIB_CTL_SOCKET_H
#define LIB_CTL_SOCKET_H

#include <sys/un.h>

struct ctl_socket {
	int fd;                  /* owned, listening, non-blocking; -1: closed */
	int lock_fd;             /* owned; -1: not held */
	struct sockaddr_un addr; /* where; sun_path is absolute or as given */
};

void ctl_socket_init(struct ctl_socket *s);

/* As ctl_server_open; on failure nothing is left behind but the folder. */
int ctl_socket_listen(struct ctl_socket *s, const char *path);

/* Removes socket and lock file if they are ours. */
void ctl_socket_fini(struct ctl_socket *s);

#endif
