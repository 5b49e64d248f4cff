/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The helper's side: requests in, each checked against what it may be, their answers out.
 * One thread, no loop but this; it says nothing, who asked does.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "memserver/helper_priv.h"
#include "memserver/login.h"
#include "memserver/pool_mount.h"

struct child {
	pid_t pid; /* 0: none */
	time_t until;
};

struct service {
	const struct helper_words *words;
	struct child logins[HELPER_LOGINS];
};

static time_t now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

/* ---- children ---- */

/* Those that have ended are forgotten, those whose time is over killed. True: some live. */
static bool tend_logins(struct service *s, bool all)
{
	bool some = false;

	for (size_t i = 0; i < HELPER_LOGINS; i++) {
		struct child *c = &s->logins[i];

		if (!c->pid)
			continue;
		if (all || now_s() >= c->until)
			kill(c->pid, SIGKILL);
		if (waitpid(c->pid, NULL, all ? 0 : WNOHANG) != 0)
			c->pid = 0;
		some |= c->pid != 0;
	}
	return some;
}

static int do_login(struct service *s, const int fds[HELPER_FDS])
{
	struct child *c = s->logins;
	int r;

	tend_logins(s, false);
	while (c < s->logins + HELPER_LOGINS && c->pid)
		c++;
	if (c == s->logins + HELPER_LOGINS)
		return -EAGAIN;
	r = login_spawn(fds[0], fds[1], &c->pid);
	if (r < 0)
		c->pid = 0;
	c->until = now_s() + LOGIN_SECONDS + 1;
	return r;
}

static int do_tgtd(struct service *s, int output, struct helper_answer *a)
{
	pid_t parent = getppid();
	long pid;

	if (!s->words->has_tgtd)
		return -EPERM;
	/* A child of memserver's, which waits for it and takes it along when it dies; we
	 * go on once it is tgtd, or is not to be. */
	pid = syscall(SYS_clone, CLONE_PARENT | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0);
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		if (drop_rights(s->words->drop) < 0)
			_exit(125);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(125);
		tgtd_words_exec(&s->words->tgtd, output);
	}
	a->pid = (int32_t)pid;
	return 0;
}

/* ---- files ---- */

static int do_open(struct service *s, uint32_t index, int *ret_fd)
{
	int flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC;

	if (index >= s->words->nr_files)
		return -EPERM;
	if ((int)index == s->words->audit)
		flags = O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK |
			O_CLOEXEC;
	*ret_fd = open(s->words->files[index], flags, 0600);
	return *ret_fd < 0 ? -errno : 0;
}

static int do_pool_size(struct service *s, uint64_t bytes)
{
	return s->words->has_tgtd ? pool_mount_size(s->words->pool, bytes) : -EPERM;
}

static void remove_socket(const char *path)
{
	struct stat st;

	if (!lstat(path, &st) && S_ISSOCK(st.st_mode))
		unlink(path);
}

static void do_end(struct service *s)
{
	const struct server_cfg *cfg = s->words->cfg;

	char lock[sizeof(((struct sockaddr_un *)0)->sun_path) + 8];

	remove_socket(cfg->control_path);
	snprintf(lock, sizeof(lock), "%s.lock",
		 cfg->control_path); /* lib/ctl_socket.c */
	unlink(lock);
	for (size_t i = 0; i < cfg->nr_doors; i++)
		if (cfg->doors[i].addr.sa.sa_family == AF_UNIX)
			remove_socket(cfg->doors[i].addr.un.sun_path);
}

/* ---- requests ---- */

/* How many descriptors each comes with. */
static bool is_request(const struct helper_request *q, const int fds[HELPER_FDS])
{
	int nr = (fds[0] >= 0) + (fds[1] >= 0);

	switch (q->op) {
	case HELPER_LOGIN:
		return nr == 2 && !q->index && !q->bytes;
	case HELPER_TGTD:
		return nr == 1 && !q->index && !q->bytes;
	case HELPER_OPEN:
		return !nr && !q->bytes;
	case HELPER_POOL_SIZE:
		return !nr && !q->index;
	case HELPER_END:
		return !nr && !q->index && !q->bytes;
	default:
		return false;
	}
}

/* True: it was the last. */
static bool answer(struct service *s, int sock, const struct helper_request *q,
		   const int fds[HELPER_FDS])
{
	struct helper_answer a = { 0 };
	_cleanup_close_ int fd = -1;

	if (!is_request(q, fds))
		a.result = -EPROTO;
	else if (q->op == HELPER_LOGIN)
		a.result = do_login(s, fds);
	else if (q->op == HELPER_TGTD)
		a.result = do_tgtd(s, fds[0], &a);
	else if (q->op == HELPER_OPEN)
		a.result = do_open(s, q->index, &fd);
	else if (q->op == HELPER_POOL_SIZE)
		a.result = do_pool_size(s, q->bytes);
	else
		do_end(s);
	helper_send(sock, &a, sizeof(a), &fd, fd >= 0);
	return a.result == 0 && q->op == HELPER_END;
}

void helper_serve(int sock, const struct helper_words *w)
{
	struct service s = { .words = w };
	struct helper_request q = { 0 };
	bool over = false;

	while (!over) {
		struct pollfd p = { .fd = sock, .events = POLLIN };
		int fds[HELPER_FDS], r;

		if (poll(&p, 1, tend_logins(&s, false) ? 1000 : -1) <= 0)
			continue;
		r = helper_receive(sock, &q, sizeof(q), fds);
		if (r == -EPROTO)
			q.op = 0; /* no request: said so */
		over = r == 0 || (r < 0 && r != -EPROTO) || answer(&s, sock, &q, fds);
		for (size_t i = 0; i < HELPER_FDS; i++)
			cleanup_close(&fds[i]);
	}
	tend_logins(&s, true);
}
