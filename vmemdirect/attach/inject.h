/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One system call, made by a thread of another process, which notices nothing: it is
 * stopped for about 0.1 ms and then goes on where it was, a system call it slept in
 * included (restarted by the kernel's own rules).
 */
#ifndef VMEMDIRECT_ATTACH_INJECT_H
#define VMEMDIRECT_ATTACH_INJECT_H

#include <stdint.h>
#include <sys/types.h>

/*
 * Tries the threads of `pid` in turn, the main thread first, until one could be
 * stopped. *ret_value is what the call returned: a value or -errno.
 * -EPERM: ptrace is not allowed; -EBUSY: another tracer; -ETIME: no thread would
 * stop; -ESRCH: the process is gone. Blocks for up to two seconds a thread; the
 * caller has no other children it waits for in this thread.
 */
int inject_syscall(pid_t pid, long nr, const uint64_t args[6], int64_t *ret_value);

#endif
