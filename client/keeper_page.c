/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper's face to the rest of the machine: its state in a mapped file, its words
 * in the kernel's log, its memory locked. In the keeper's process, but for the reading
 * functions.
 */
#include "client/keeper_page.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "client/file.h"
#include "lib/cleanup.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57 /* Linux 5.6 */
#endif

#define STACK_BYTES (64u << 10) /* several times what the loop uses */

uint64_t keeper_page_start_time(pid_t pid)
{
	char text[1024], *p;
	uint64_t start;
	int r = file_read(text, sizeof(text), "/proc/%d/stat", pid);

	if (r < 0)
		return 0;
	p = strrchr(text, ')'); /* the name before it may hold anything */
	if (!p || sscanf(p + 1,
			 " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
			 "%*s %*s %*s %*s %*s %" SCNu64,
			 &start) != 1)
		return 0;
	return start;
}

int keeper_page_create(const char *path, unsigned int connections,
		       struct keeper_page **ret)
{
	_cleanup_close_ int fd =
		open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	struct keeper_page *p;

	if (fd < 0 || ftruncate(fd, sizeof(*p)))
		return -errno;
	p = mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	p->pid = getpid();
	p->start = keeper_page_start_time(getpid());
	p->connections = connections;
	p->live = connections;
	p->magic = KEEPER_PAGE_MAGIC;
	*ret = p;
	return 0;
}

int keeper_page_read(const char *path, struct keeper_page *ret)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (read(fd, ret, sizeof(*ret)) != sizeof(*ret) ||
	    ret->magic != KEEPER_PAGE_MAGIC)
		return -EIO;
	return 0;
}

void keeper_page_state(struct keeper_page *p, enum keeper_state s)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	p->since_s = now.tv_sec;
	p->state = s;
}

/*
 * A session's cgroup may have a memory limit, may be frozen, and is killed when the
 * user logs out. A service's cgroup is its administrator's: it stays there.
 */
static void leave_session(void)
{
	char text[512];

	if (file_read(text, sizeof(text), "/proc/self/cgroup") < 0 ||
	    strstr(text, ".service"))
		return;
	file_write("/sys/fs/cgroup/cgroup.procs", "0\n");
}

static void touch_stack(void)
{
	volatile char stack[STACK_BYTES];

	for (size_t i = 0; i < sizeof(stack); i += 1024)
		stack[i] = 0;
}

int keeper_page_lock_memory(void)
{
	struct sched_param rt = { .sched_priority = 1 };

	leave_session();
	touch_stack();
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		return -errno;
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0))
		return -errno;
	if (file_write("/proc/self/oom_score_adj", "-1000\n") < 0)
		return -EPERM;
	/*
	 * A real-time task's allocations may go a quarter below the kernel's minimum
	 * (mm/page_alloc.c, gfp_to_alloc_flags), where others wait for reclaim, which
	 * waits for us. Not every container allows it; it works without, too.
	 */
	sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &rt);
	return 0;
}

void keeper_page_log(int level, uint32_t index, const char *text)
{
	_cleanup_close_ int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	char line[256];
	int n;

	if (fd < 0)
		return;
	n = snprintf(line, sizeof(line), "<%d>memswap: nbd%" PRIu32 ": %s\n", level,
		     index, text);
	if (write(fd, line, (size_t)n) < 0)
		return; /* nobody to tell */
}
