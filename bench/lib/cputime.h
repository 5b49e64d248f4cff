/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CPU time a server has used: all its threads, those that ended, and its children
 * (nbd-server forks one per connection). Any thread.
 */
#ifndef BENCH_LIB_CPUTIME_H
#define BENCH_LIB_CPUTIME_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CPUTIME_MAX 256

/* The processes of one server. */
struct cputime {
	pid_t pid[CPUTIME_MAX];
	size_t nr;
};

/* Finds `pid` and its living descendants; takes a millisecond. -ESRCH: no `pid`. */
int cputime_find(pid_t pid, struct cputime *ret);

/*
 * What they have used, user and system, in ns. Reads the processes' CPU clocks, which
 * count a thread that is running now up to now; the figures in /proc are up to a tick
 * old. Microseconds.
 */
uint64_t cputime_read(const struct cputime *c);

/* How long CPU `cpu` has been busy with anything, in ns since some moment; known to
 * a tick (10 ms). 0 when /proc does not say. */
uint64_t cputime_busy(int cpu);

/* How long they have waited for a CPU that others, or they themselves, were using,
 * in ns, all living threads together. */
uint64_t cputime_waited(const struct cputime *c);

#endif
