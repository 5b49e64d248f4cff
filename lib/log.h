/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One line per event on standard error, prefixed "<3>" for the journal when it is
 * one (JOURNAL_STREAM set), else with the time. The function that decides logs
 * once; callees return. Each program wraps these in macros that carry identity
 * (conn_warn(c, ...), vm_err(g, ...)).
 *
 * Never blocks: a pipe, socket or terminal is written non-blockingly, and a line that
 * does not fit, or that nobody reads any more, is counted and dropped. Any thread; does
 * not allocate.
 */
#ifndef LIB_LOG_H
#define LIB_LOG_H

#include <stdint.h>
#include <time.h>

/* Levels are syslog's. */
enum log_level {
	LOG_ERR_ = 3,
	LOG_WARN_ = 4,
	LOG_NOTE_ = 5,
	LOG_INFO_ = 6,
	LOG_DEBUG_ = 7
};

/* Call once, before threads: `name` (borrowed for ever) is the program, a daemon: it
 * ignores SIGPIPE from now on. */
void log_init(const char *name);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* "err", "warning", "notice", "info", "debug"; -EINVAL for anything else. */
int log_level_parse(const char *text, enum log_level *ret_level);
const char *log_level_name(enum log_level level);

/* Lines lost because nobody read standard error. */
uint64_t log_dropped(void);

void log_line(enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#define log_err(...)   log_line(LOG_ERR_, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN_, __VA_ARGS__)
#define log_note(...)  log_line(LOG_NOTE_, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO_, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG_, __VA_ARGS__)

/*
 * A budget for what a peer can provoke: at most `burst` lines per `period_s`
 * seconds; what was held back is told with the next line let through. One thread
 * at a time may lose a count, never crash.
 */
struct log_limit {
	unsigned int burst, period_s;
	time_t since;
	unsigned int used, held_back;
};

#define LOG_LIMIT_INIT                      \
	{                                   \
		.burst = 10, .period_s = 10 \
	}

/* True when the line may be written; tells how many were held back before it. */
_Bool log_limit_ok(struct log_limit *l, unsigned int *ret_held_back);

#endif
