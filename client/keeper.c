/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starts, finds and ends keepers. In memswap's process. */
#include "client/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/keeper_loop.h"
#include "client/keeper_page.h"
#include "lib/cleanup.h"

static char *title;
static size_t title_max;

static const char *const state_names[] = {
	[KEEPER_LIVE] = "live",
	[KEEPER_DEGRADED] = "degraded",
	[KEEPER_CONNECTING] = "connecting",
	[KEEPER_LOST] = "lost",
};

const char *keeper_state_name(enum keeper_state s)
{
	return (size_t)s < sizeof(state_names) / sizeof(state_names[0]) ? state_names[s]
									: "?";
}

void keeper_use_title(int argc, char **argv)
{
	if (argc < 1)
		return;
	title = argv[0];
	title_max = (size_t)(argv[argc - 1] + strlen(argv[argc - 1]) - argv[0]);
}

/*
 * systemd's last killing spree at shutdown spares processes whose command line begins
 * with "@" (systemd.io/ROOT_STORAGE_DAEMONS): the swap is still on then.
 */
static void set_title(uint32_t index)
{
	char text[32];

	snprintf(text, sizeof(text), "@memswap-keeper nbd%u", index);
	prctl(PR_SET_NAME, "memswap-keeper");
	if (!title)
		return;
	memset(title, 0, title_max);
	strncpy(title, text, title_max - 1);
}

/* Keeps what the job names and ready_fd, closes the rest, lets go of the terminal. */
static void leave_caller(const struct keeper_job *job, int ready_fd)
{
	int null = open("/dev/null", O_RDWR);

	setsid();
	if (chdir("/"))
		_exit(1);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	for (int fd = 3; fd < 1024; fd++) {
		bool keep = fd == ready_fd;

		for (size_t i = 0; i < job->device.nr_fds; i++)
			keep |= fd == job->device.fds[i];
		if (!keep)
			close(fd);
	}
}

static void child(const struct keeper_job *job, int ready_fd)
{
	struct keeper_page *page;
	int r;

	leave_caller(job, ready_fd);
	set_title(job->index);
	r = keeper_page_create(job->page_path, job->connections, &page);
	if (!r)
		keeper_loop_run(job, page, ready_fd);
	if (write(ready_fd, &r, sizeof(r)) < 0)
		_exit(2);
	_exit(1);
}

int keeper_start(const struct keeper_job *job)
{
	_cleanup_close_ int in = -1, out = -1;
	int fds[2], r = -EIO;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	in = fds[0];
	out = fds[1];
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid)
		child(job, out);
	close(take_fd(&out));
	while (read(in, &r, sizeof(r)) < 0 && errno == EINTR)
		;
	if (r)
		waitpid(pid, NULL, 0);
	return r;
}

int keeper_look(const char *page_path, struct keeper_view *ret)
{
	struct keeper_page p;
	int r = keeper_page_read(page_path, &p);

	if (r)
		return r;
	*ret = (struct keeper_view){
		.state = (enum keeper_state)p.state,
		.pid = (pid_t)p.pid,
		.alive = p.start && keeper_page_start_time((pid_t)p.pid) == p.start,
		.live = p.live,
		.connections = p.connections,
		.reconnects = p.reconnects,
		.since_s = p.since_s,
		.last_error = p.last_error,
	};
	return 0;
}

int keeper_stop(const char *page_path)
{
	_cleanup_close_ int pidfd = -1;
	struct keeper_view v;
	struct pollfd p;

	if (keeper_look(page_path, &v) || !v.alive)
		return 0;
	pidfd = (int)syscall(SYS_pidfd_open, v.pid, 0);
	if (pidfd < 0)
		return errno == ESRCH ? 0 : -errno;
	/* It may have ended, and its number gone to another, before the line above. */
	if (keeper_look(page_path, &v) || !v.alive)
		return 0;
	if (syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0))
		return errno == ESRCH ? 0 : -errno;
	p = (struct pollfd){ .fd = pidfd, .events = POLLIN };
	while (poll(&p, 1, -1) < 0)
		if (errno != EINTR)
			return -errno;
	waitpid(v.pid, NULL, WNOHANG); /* when it was this process's own child */
	return 0;
}
