/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much the kernel may have under way to a disk of ours. Swap-out fills whatever it is
 * given, and pages under writeback cannot be reclaimed: when they are all that a small
 * guest or cgroup has and the server stalls, the OOM killer is called instead of a wait.
 * (Linux 6.1, requests of up to a MiB: 12.4 of a cgroup's 12.5 MB under writeback, killed
 * when the server froze for 4 s; of up to 128 KiB: 0.9 MB by NVMe, at most 5.9 by NBD.)
 * Where it cannot get a request, reclaim waits. Main thread.
 */
#ifndef CLIENT_REQUEST_QUEUE_H
#define CLIENT_REQUEST_QUEUE_H

/* Queues of a disk, unless the user wishes otherwise: one a CPU, no more than this. The
 * kernel's default, one for each of 64 CPUs, would have 256 MiB under way. */
#define REQUEST_QUEUES_MAX 4u

/* Requests of each of a disk's queues. A guest's swap is as fast as with the kernel's
 * 128, also random reads and writes. */
#define REQUEST_QUEUE_SIZE 32u

/* The longest request, as memserver has it for NVMe (MDTS). An emulated guest's random
 * writes cost 13 % more than with 1 MiB, its random reads 3 %. */
#define REQUEST_QUEUE_KB 128u

/* How many queues a host with so many CPUs (< 1: unknown) is given. Pure. */
unsigned int request_queues(long cpus);

/*
 * No request to the disk, a folder in sysfs, is longer than REQUEST_QUEUE_KB from now on.
 * The kernel forgets it with the disk; before 6.3 also when an NVMe controller connects
 * again, where memserver's own limit (MDTS) is the same. A failure is a warning.
 */
void request_queue_bound(const char *disk);

/* `n` requests of each queue, for drivers that are not told when they connect. A failure
 * is a warning. */
void request_queue_resize(const char *disk, unsigned int n);

#endif
