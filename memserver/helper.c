/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A configuration in, a process that keeps rights for it out; and our end of its socket. */
#include "memserver/helper.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "memserver/helper_priv.h"
#include "memserver/pool.h"
#include "memserver/trail.h"

#define ANSWER_S 5

struct helper {
	int sock; /* owned; -1: it is gone */
	pid_t pid;
	struct helper_words words;
};

/* ---- what it is told ---- */

static void add_file(struct helper_words *w, const char *path)
{
	if (path)
		w->files[w->nr_files++] = path;
}

static int find_tgtd(const struct server_cfg *cfg, struct helper_words *w)
{
	_cleanup_free_ struct addr *portals =
		calloc(cfg->nr_doors + 1, sizeof(*portals));
	size_t nr = 0;

	if (!portals)
		return -ENOMEM;
	for (size_t i = 0; i < cfg->nr_doors; i++)
		if (cfg->doors[i].kind == DOOR_ISCSI)
			portals[nr++] = cfg->doors[i].addr;
	w->has_tgtd = nr > 0;
	return nr ? tgtd_words_init(portals, nr, w->pool, &w->tgtd) : 0;
}

static int find_words(const struct server_cfg *cfg, const struct drop *drop,
		      struct helper_words *w)
{
	struct pool_cfg p = { .dir = cfg->pool_dir };
	int r;

	*w = (struct helper_words){ .cfg = cfg, .drop = drop, .audit = -1 };
	if (cfg->audit && strcmp(cfg->audit, TRAIL_JOURNAL) != 0) {
		w->audit = 0;
		add_file(w, cfg->audit);
	}
	add_file(w, cfg->iscsi_auth);
	add_file(w, cfg->nvme_auth);
	add_file(w, cfg->nvme_tls_keys);
	add_file(w, cfg->tls.files.cert);
	add_file(w, cfg->tls.files.key);
	add_file(w, cfg->tls.files.ca);
	add_file(w, cfg->tls.files.psk);
	add_file(w, cfg->tls.clients);
	r = pool_find(&p, &w->pool);
	return r < 0 ? r : find_tgtd(cfg, w);
}

static void forget_words(struct helper_words *w)
{
	free(w->pool);
	tgtd_words_fini(&w->tgtd);
}

/* ---- the process ---- */

/*
 * SETUID, SETGID: to be memserver's user when tgtd begins. DAC: files of keys of users that
 * memserver trusts, and PAM's own files. AUDIT_WRITE: PAM. SYS_ADMIN: the pool's mount.
 */
static void keep_few_rights(const struct helper_words *w)
{
	static const int keep[] = { CAP_SETUID, CAP_SETGID, CAP_DAC_OVERRIDE,
				    CAP_AUDIT_WRITE, CAP_SYS_ADMIN };

	drop_capabilities(keep, sizeof(keep) / sizeof(keep[0]) - !w->has_tgtd);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static void be_helper(int sock, const struct helper_words *w, pid_t parent)
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE };
	sigset_t none;

	prctl(PR_SET_NAME, "memserver-help");
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(sock, 3) != 3 || close_range(4, ~0U, 0) < 0 || chdir("/") < 0)
		_exit(1);
	keep_few_rights(w);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	helper_serve(3, w);
	_exit(0);
}

int helper_start(const struct server_cfg *cfg, const struct drop *drop,
		 struct helper **ret)
{
	struct timeval patience = { .tv_sec = ANSWER_S };
	struct helper *h = calloc(1, sizeof(*h));
	pid_t self = getpid(), pid;
	int socks[2], r;

	if (!h)
		return -ENOMEM;
	r = find_words(cfg, drop, &h->words);
	if (r == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) < 0)
		r = -errno;
	if (r < 0) {
		forget_words(&h->words);
		free(h);
		return r;
	}
	pid = fork();
	if (pid == 0)
		be_helper(socks[1], &h->words, self);
	r = pid < 0 ? -errno : 0;
	h->pid = pid;
	close(socks[1]);
	h->sock = socks[0];
	setsockopt(h->sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (r < 0) {
		helper_stop(h);
		return r;
	}
	*ret = h;
	return 0;
}

/* ---- requests ---- */

/* A packet that does not come, or is none, would be taken for the next answer. */
static int give_up(struct helper *h)
{
	close(h->sock);
	h->sock = -1;
	log_err("the process that keeps rights for memserver has ended: exports are "
		"served on; logins of --remote, a new tgtd and reading keys again fail "
		"until memserver is restarted");
	return -EPIPE;
}

static int call(struct helper *h, const struct helper_request *q, const int *fds,
		size_t nr, struct helper_answer *ret, int *ret_fd)
{
	int got[HELPER_FDS] = { -1, -1 };

	if (h->sock < 0)
		return -EPIPE;
	if (helper_send(h->sock, q, sizeof(*q), fds, nr) < 0 ||
	    helper_receive(h->sock, ret, sizeof(*ret), got) != 1)
		return give_up(h);
	if (ret->result == 0 && ret_fd && got[0] >= 0)
		*ret_fd = take_fd(&got[0]);
	cleanup_close(&got[0]);
	cleanup_close(&got[1]);
	return ret->result;
}

void helper_stop(struct helper *h)
{
	struct helper_request q = { .op = HELPER_END };
	struct helper_answer a = { 0 };

	if (!h)
		return;
	if (h->sock >= 0)
		call(h, &q, NULL, 0, &a, NULL);
	if (h->sock >= 0)
		close(h->sock);
	if (h->pid > 0)
		waitpid(h->pid, NULL, 0);
	forget_words(&h->words);
	free(h);
}

int helper_login(struct helper *h, int in, int out)
{
	struct helper_request q = { .op = HELPER_LOGIN };
	const int fds[] = { in, out };
	struct helper_answer a = { 0 };

	return call(h, &q, fds, 2, &a, NULL);
}

int helper_tgtd(struct helper *h, int output, pid_t *ret_pid)
{
	struct helper_request q = { .op = HELPER_TGTD };
	struct helper_answer a = { 0 };
	int r = call(h, &q, &output, 1, &a, NULL);

	if (r == 0)
		*ret_pid = a.pid;
	return r;
}

int helper_open(struct helper *h, const char *path, int *ret_fd)
{
	struct helper_request q = { .op = HELPER_OPEN };
	struct helper_answer a = { 0 };
	int fd = -1, r;

	while (q.index < h->words.nr_files &&
	       strcmp(h->words.files[q.index], path) != 0)
		q.index++;
	if (q.index == h->words.nr_files)
		return -ENOENT;
	r = call(h, &q, NULL, 0, &a, &fd);
	if (r == 0 && fd < 0)
		return -EIO;
	if (r == 0)
		*ret_fd = fd;
	return r;
}

int helper_pool_size(struct helper *h, uint64_t bytes)
{
	struct helper_request q = { .op = HELPER_POOL_SIZE, .bytes = bytes };
	struct helper_answer a = { 0 };

	return call(h, &q, NULL, 0, &a, NULL);
}
