/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Formatted lines in, one write each out to standard error; any thread. What may fill up
 * (a pipe, a terminal) is opened again for us alone and non-blocking: the descriptor
 * itself is shared with others, who would not like it changed.
 */
#include "lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
	const char *name;
	_Atomic int level;
	_Atomic uint64_t dropped;
	bool journal; /* lines carry "<3>" instead of a time */
	bool is_socket;
	bool may_fill; /* could not be opened again: poll before writing */
	int fd;
} logger = { .name = "remem", .level = LOG_INFO_, .fd = STDERR_FILENO };

static const struct {
	const char *name;
	enum log_level level;
} level_names[] = {
	{ "err", LOG_ERR_ },     { "error", LOG_ERR_ },   { "warning", LOG_WARN_ },
	{ "warn", LOG_WARN_ },   { "notice", LOG_NOTE_ }, { "info", LOG_INFO_ },
	{ "debug", LOG_DEBUG_ },
};

void log_init(const char *name)
{
	struct stat st;

	logger.name = name;
	logger.journal = getenv("JOURNAL_STREAM") != NULL;
	signal(SIGPIPE, SIG_IGN); /* whoever read the log may be gone */
	if (logger.fd != STDERR_FILENO)
		close(logger.fd);
	logger.fd = STDERR_FILENO;
	logger.is_socket = logger.may_fill = false;
	if (fstat(STDERR_FILENO, &st) < 0)
		return;
	logger.is_socket = S_ISSOCK(st.st_mode);
	if (!S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode))
		return;
	logger.fd =
		open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (logger.fd >= 0)
		return;
	logger.fd = STDERR_FILENO;
	logger.may_fill = true;
}

void log_set_level(enum log_level level)
{
	atomic_store(&logger.level, level);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load(&logger.level);
}

int log_level_parse(const char *text, enum log_level *ret_level)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++)
		if (!strcmp(level_names[i].name, text)) {
			*ret_level = level_names[i].level;
			return 0;
		}
	return -EINVAL;
}

const char *log_level_name(enum log_level level)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++)
		if (level_names[i].level == level)
			return level_names[i].name;
	return "?";
}

uint64_t log_dropped(void)
{
	return atomic_load(&logger.dropped);
}

/* False when the line is lost: nothing of the log may stop the caller. */
static bool put(const char *line, size_t len)
{
	struct pollfd p = { .fd = logger.fd, .events = POLLOUT };

	if (logger.is_socket)
		return send(logger.fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL) ==
		       (ssize_t)len;
	if (logger.may_fill && (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT)))
		return false;
	return write(logger.fd, line, len) == (ssize_t)len;
}

static int prefix(char *buf, size_t len, enum log_level level)
{
	struct timespec now;
	struct tm tm;

	if (logger.journal)
		return snprintf(buf, len, "<%d>", level);
	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	return snprintf(buf, len, "%02d:%02d:%02d.%03ld %s: %s%s", tm.tm_hour,
			tm.tm_min, tm.tm_sec, now.tv_nsec / 1000000, logger.name,
			level <= LOG_ERR_    ? "error: "
			: level == LOG_WARN_ ? "warning: "
					     : "",
			"");
}

void log_line(enum log_level level, const char *fmt, ...)
{
	int saved = errno;
	char buf[1024];
	va_list ap;
	int n, m;

	if ((int)level > atomic_load_explicit(&logger.level, memory_order_relaxed))
		return;
	n = prefix(buf, sizeof(buf), level);
	va_start(ap, fmt);
	m = vsnprintf(buf + n, sizeof(buf) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	n += m < 0 ? 0 : m;
	if ((size_t)n > sizeof(buf) - 2)
		n = sizeof(buf) - 2;
	buf[n++] = '\n';
	if (!put(buf, (size_t)n))
		atomic_fetch_add(&logger.dropped, 1);
	errno = saved;
}

#define load(v)     __atomic_load_n(&(v), __ATOMIC_RELAXED)
#define store(v, n) __atomic_store_n(&(v), (n), __ATOMIC_RELAXED)

bool log_limit_ok(struct log_limit *l, unsigned int *ret_held_back)
{
	struct timespec now;
	time_t since = load(l->since);

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (!since || now.tv_sec - since >= (time_t)l->period_s) {
		store(l->since, now.tv_sec);
		store(l->used, 0);
	}
	if (load(l->used) >= l->burst) {
		store(l->held_back, load(l->held_back) + 1);
		return false;
	}
	store(l->used, load(l->used) + 1);
	*ret_held_back = __atomic_exchange_n(&l->held_back, 0, __ATOMIC_RELAXED);
	return true;
}
