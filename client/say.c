/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Formatted lines in, standard error out. Main thread. */
#include "client/say.h"

#include <stdarg.h>
#include <stdio.h>

static bool verbose;

void say_verbose(bool on)
{
	verbose = on;
}

static void line(const char *prefix, const char *fmt, va_list ap)
{
	char buf[2048];

	vsnprintf(buf, sizeof(buf), fmt, ap);
	fprintf(stderr, "%s%s\n", prefix, buf);
}

void say_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line("memswap: ", fmt, ap);
	va_end(ap);
}

void say_warning(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line("memswap: warning: ", fmt, ap);
	va_end(ap);
}

void say_step(const char *fmt, ...)
{
	va_list ap;

	if (!verbose)
		return;
	va_start(ap, fmt);
	line("memswap: ", fmt, ap);
	va_end(ap);
}
