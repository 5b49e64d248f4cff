/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Status objects in, lines of JSON out, at even times. */
#include "vmemdirect/record.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/clock.h"
#include "lib/log.h"

static int write_line(FILE *f, json_object *status, int64_t at_ms)
{
	json_object_object_add(status, "time_s",
			       json_object_new_double((double)at_ms / 1000));
	fprintf(f, "%s\n",
		json_object_to_json_string_ext(status, JSON_C_TO_STRING_PLAIN));
	return fflush(f) == 0 ? 0 : -errno;
}

/* True when one of the signals came instead of the time. */
static bool wait_until(const sigset_t *stop, int64_t at_ms)
{
	int64_t left = at_ms - clock_ms();
	struct timespec t;

	if (left < 0)
		left = 0;
	t.tv_sec = left / 1000;
	t.tv_nsec = left % 1000 * 1000000;
	return sigtimedwait(stop, NULL, &t) > 0;
}

int record_vm(const struct record *r)
{
	bool to_stdout = !strcmp(r->path, "-");
	FILE *f = to_stdout ? stdout : fopen(r->path, "we");
	int64_t began = clock_ms(), next = began;
	json_object *status;
	sigset_t stop;
	int e = f ? 0 : -errno;

	sigemptyset(&stop);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGTERM);
	sigprocmask(SIG_BLOCK, &stop, NULL);
	while (!e) {
		int told = r->status(r->arg, &status);

		if (told && told != -EAGAIN)
			break;
		if (!told) {
			e = write_line(f, status, clock_ms() - began);
			json_object_put(status);
		}
		next += r->every_ms;
		if (wait_until(&stop, next))
			break;
	}
	if (f && !to_stdout && fclose(f) != 0 && !e)
		e = -errno;
	if (e)
		log_err("%s: %s", r->path, strerror(-e));
	return e;
}
