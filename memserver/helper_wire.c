/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packets with descriptors in and out, for both ends of the helper's socket. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "memserver/helper_priv.h"

int helper_send(int sock, const void *data, size_t len, const int *fds, size_t nr)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(HELPER_FDS * sizeof(int))] =
		"";
	struct iovec v = { (void *)(uintptr_t)data, len };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (nr) {
		m.msg_control = control;
		m.msg_controllen = CMSG_SPACE(nr * sizeof(int));
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nr * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nr * sizeof(int));
	}
	return sendmsg(sock, &m, MSG_NOSIGNAL) == (ssize_t)len ? 0 : -errno;
}

/* The kernel hands over no more than the control buffer holds. */
static void take_fds(struct msghdr *m, int fds[HELPER_FDS])
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
}

int helper_receive(int sock, void *data, size_t len, int fds[HELPER_FDS])
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(HELPER_FDS * sizeof(int))];
	struct iovec v = { data, len };
	struct msghdr m = { .msg_iov = &v,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	ssize_t n;

	for (size_t i = 0; i < HELPER_FDS; i++)
		fds[i] = -1;
	do
		n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -errno : 0;
	take_fds(&m, fds);
	return (size_t)n == len && !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ? 1
									     : -EPROTO;
}
