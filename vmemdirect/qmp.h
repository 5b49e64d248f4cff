/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client of QEMU's machine protocol over its unix socket (QEMU's docs/interop/
 * qmp-spec): capabilities, one command at a time, events dropped. One thread at a time
 * for each struct; every call waits, at most five seconds: never from the event loop.
 *
 * libvirt keeps a domain's monitor to itself; it passes commands on: the path
 * "virsh:DOMAIN" runs `virsh qemu-monitor-command` for each.
 *
 * -ECONNREFUSED, -ENOENT: nobody listens; -ETIMEDOUT: no answer (another client holds
 * the monitor: QEMU serves one at a time); -EPROTO: not QMP; -EREMOTEIO: QEMU answered
 * with an error, qmp_why tells which.
 */
#ifndef VMEMDIRECT_QMP_H
#define VMEMDIRECT_QMP_H

#include <json-c/json.h>
#include <sys/types.h>

struct qmp;

#define QMP_VIRSH "virsh:"

int qmp_open(const char *path, struct qmp **ret);
void qmp_close(struct qmp *q); /* NULL is fine */

/* Who listens: the process behind the socket, or the one in libvirt's pid file. */
int qmp_peer_pid(const struct qmp *q, pid_t *ret_pid);

/* `arguments` (may be NULL) is taken. *ret (may be NULL) is the "return" member, owned
 * by the caller: json_object_put. */
int qmp_command(struct qmp *q, const char *name, json_object *arguments,
		json_object **ret);

/* Text of the last error QEMU answered with; borrowed until the next command. */
const char *qmp_why(const struct qmp *q);

/* One command on a connection of its own; `what` could not be done, for the log, or
 * NULL: stay silent. */
int qmp_once(const char *path, const char *command, json_object *arguments,
	     json_object **ret, const char *what);

/* The "status" that a query (query-status, query-migrate) answers; "" for none. */
void qmp_status(const char *path, const char *query, char *ret, size_t len);

#endif
