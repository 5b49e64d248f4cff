/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The page that a keeper shows to `memswap status`, and what else a process needs
 * that must work while memory is short. One writer, the keeper; readers map nothing,
 * they read the file.
 */
#ifndef CLIENT_KEEPER_PAGE_H
#define CLIENT_KEEPER_PAGE_H

#include <stdint.h>

#include "client/keeper.h"

#define KEEPER_PAGE_MAGIC UINT64_C(0x31504545504b534d)

struct keeper_page {
	uint64_t magic;
	int64_t pid;
	uint64_t start; /* field 22 of /proc/PID/stat: tells a reused pid */
	_Atomic uint32_t state, live, connections;
	_Atomic int32_t last_error;
	_Atomic uint64_t reconnects;
	_Atomic int64_t since_s;
};

/* Makes the file and maps it. 0 or -errno. In the keeper's process. */
int keeper_page_create(const char *path, unsigned int connections,
		       struct keeper_page **ret);

/* -ENOENT no file, -EIO not a page. */
int keeper_page_read(const char *path, struct keeper_page *ret);

void keeper_page_state(struct keeper_page *p, enum keeper_state s);

/* The start time of a process, or 0. */
uint64_t keeper_page_start_time(pid_t pid);

/*
 * Locks all memory, present and future, takes the process out of the OOM killer's
 * reach and out of its cgroup's limits, and lets it use the kernel's reserves.
 * 0, or -errno of what can't be done without.
 */
int keeper_page_lock_memory(void);

/* A line in the kernel's log, which needs no memory; `level` is syslog's. */
void keeper_page_log(int level, uint32_t index, const char *text);

#endif
