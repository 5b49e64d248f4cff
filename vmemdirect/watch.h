/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `vmemdirect status --watch`: one VM on the full screen, once a second, with a map of
 * its memory. Runs until q; one thread.
 */
#ifndef VMEMDIRECT_WATCH_H
#define VMEMDIRECT_WATCH_H

struct json_object;

struct watch_source {
	/* Asks the daemon; `req` is taken, *ret the caller's. `error`: CTL_ERROR_MAX. */
	int (*ask)(void *arg, struct json_object *req, struct json_object **ret,
		   char *error);
	void *arg;
};

/* An exit status; the reason of a failure is on standard error. */
int watch_vm(const struct watch_source *source);

#endif
