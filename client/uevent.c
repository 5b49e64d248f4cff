/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kernel's uevents in, calls of a function that looks at sysfs out. Main thread. */
#include "client/uevent.h"

#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"

int uevent_open(void)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	_cleanup_close_ int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
		       NETLINK_KOBJECT_UEVENT);

	if (fd < 0 || bind(fd, (struct sockaddr *)&kernel, sizeof(kernel)))
		return -errno;
	return take_fd(&fd);
}

int uevent_wait(int fd, int timeout_ms, int (*look)(void *arg), void *arg)
{
	int64_t deadline = clock_ms() + timeout_ms;
	char text[4096];

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int64_t left = deadline - clock_ms();
		int r = look(arg);

		if (r)
			return r;
		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)left) < 0)
			return -errno;
		/* What it says doesn't matter, nor whether some were lost. */
		while (recv(fd, text, sizeof(text), 0) > 0)
			;
	}
}
