/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The asking end of a control socket (lib/ctl.h says what is spoken): blocking calls
 * with a time-out, one thread per client.
 */
#ifndef LIB_CTL_CLIENT_H
#define LIB_CTL_CLIENT_H

#include "lib/ctl.h"

struct ctl_client;

#define CTL_ERROR_MAX 512

/*
 * Connects to the daemon `name` at `path`. On failure `error` (CTL_ERROR_MAX bytes) is
 * a line for the user that names the socket; where nobody listens it ends with `how`,
 * the way to start it. `timeout_ms` holds for the connection and for each call.
 */
int ctl_client_open(const char *path, const char *name, const char *how, int timeout_ms,
		    struct ctl_client **ret, char *error);
/*
 * The same over TLS: `where` is HOST, HOST:PORT, ADDR or [V6]:PORT, without a port
 * `default_port`; the server must show a certificate for HOST that `ca` (path; NULL: the
 * system) vouches for. To be followed by a login.
 */
int ctl_client_open_tls(const char *where, const char *default_port, const char *ca,
			int timeout_ms, struct ctl_client **ret, char *error);
void ctl_client_close(struct ctl_client *c); /* NULL is fine */

/*
 * Sends `req` (borrowed) and waits for the answer. 0: *ret_result is owned by the
 * caller (NULL for null). -errno: the server's refusal or a broken connection, said in
 * `error`; only after a refusal may the client be used again.
 */
int ctl_client_call(struct ctl_client *c, struct json_object *req,
		    struct json_object **ret_result, char *error);

#endif
