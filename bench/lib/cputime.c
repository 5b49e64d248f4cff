// SPDX-License-Identifier: GPL-2.0-or-later
/* A process id in, the CPU time of it and its descendants out. Any thread. */
#include "bench/lib/cputime.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static pid_t parent_of(pid_t pid)
{
	char path[64], line[512], *p;
	int ppid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	/* The name in parentheses may hold anything; what follows the last one is fixed. */
	if (fgets(line, sizeof(line), f) && (p = strrchr(line, ')')))
		sscanf(p + 1, " %*c %d", &ppid);
	fclose(f);
	return ppid;
}

static _Bool in_tree(const pid_t *tree, size_t nr, pid_t pid)
{
	for (size_t i = 0; i < nr; i++)
		if (tree[i] == pid)
			return 1;
	return 0;
}

/* Children have higher ids than their parents but for a wrap-around, hence passes. */
static size_t tree_of(pid_t root, pid_t *tree)
{
	size_t nr = 1, before;
	struct dirent *e;
	DIR *d;

	tree[0] = root;
	do {
		before = nr;
		d = opendir("/proc");
		while (d && nr < CPUTIME_MAX && (e = readdir(d))) {
			pid_t pid = isdigit((unsigned char)e->d_name[0])
					    ? atoi(e->d_name)
					    : 0;

			if (pid && !in_tree(tree, nr, pid) &&
			    in_tree(tree, nr, parent_of(pid)))
				tree[nr++] = pid;
		}
		if (d)
			closedir(d);
	} while (nr != before && nr < CPUTIME_MAX);
	return nr;
}

int cputime_find(pid_t pid, struct cputime *ret)
{
	if (kill(pid, 0) < 0)
		return -errno;
	ret->nr = tree_of(pid, ret->pid);
	return 0;
}

uint64_t cputime_read(const struct cputime *c)
{
	struct timespec ts;
	clockid_t clock;
	uint64_t sum = 0;

	for (size_t i = 0; i < c->nr; i++)
		if (!clock_getcpuclockid(c->pid[i], &clock) &&
		    !clock_gettime(clock, &ts))
			sum += (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	return sum;
}

uint64_t cputime_busy(int cpu)
{
	unsigned long long user, nice, system, idle, wait, irq, softirq, steal;
	uint64_t ticks = 0;
	char line[512];
	FILE *f = fopen("/proc/stat", "re");
	int n;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "cpu%d %llu %llu %llu %llu %llu %llu %llu %llu", &n,
			   &user, &nice, &system, &idle, &wait, &irq, &softirq,
			   &steal) == 9 &&
		    n == cpu)
			ticks = user + nice + system + irq + softirq + steal;
	if (f)
		fclose(f);
	return ticks * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
}

static uint64_t thread_waited(pid_t pid, const char *tid)
{
	unsigned long long ran, waited = 0;
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%.20s/schedstat", (int)pid, tid);
	f = fopen(path, "re");
	if (f && fscanf(f, "%llu %llu", &ran, &waited) != 2)
		waited = 0;
	if (f)
		fclose(f);
	return waited;
}

uint64_t cputime_waited(const struct cputime *c)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < c->nr; i++) {
		struct dirent *e;
		char path[64];
		DIR *d;

		snprintf(path, sizeof(path), "/proc/%d/task", (int)c->pid[i]);
		d = opendir(path);
		while (d && (e = readdir(d)))
			if (isdigit((unsigned char)e->d_name[0]))
				sum += thread_waited(c->pid[i], e->d_name);
		if (d)
			closedir(d);
	}
	return sum;
}
