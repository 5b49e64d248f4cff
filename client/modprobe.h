/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kernel modules, by the kernel's own helper. Main thread. */
#ifndef CLIENT_MODPROBE_H
#define CLIENT_MODPROBE_H

/*
 * Loads `module` with `param` (may be NULL) by the program that the kernel itself
 * would run (/proc/sys/kernel/modprobe). 0 also when it was loaded or is built in;
 * -ENOENT: it failed, which has been said with the remedy.
 */
int modprobe_load(const char *module, const char *param);

#endif
