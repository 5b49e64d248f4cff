/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How memswap talks to the person who typed it: answers on standard output, troubles
 * on standard error as "memswap: what happened; what to do about it". The function
 * that decides says it once; callees return. Main thread.
 */
#ifndef CLIENT_SAY_H
#define CLIENT_SAY_H

#include <stdbool.h>

/* -v: say_step prints. */
void say_verbose(bool on);

/* "memswap: ..." on standard error. */
void say_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void say_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Progress, on standard error, only with -v. */
void say_step(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
