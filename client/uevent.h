/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Waiting for a device to appear: the kernel's uevents as a reason to look again.
 * Open before the act that makes the device, so that no event is missed. Main thread.
 */
#ifndef CLIENT_UEVENT_H
#define CLIENT_UEVENT_H

#include <stdint.h>

/* fd or -errno. */
int uevent_open(void);

/*
 * Calls `look` at once and after every uevent until it returns non-zero, which is then
 * returned; -ETIMEDOUT after timeout_ms, -EINTR by a signal.
 */
int uevent_wait(int fd, int timeout_ms, int (*look)(void *arg), void *arg);

#endif
