/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the serving process may still ask of the kernel: system calls of a list (seccomp, by
 * libseccomp), files below some folders (Landlock, Linux 5.13). For good, for this thread and
 * those it starts. Main thread, before any other is started, with no new privileges.
 */
#ifndef MEMSERVER_CONFINE_H
#define MEMSERVER_CONFINE_H

#include <stdbool.h>
#include <stddef.h>

enum confine_access {
	CONFINE_READ,   /* files and folders */
	CONFINE_WRITE,  /* and write, make and remove plain files and sockets */
	CONFINE_DEVICE, /* read and write what is there */
};

struct confine_folder {
	const char *
		path; /* a file counts as its folder; one that is not there is left out */
	enum confine_access access;
};

/*
 * Landlock: only these folders can be opened. What is open stays so. The ABI's number (> 0);
 * 0: not in this kernel; -errno.
 */
int confine_files(const struct confine_folder *folders, size_t nr);

/*
 * `connects`: tgtd is given orders, over a unix socket; without it there is no connect(2). (It
 * could turn a peer's connection into one to somebody else, by way of AF_UNSPEC, and a
 * filter can't see the address.)
 *
 * Seccomp: no process (threads only), no exec, no tracing, no mount, no socket but unix ones, no
 * code that was not there before. A call that is not on the list fails with EPERM and is told
 * once on standard error: guests' swap waits for us, so a libc that does something new must not
 * end us. The kernel's log has it, too. 0; -EOPNOTSUPP: not with a sanitizer, which needs many
 * more; -errno.
 */
int confine_calls(bool connects);

#endif
