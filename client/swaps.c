/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /proc/swaps in, a table out; device paths to swapon(2) and swapoff(2). Main thread. */
#include "client/swaps.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/file.h"
#include "lib/cleanup.h"

/* The kernel writes blank, tab, newline and backslash as \ooo. */
static void unescape(char *path)
{
	char *out = path;

	for (const char *p = path; *p; p++) {
		if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' &&
		    p[2] <= '7' && p[3] >= '0' && p[3] <= '7') {
			*out++ = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 |
					(p[3] - '0'));
			p += 3;
		} else {
			*out++ = *p;
		}
	}
	*out = '\0';
}

void swaps_parse(const char *text, struct swaps *ret)
{
	ret->nr = 0;
	while ((text = strchr(text, '\n')) && ret->nr < SWAPS_MAX) {
		struct swaps_entry *e = &ret->entry[ret->nr];
		uint64_t size_kb, used_kb;

		text++; /* the first line is the heading */
		if (sscanf(text, "%255s %*s %" SCNu64 " %" SCNu64 " %d", e->path,
			   &size_kb, &used_kb, &e->priority) != 4)
			continue;
		unescape(e->path);
		e->size_bytes = size_kb << 10;
		e->used_bytes = used_kb << 10;
		ret->nr++;
	}
}

int swaps_read(struct swaps *ret)
{
	char text[SWAPS_MAX * 300];
	int r = file_read(text, sizeof(text), "/proc/swaps");

	if (r < 0)
		return r;
	swaps_parse(text, ret);
	return 0;
}

const struct swaps_entry *swaps_find(const struct swaps *s, const char *kdev)
{
	size_t n = strlen(kdev);

	for (size_t i = 0; i < s->nr; i++) {
		const char *path = s->entry[i].path;

		if (!strncmp(path, "/dev/", 5) && !strncmp(path + 5, kdev, n) &&
		    (!path[5 + n] || !strcmp(path + 5 + n, " (deleted)")))
			return &s->entry[i];
	}
	return NULL;
}

uint64_t swaps_not_in_memory(const struct swaps *s, const struct swaps_entry *e,
			     uint64_t swap_cached_bytes)
{
	uint64_t others = 0, cached;

	for (size_t i = 0; i < s->nr; i++)
		if (&s->entry[i] != e)
			others += s->entry[i].used_bytes;
	cached = swap_cached_bytes > others ? swap_cached_bytes - others : 0;
	return e->used_bytes > cached ? e->used_bytes - cached : 0;
}

int swaps_next_priority(const struct swaps *s)
{
	int top = 0;

	for (size_t i = 0; i < s->nr; i++)
		if (s->entry[i].priority > top)
			top = s->entry[i].priority;
	return top < SWAP_FLAG_PRIO_MASK ? top + 1 : SWAP_FLAG_PRIO_MASK;
}

int swaps_on(const char *path, int priority, bool discard)
{
	/* Without _ONCE or _PAGES after it SWAP_FLAG_DISCARD means both. */
	int flags = SWAP_FLAG_PREFER | (priority & SWAP_FLAG_PRIO_MASK) |
		    (discard ? SWAP_FLAG_DISCARD : 0);

	return swapon(path, flags) ? -errno : 0;
}

static void run_child(const char *path, const sigset_t *mask)
{
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	sigprocmask(SIG_SETMASK, mask, NULL);
	_exit(swapoff(path) ? errno : 0);
}

/* Waits for the child; a signal from the user is passed on to it once. */
static bool wait_child(pid_t pid, int pidfd, int sigfd, void (*tick)(void *), void *arg)
{
	struct pollfd p[2] = { { .fd = pidfd, .events = POLLIN },
			       { .fd = sigfd, .events = POLLIN } };
	bool told = false;

	for (;;) {
		int r = poll(p, told ? 1 : 2, 1000);

		if (p[0].revents)
			return told;
		if (r > 0 && !told && p[1].revents) {
			kill(pid, SIGKILL);
			told = true;
		}
		if (tick)
			tick(arg);
	}
}

int swaps_off(const char *path, void (*tick)(void *arg), void *arg)
{
	_cleanup_close_ int pidfd = -1, sigfd = -1;
	sigset_t stop, before;
	int status = 0;
	bool told;
	pid_t pid;

	sigemptyset(&stop);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGTERM);
	sigprocmask(SIG_BLOCK, &stop, &before);
	pid = fork();
	if (!pid)
		run_child(path, &before);
	if (pid > 0)
		pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	sigfd = signalfd(-1, &stop, SFD_CLOEXEC);
	if (pid > 0 && pidfd >= 0 && sigfd >= 0)
		told = wait_child(pid, pidfd, sigfd, tick, arg);
	else
		told = false;
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (pid < 0)
		return -EAGAIN;
	if (WIFEXITED(status))
		return -WEXITSTATUS(status);
	/* The kernel's OOM killer takes whoever runs swapoff first. */
	return told ? -EINTR : -ENOMEM;
}

int swaps_wait_gone(const char *kdev, void (*tick)(void *arg), void *arg)
{
	_cleanup_close_ int fd = open("/proc/swaps", O_RDONLY | O_CLOEXEC);
	struct swaps s;

	if (fd < 0)
		return -errno;
	for (;;) {
		/* The kernel reports a change of the table as an error condition. */
		struct pollfd p = { .fd = fd, .events = POLLPRI };
		int r = swaps_read(&s);

		if (r < 0)
			return r;
		if (!swaps_find(&s, kdev))
			return 0;
		if (poll(&p, 1, 1000) < 0)
			return -errno;
		if (tick)
			tick(arg);
	}
}
