/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What monitoring reads: Prometheus text at /metrics, and /healthz, over HTTP on a
 * thread of its own (lib/httpd.h). It only looks, under the locks of what it looks at.
 */
#ifndef MEMSERVER_METRICS_H
#define MEMSERVER_METRICS_H

#include <stddef.h>

struct server;

/* Takes the port of cfg.metrics unless it is off. Says why not, and returns -errno. */
int metrics_listen(struct server *s);

/* Serves there, if it was taken. Call when the server is whole; its parts must outlive metrics_stop. Main thread. */
int metrics_start(struct server *s);
void metrics_stop(struct server *s); /* fine when not started */

/* All metrics as text; the caller frees it. NULL: no memory. Any thread. */
char *metrics_text(struct server *s, size_t *ret_len);

#endif
