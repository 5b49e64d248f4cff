/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Formatted lines in, one write(2) each out to standard error; any thread. */
#include "lib/log.h"

#include <errno.h>
#include <poll.h>
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
	bool journal;  /* lines carry "<3>" instead of a time */
	bool may_fill; /* a pipe or socket: poll before writing */
} logger = { .name = "remem", .level = LOG_INFO_ };

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
	logger.may_fill = !fstat(STDERR_FILENO, &st) &&
			  (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
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

/* A full pipe must not stop the caller: look first, drop the line if it is full. */
static bool can_write(void)
{
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };

	return !logger.may_fill || (poll(&p, 1, 0) == 1 && (p.revents & POLLOUT));
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
	if (!can_write() || write(STDERR_FILENO, buf, (size_t)n) != n)
		atomic_fetch_add(&logger.dropped, 1);
	errno = saved;
}

bool log_limit_ok(struct log_limit *l, unsigned int *ret_held_back)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (!l->since || now.tv_sec - l->since >= (time_t)l->period_s) {
		l->since = now.tv_sec;
		l->used = 0;
	}
	if (l->used >= l->burst) {
		l->held_back++;
		return false;
	}
	l->used++;
	*ret_held_back = l->held_back;
	l->held_back = 0;
	return true;
}
