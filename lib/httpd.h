/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What monitoring reads, over HTTP by libmicrohttpd: a text at /metrics, and a sign of
 * life at /healthz. A client that is slow or sends nonsense holds one of few places,
 * and the oldest makes room; nobody is kept out.
 *
 * With a thread of its own the callbacks run there; without one, in httpd_run on the
 * caller's.
 */
#ifndef LIB_HTTPD_H
#define LIB_HTTPD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "lib/addr.h"

struct httpd;

struct httpd_cfg {
	struct addr addr;
	bool own_thread;
	/* The body of /metrics, which is freed with free(3); NULL: no memory. */
	char *(*text)(void *arg, size_t *ret_len);
	/* May this peer ask? NULL: any may. */
	bool (*allows)(void *arg, const struct sockaddr *sa);
	void *arg; /* borrowed until httpd_stop */
};

/* -EADDRINUSE and the like of bind(2), said in words; main thread. */
int httpd_start(const struct httpd_cfg *cfg, struct httpd **ret);

/* The same in two steps, for who gives up the right to the port between them: the first
 * takes the port, the second serves. */
int httpd_listen(const struct httpd_cfg *cfg, struct httpd **ret);
int httpd_serve(struct httpd *h);

void httpd_stop(struct httpd *h); /* in any state; NULL is fine */

/* Without a thread of its own: an epoll descriptor; when it is readable, and once in
 * a few seconds for time-outs, call httpd_run. */
int httpd_fd(const struct httpd *h);
void httpd_run(struct httpd *h);

#endif
