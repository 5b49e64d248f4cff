/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Users and passwords in, roles out; a process of the helper's for each in between. */
#include "memserver/login.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/loop.h"

#define SECOND      UINT64_C(1000000000)
#define NR_SOURCES  256
#define FORGET_TIME (600 * SECOND) /* a source without failures for so long is new */

extern char **environ;

/* Somebody who failed. */
struct source {
	char name[96];
	unsigned int failures;
	uint64_t last_ns, free_ns; /* the last failure; may try again */
};

struct attempt {
	struct logins *logins;
	bool used;
	int fd; /* its answer; -1: it has been read */
	struct loop_fd watch;
	struct loop_timer timer;
	uint64_t ticket;
	char source[96], user[LOGIN_TEXT_MAX], said[LOGIN_TEXT_MAX + 8];
	size_t said_len;
};

struct logins {
	struct loop *loop;
	const struct roles_cfg *roles;
	login_done_fn done;
	void *arg;
	login_spawn_fn spawn;
	void *spawn_arg;
	struct attempt attempts[LOGINS_MAX];
	struct source sources[NR_SOURCES];
	struct login_stats stats;
	struct log_limit limit;
};

/* ---- who must wait ---- */

static struct source *find_source(struct logins *ls, const char *name)
{
	for (size_t i = 0; i < NR_SOURCES; i++)
		if (!strcmp(ls->sources[i].name, name))
			return &ls->sources[i];
	return NULL;
}

/* Takes the place of who failed longest ago. */
static struct source *new_source(struct logins *ls, const char *name)
{
	struct source *s = &ls->sources[0];

	for (size_t i = 1; i < NR_SOURCES; i++)
		if (ls->sources[i].last_ns < s->last_ns)
			s = &ls->sources[i];
	*s = (struct source){ 0 };
	snprintf(s->name, sizeof(s->name), "%s", name);
	return s;
}

static void count_failure(struct logins *ls, const char *name)
{
	struct source *s = find_source(ls, name);
	uint64_t now = clock_ns(), wait = 1;

	if (!s || now - s->last_ns > FORGET_TIME)
		s = s ? s : new_source(ls, name);
	if (now - s->last_ns > FORGET_TIME)
		s->failures = 0;
	s->last_ns = now;
	if (++s->failures < LOGIN_FREE)
		return;
	for (unsigned int i = LOGIN_FREE; i < s->failures && wait < LOGIN_WAIT_MAX; i++)
		wait *= 2;
	s->free_ns = now + (wait < LOGIN_WAIT_MAX ? wait : LOGIN_WAIT_MAX) * SECOND;
}

static int must_wait(struct logins *ls, const char *source, char *why)
{
	const struct source *s = find_source(ls, source);
	uint64_t now = clock_ns();

	if (s && s->free_ns > now) {
		ls->stats.limited++;
		snprintf(why, LOGIN_TEXT_MAX,
			 "too many failed logins from there: wait %llu s",
			 (unsigned long long)((s->free_ns - now) / SECOND + 1));
		return -EAGAIN;
	}
	for (size_t i = 0; i < LOGINS_MAX; i++)
		if (ls->attempts[i].fd >= 0 && ls->attempts[i].used &&
		    !strcmp(ls->attempts[i].source, source)) {
			snprintf(why, LOGIN_TEXT_MAX,
				 "another login from there is under way");
			return -EAGAIN;
		}
	return 0;
}

/* ---- an answer ---- */

/* The process, if it still lives, is its owner's to end. */
static void forget(struct attempt *a)
{
	loop_timer_fini(&a->timer);
	a->used = false;
}

static void finish(struct attempt *a, int r, enum ctl_role role, const char *why)
{
	struct logins *ls = a->logins;
	unsigned int held_back;

	loop_fd_del(&a->watch);
	close(a->fd);
	a->fd = -1;
	if (r == 0) {
		ls->stats.good++;
	} else {
		ls->stats.failed += r != -ETIMEDOUT;
		ls->stats.timed_out += r == -ETIMEDOUT;
		count_failure(ls, a->source);
		if (log_limit_ok(&ls->limit, &held_back))
			log_warn("control %s: login of '%.60s' refused: %s (%u more "
				 "were refused since the last such line)",
				 a->source, a->user, why, held_back);
	}
	ls->done(ls->arg, a->ticket, a->user, r, role, why);
	explicit_bzero(a->user, sizeof(a->user));
	forget(a);
}

static void on_answer(void *arg, uint32_t events)
{
	struct attempt *a = arg;
	ssize_t n =
		read(a->fd, a->said + a->said_len, sizeof(a->said) - 1 - a->said_len);
	char *nl;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	a->said_len += n > 0 ? (size_t)n : 0;
	a->said[a->said_len] = '\0';
	nl = memchr(a->said, '\n', a->said_len);
	if (nl) {
		enum ctl_role role = (enum ctl_role)(*a->said - '0');

		*nl = '\0';
		if (role > CTL_NOBODY && role <= CTL_ADMIN)
			finish(a, 0, role, "");
		else
			finish(a, -EACCES, CTL_NOBODY, a->said + 1);
	} else if (n <= 0 || a->said_len == sizeof(a->said) - 1) {
		finish(a, -EACCES, CTL_NOBODY,
		       "the process that asks PAM ended without an answer");
	}
}

static void on_time(void *arg)
{
	struct attempt *a = arg;

	finish(a, -ETIMEDOUT, CTL_NOBODY, "PAM did not answer in time");
}

/* ---- a question ---- */

int login_spawn(int in, int out, pid_t *ret)
{
	char name[] = "memserver", arg[] = LOGIN_CHILD_ARG,
	     *argv[] = { name, arg, NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int r;

	sigemptyset(&none);
	sigfillset(&all);
	if (posix_spawn_file_actions_init(&files))
		return -ENOMEM;
	if (posix_spawnattr_init(&attr)) {
		posix_spawn_file_actions_destroy(&files);
		return -ENOMEM;
	}
	posix_spawn_file_actions_adddup2(&files, in, 0);
	posix_spawn_file_actions_adddup2(&files, out, 1);
	/* The loop blocks signals and the log ignores one: not so in there. */
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	r = posix_spawn(ret, "/proc/self/exe", &files, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return -r;
}

/* All words with their NULs, at once: less than a pipe takes without waiting. */
static int put_question(const struct logins *ls, const struct attempt *a,
			const char *password, int fd)
{
	char text[4096];
	size_t len = 0;
	const char *words[] = { a->user,
				password,
				a->source,
				ls->roles->group[CTL_VIEWER],
				ls->roles->group[CTL_OPERATOR],
				ls->roles->group[CTL_ADMIN] };
	int r = 0;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t n = words[i] ? strlen(words[i]) + 1 : 1;

		if (n > sizeof(text) - len)
			return -EINVAL;
		memcpy(text + len, words[i] ? words[i] : "", n);
		len += n;
	}
	if (write(fd, text, len) != (ssize_t)len)
		r = -EIO;
	explicit_bzero(text, sizeof(text));
	return r;
}

static int start(struct attempt *a, const char *password)
{
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, r = 0;

	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		r = -errno;
	if (r == 0)
		r = put_question(a->logins, a, password, in[1]);
	if (r == 0)
		r = a->logins->spawn(a->logins->spawn_arg, in[0], out[1]);
	if (r == 0) {
		a->fd = take_fd(&out[0]);
		fcntl(a->fd, F_SETFL, O_NONBLOCK);
		r = loop_fd_add(a->logins->loop, &a->watch, a->fd, EPOLLIN, on_answer,
				a);
	}
	for (int i = 0; i < 2; i++) {
		cleanup_close(&in[i]);
		cleanup_close(&out[i]);
	}
	return r;
}

int login_begin(struct logins *ls, uint64_t ticket, const char *source,
		const char *user, const char *password, char *why)
{
	struct attempt *a = ls->attempts;
	int r = must_wait(ls, source, why);

	if (r < 0)
		return r;
	while (a < ls->attempts + LOGINS_MAX && a->used)
		a++;
	snprintf(why, LOGIN_TEXT_MAX, "too many logins are under way: try again");
	if (a == ls->attempts + LOGINS_MAX)
		return -EAGAIN;
	snprintf(why, LOGIN_TEXT_MAX, "the name or the password is empty or too long");
	if (!*user || strlen(user) >= LOGIN_TEXT_MAX ||
	    strlen(password) >= LOGIN_TEXT_MAX)
		return -EINVAL;
	*a = (struct attempt){ .logins = ls, .fd = -1, .ticket = ticket };
	snprintf(a->source, sizeof(a->source), "%s", source);
	snprintf(a->user, sizeof(a->user), "%s", user);
	snprintf(why, LOGIN_TEXT_MAX, "cannot start a process for it");
	r = loop_timer_init(ls->loop, &a->timer, on_time, a);
	if (r < 0)
		return r;
	a->used = true;
	r = start(a, password);
	if (r == 0) {
		loop_timer_set(&a->timer, LOGIN_SECONDS * SECOND, 0);
		return 0;
	}
	if (a->fd >= 0)
		close(a->fd);
	a->fd = -1;
	forget(a);
	return r;
}

int logins_new(struct loop *l, const struct roles_cfg *roles, login_done_fn done,
	       void *arg, login_spawn_fn spawn, void *spawn_arg, struct logins **ret)
{
	struct logins *ls = calloc(1, sizeof(*ls));

	if (!ls)
		return -ENOMEM;
	ls->loop = l;
	ls->roles = roles;
	ls->done = done;
	ls->arg = arg;
	ls->spawn = spawn;
	ls->spawn_arg = spawn_arg;
	ls->limit = (struct log_limit)LOG_LIMIT_INIT;
	*ret = ls;
	return 0;
}

void logins_free(struct logins *ls)
{
	if (!ls)
		return;
	for (size_t i = 0; i < LOGINS_MAX; i++) {
		struct attempt *a = &ls->attempts[i];

		if (!a->used)
			continue;
		loop_fd_del(&a->watch);
		loop_timer_fini(&a->timer);
		if (a->fd >= 0)
			close(a->fd);
	}
	free(ls);
}

const struct login_stats *logins_stats(const struct logins *ls)
{
	return &ls->stats;
}
