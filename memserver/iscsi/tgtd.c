/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Portals in, a tgtd that takes orders out, again and again. Main thread. Its end is
 * told by a pidfd; it is killed, not asked, to end: what it has acknowledged is in the
 * pool's files by then, and its initiators reconnect either way.
 */
#include "memserver/iscsi/tgtd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "memserver/iscsi/tgt_call.h"
#include "memserver/iscsi/tgt_text.h"

#define MS_NS          UINT64_C(1000000)
#define LOOK_NS        (20 * MS_NS) /* while it starts */
#define START_S        20           /* it must take orders by then */
#define CALM_S         10 /* one that lived so long is started again at once */
#define PAUSE_NS       (1000 * MS_NS)
#define SAID_LINE      1024    /* a longer line comes in pieces */
#define OLDEST         1000074 /* Debian 10's; tested with 1.0.85 */
#define CONTROL_NUMBER "1"     /* tgtd adds it to the socket's name */

enum state { TGTD_OFF, TGTD_STARTING, TGTD_UP };

struct tgtd {
	struct tgtd_cfg cfg;     /* its strings and arrays: not to be used */
	struct tgtd_words words; /* owned */
	char *socket;            /* owned; the file it makes */
	char version[32];
	_Atomic int state;
	pid_t pid;  /* 0: none */
	int pidfd;  /* owned, -1: none */
	int output; /* owned, -1: none; what it says */
	struct loop_fd watch, reader;
	struct loop_timer timer;
	time_t started;
	char said[4096]; /* not yet a whole line: said_len bytes */
	size_t said_len;
	char last[160]; /* the last line it said */
	struct log_limit limit, refused_limit;
	_Atomic uint64_t refused;
};

static time_t now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

/* ---- finding it ---- */

static char *find_program(void)
{
	static const char fallback[] = "/usr/sbin:/sbin:/usr/local/sbin";
	const char *env = getenv("PATH");
	_cleanup_free_ char *path = NULL;
	char *rest, *dir, *file;

	if (asprintf(&path, "%s:%s", env ? env : "", fallback) < 0) {
		path = NULL;
		return NULL;
	}
	for (rest = path; (dir = strsep(&rest, ":"));) {
		if (*dir != '/' || asprintf(&file, "%s/tgtd", dir) < 0)
			continue;
		if (!access(file, X_OK))
			return file;
		free(file);
	}
	return NULL;
}

/* In the child: nothing inherited but what tgtd needs. Async-signal-safe only. */
_Noreturn static void become(const char *program, char *const argv[],
			     char *const envp[], int output)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (null < 0 || dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0)
		_exit(126);
	execve(program, argv, envp);
	_exit(127);
}

_Noreturn void tgtd_words_exec(const struct tgtd_words *w, int output)
{
	char *argv[] = {
		"tgtd", "-f", "-C", CONTROL_NUMBER, "--iscsi", w->portals, NULL
	};
	char named[PATH_MAX] = "", path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	char *envp[] = { path, named, NULL };

	snprintf(named, sizeof(named), "TGT_IPC_SOCKET=%s", w->base);
	if (!w->program)
		_exit(127);
	become(w->program, argv, envp, output);
}

/* What it says when it is asked for its version. */
static int ask_version(const struct tgtd *d, char *text, size_t len)
{
	char *argv[] = { "tgtd", "--version", NULL }, *envp[] = { NULL };
	ssize_t n;
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		become(d->words.program, argv, envp, fds[1]);
	close(fds[1]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	n = pid < 0 ? -1 : read(fds[0], text, len - 1);
	text[n > 0 ? n : 0] = '\0';
	close(fds[0]);
	return pid < 0 ? -EAGAIN : 0;
}

static int check_version(struct tgtd *d)
{
	char text[64] = "";
	int r = ask_version(d, text, sizeof(text));

	if (r < 0)
		return r;
	snprintf(d->version, sizeof(d->version), "%.*s",
		 (int)strspn(text, "0123456789."), text);
	if (tgt_text_version(d->version) >= OLDEST)
		return 0;
	log_err("iscsi: %s is version '%s', 1.0.74 or newer is needed",
		d->words.program, d->version);
	return -EOPNOTSUPP;
}

/* ---- its life ---- */

static void look(void *arg);

/* With output to a pipe that it never waits for. */
static int launch(struct tgtd *d)
{
	int fds[2], r;

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	r = d->cfg.run(d->cfg.run_arg, fds[1], &d->pid);
	close(fds[1]);
	if (r < 0) {
		close(fds[0]);
		d->pid = 0;
		return r;
	}
	d->output = fds[0];
	*d->last = '\0';
	d->said_len = 0;
	d->started = now_s();
	atomic_store(&d->state, TGTD_STARTING);
	return 0;
}

/* A wrong secret, an unknown user. tgtd tells the initiator's name, not its address, and
 * nothing of those that are not on the access list or offer no CHAP. */
static bool is_refusal(const char *line)
{
	return strstr(line, "CHAP initiator auth.: ") ||
	       strstr(line, "No valid user/pass combination");
}

static void count_refusal(struct tgtd *d, const char *line)
{
	unsigned int held = 0;

	atomic_fetch_add(&d->refused, 1);
	if (log_limit_ok(&d->refused_limit, &held))
		log_warn("iscsi: a login was refused: %s (%u like it not shown)", line,
			 held);
}

static void say_line(struct tgtd *d, char *line)
{
	unsigned int held = 0;

	for (char *c = line; *c; c++)
		if ((unsigned char)*c < ' ' || *c == '\x7f')
			*c = '?';
	snprintf(d->last, sizeof(d->last), "%.159s", line);
	if (is_refusal(line))
		count_refusal(d, line);
	else if (strstr(line, "io error") && log_limit_ok(&d->limit, &held))
		log_warn("%s (%u like it not shown); a full pool ends so", line, held);
	else
		log_debug("%s", line);
}

/* The end of a line: tgtd ends only some with a newline, but begins all with its name. */
static char *end_of_line(char *line)
{
	char *nl = strchr(line, '\n'),
	     *next = *line ? strstr(line + 1, "tgtd: ") : NULL;

	if (!nl || (next && next < nl))
		return next;
	*nl = '\0';
	return nl + 1;
}

static void say_piece(struct tgtd *d, const char *from, const char *end)
{
	char line[SAID_LINE];

	snprintf(line, sizeof(line), "%.*s", (int)(end - from), from);
	if (*line)
		say_line(d, line);
}

/* One message is one write: what is there ends with a whole line, unless there is more. */
static void on_output(void *arg, uint32_t events)
{
	struct tgtd *d = arg;
	size_t room = sizeof(d->said) - 1 - d->said_len;
	ssize_t n = read(d->output, d->said + d->said_len, room);
	char *line = d->said, *end;

	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			loop_fd_del(&d->reader);
		return;
	}
	for (char *c = d->said + d->said_len, *last = c + n; c < last; c++)
		if (!*c)
			*c = '\n';
	d->said_len += (size_t)n;
	d->said[d->said_len] = '\0';
	for (; (end = end_of_line(line)); line = end)
		say_piece(d, line, end);
	d->said_len = strlen(line);
	if ((size_t)n < room || line == d->said) {
		say_piece(d, line, line + d->said_len);
		d->said_len = 0;
	}
	memmove(d->said, line, d->said_len);
}

/* It has been waited for. */
static void forget(struct tgtd *d)
{
	loop_fd_del(&d->watch);
	loop_fd_del(&d->reader);
	cleanup_close(&d->pidfd);
	cleanup_close(&d->output);
	d->pidfd = d->output = -1;
	d->pid = 0;
}

/* Says what `status` of waitpid means, with its last words. */
static void tell_end(struct tgtd *d, int status)
{
	if (WIFSIGNALED(status))
		log_err("iscsi: tgtd (pid %d) was killed by signal %d%s%s", (int)d->pid,
			WTERMSIG(status), *d->last ? "; its last words: " : "",
			d->last);
	else
		log_err("iscsi: tgtd (pid %d) ended with status %d%s%s", (int)d->pid,
			WEXITSTATUS(status), *d->last ? "; its last words: " : "",
			d->last);
}

static void on_end(void *arg, uint32_t events)
{
	struct tgtd *d = arg;
	time_t lived = now_s() - d->started;
	int status = 0;

	if (waitpid(d->pid, &status, WNOHANG) == 0)
		return;
	on_output(d, 0);
	tell_end(d, status);
	forget(d);
	atomic_store(&d->state, TGTD_OFF);
	d->cfg.down(d->cfg.arg);
	loop_timer_set(&d->timer, lived >= CALM_S ? MS_NS : PAUSE_NS, 0);
}

static int watch(struct tgtd *d)
{
	int r;

	d->pidfd = pidfd_open(d->pid, 0);
	if (d->pidfd < 0)
		return -errno;
	r = loop_fd_add(d->cfg.loop, &d->watch, d->pidfd, EPOLLIN, on_end, d);
	if (r == 0)
		r = loop_fd_add(d->cfg.loop, &d->reader, d->output, EPOLLIN, on_output,
				d);
	return r;
}

/* 1: it takes orders and is configured; 0: not yet; -errno: configuring it failed. */
static int try_up(struct tgtd *d)
{
	struct tgt_request req = TGT_REQUEST(TGT_SYSTEM, TGT_SHOW, -1);
	int r = tgt_call(d->socket, &req, 1000, NULL);

	if (r < 0)
		return 0;
	atomic_store(&d->state, TGTD_UP);
	r = d->cfg.up(d->cfg.arg);
	if (r < 0)
		return r;
	log_note("iscsi: tgtd %s serves (pid %d)", d->version, (int)d->pid);
	return 1;
}

/* The timer: bring it up again, step by step. */
static void look(void *arg)
{
	struct tgtd *d = arg;
	int r = 0;

	if (atomic_load(&d->state) == TGTD_OFF) {
		r = launch(d);
		if (r == 0)
			r = watch(d);
	} else if (atomic_load(&d->state) == TGTD_STARTING) {
		r = try_up(d);
		if (r > 0)
			return;
		if (r == 0 && now_s() - d->started > START_S)
			r = -ETIMEDOUT;
	}
	if (r < 0) {
		log_err("iscsi: starting tgtd again: %s", strerror(-r));
		if (d->pid)
			kill(d->pid, SIGKILL); /* on_end goes on from there */
		else
			loop_timer_set(&d->timer, PAUSE_NS, 0);
		return;
	}
	loop_timer_set(&d->timer, LOOK_NS, 0);
}

/* The first time we wait: a server that can't serve should say so at once. */
static int first_start(struct tgtd *d)
{
	static const struct timespec pause = { 0, LOOK_NS };
	int r = launch(d), status;

	while (r == 0) {
		if (waitpid(d->pid, &status, WNOHANG) == d->pid) {
			on_output(d, 0);
			tell_end(d, status);
			log_err("iscsi: it did not start; is %s taken by another "
				"program?",
				d->words.portals);
			forget(d);
			return -ECHILD;
		}
		r = try_up(d);
		if (r == 0 && now_s() - d->started > START_S) {
			log_err("iscsi: tgtd takes no orders at %s", d->socket);
			r = -ETIMEDOUT;
		}
		if (r == 0)
			nanosleep(&pause, NULL);
	}
	return r < 0 ? r : watch(d);
}

/* ---- up and down ---- */

static int name_portals(const struct addr *portals, size_t nr, char **ret)
{
	char text[ADDR_TEXT_MAX];
	size_t len = 0;
	FILE *f = open_memstream(ret, &len);

	if (!f)
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++)
		fprintf(f, "%sportal=%s", i ? "," : "",
			addr_format(&portals[i].sa, text, sizeof(text)));
	return fclose(f) ? -ENOMEM : 0;
}

int tgtd_words_init(const struct addr *portals, size_t nr, const char *folder,
		    struct tgtd_words *ret)
{
	struct tgtd_words w = { .program = find_program() };
	int r = asprintf(&w.base, "%s/tgtd", folder);

	if (r < 0)
		w.base = NULL;
	r = r < 0 ? -ENOMEM : name_portals(portals, nr, &w.portals);
	if (r < 0) {
		tgtd_words_fini(&w);
		return r;
	}
	*ret = w;
	return 0;
}

void tgtd_words_fini(struct tgtd_words *w)
{
	free(w->program);
	free(w->base);
	free(w->portals);
	*w = (struct tgtd_words){ 0 };
}

static int name_socket(struct tgtd *d)
{
	if (asprintf(&d->socket, "%s." CONTROL_NUMBER, d->words.base) < 0) {
		d->socket = NULL;
		return -ENOMEM;
	}
	if (strlen(d->socket) < sizeof(((struct sockaddr_un *)0)->sun_path))
		return 0;
	log_err("iscsi: the pool's path is too long for tgtd's socket (%s); give a "
		"shorter one with --pool DIR",
		d->socket);
	return -ENAMETOOLONG;
}

static int prepare(struct tgtd *d)
{
	int r = tgtd_words_init(d->cfg.portals, d->cfg.nr_portals, d->cfg.folder,
				&d->words);

	if (r == 0)
		r = name_socket(d);
	if (r < 0)
		return r;
	if (!d->words.program) {
		log_err("iscsi: tgtd is not installed (neither in PATH nor in "
			"/usr/sbin): install the package tgt, or run without --iscsi");
		return -ENOENT;
	}
	return check_version(d);
}

int tgtd_start(const struct tgtd_cfg *cfg, struct tgtd **ret)
{
	struct tgtd *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->cfg = *cfg;
	d->pidfd = d->output = -1;
	d->limit = d->refused_limit = (struct log_limit)LOG_LIMIT_INIT;
	*ret = d; /* `up` wants to know it; taken back on failure */
	r = loop_timer_init(cfg->loop, &d->timer, look, d);
	if (r == 0)
		r = prepare(d);
	if (r == 0)
		r = first_start(d);
	d->cfg.folder = NULL;
	d->cfg.portals = NULL;
	if (r < 0) {
		*ret = NULL;
		tgtd_stop(d);
	}
	return r;
}

void tgtd_stop(struct tgtd *d)
{
	char *lock = NULL;

	if (!d)
		return;
	atomic_store(&d->state, TGTD_OFF);
	loop_timer_fini(&d->timer);
	if (d->pid) {
		kill(d->pid, SIGKILL);
		waitpid(d->pid, NULL, 0);
		forget(d);
	}
	if (d->socket) {
		unlink(d->socket);
		if (asprintf(&lock, "%s.lock", d->socket) > 0)
			unlink(lock);
		free(lock);
	}
	tgtd_words_fini(&d->words);
	free(d->socket);
	free(d);
}

void tgtd_kill(struct tgtd *d)
{
	if (d->pid)
		kill(d->pid, SIGKILL);
}

bool tgtd_is_up(const struct tgtd *d)
{
	return d && atomic_load(&d->state) == TGTD_UP;
}

const char *tgtd_socket(const struct tgtd *d)
{
	return d->socket;
}

int tgtd_pid(const struct tgtd *d)
{
	return (int)d->pid;
}

uint64_t tgtd_refused(const struct tgtd *d)
{
	return atomic_load(&d->refused);
}

const char *tgtd_version(const struct tgtd *d)
{
	return d->version;
}
