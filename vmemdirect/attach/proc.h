/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What /proc says of another process. Parsing is pure line by line; nothing here
 * changes the process. -ESRCH: it is gone; -EACCES or -EPERM: not allowed to look.
 */
#ifndef VMEMDIRECT_ATTACH_PROC_H
#define VMEMDIRECT_ATTACH_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PROC_PATH_MAX 256

/* One line of /proc/PID/maps. */
struct proc_map {
	uint64_t start, end; /* bytes, end excluded */
	uint64_t offset;     /* in the file */
	uint64_t dev, ino;   /* dev as makedev(3) */
	bool shared, writable;
	char path[PROC_PATH_MAX]; /* "" for anonymous memory */
};

/* One line in. False: not a line of maps. */
bool proc_parse_map(const char *line, struct proc_map *ret);

/* Calls `fn` for every mapping, in address order, until it returns non-zero; returns
 * that, or 0, or -errno. */
int proc_each_map(pid_t pid, int (*fn)(const struct proc_map *m, void *arg), void *arg);

/* The first mapping with this path. -ENOENT. */
int proc_map_named(pid_t pid, const char *path, struct proc_map *ret);

/* Is the mapping that begins there registered with a userfaultfd? 1, 0, or -errno. The kernel
 * walks all of the process's memory for the answer. */
int proc_is_watched(pid_t pid, uint64_t start);

/* Start of the process, clock ticks since boot: pid and this name it for ever. */
int proc_start_time(pid_t pid, uint64_t *ret_ticks);

/* Who traces it; 0: nobody (or not known). */
pid_t proc_tracer(pid_t pid);

/* Base name of its program, as the kernel keeps it (at most 15 characters). */
int proc_comm(pid_t pid, char *ret, size_t len_bytes);

/* One of its descriptors. */
struct proc_fd {
	int fd;
	bool o_direct;
	uint64_t dev, ino;
	char path[PROC_PATH_MAX]; /* what the link says: "/dev/vfio/1", "/memfd:x" */
};

/* As proc_each_map, for descriptors, in no order. */
int proc_each_fd(pid_t pid, int (*fn)(const struct proc_fd *f, void *arg), void *arg);

/* A number from a file of one line (sysfs, cgroup); "max" is UINT64_MAX. */
int proc_read_u64(const char *path, uint64_t *ret);

/* The first line of a file, without its newline. */
int proc_read_line(const char *path, char *ret, size_t len_bytes);

#endif
