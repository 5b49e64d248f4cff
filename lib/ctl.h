/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is said on a control socket: lines of JSON. A client sends one object,
 * {"cmd":"resize","name":"swap0","size":"4G"}, and gets one,
 * {"ok":true,"result":…} or {"ok":false,"error":"text","errno":28}. Then it may send
 * the next. ctl_server.h and ctl_client.h are the two ends of it.
 *
 * Parsing here is pure: bytes in, a JSON object or a reason out. It allocates (json-c):
 * control planes only. Any thread.
 */
#ifndef LIB_CTL_H
#define LIB_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_object;

/* Without the newline. A longer request ends the connection, after an error reply. */
#define CTL_REQUEST_MAX (64u << 10)
#define CTL_REPLY_MAX   (4u << 20)
#define CTL_DEPTH_MAX   16 /* of nested arrays and objects */

/*
 * Reads one line (without its newline) as a request. *ret_req is owned by the caller
 * (json_object_put), *ret_cmd borrowed from it. -EPROTO: *ret_why (static) says what is
 * wrong with it.
 */
int ctl_parse_request(const char *line, size_t len, struct json_object **ret_req,
		      const char **ret_cmd, const char **ret_why);

/*
 * Reads one line as a reply. 0: *ret_result is the result (owned by the caller, may be
 * NULL: JSON null). -EPROTO: not a reply. Any other -errno: the server's refusal, and
 * its text is in `error`, cut to fit.
 */
int ctl_parse_reply(const char *line, size_t len, struct json_object **ret_result,
		    char *error, size_t error_len);

/*
 * Arguments of a request. -ENOENT: absent (or null); -EINVAL: of another type, out of
 * range, or a text with a NUL inside. Sizes are numbers of bytes or text ("4G").
 */
int ctl_arg_string(struct json_object *req, const char *key, const char **ret);
int ctl_arg_size(struct json_object *req, const char *key, uint64_t *ret);
int ctl_arg_u64(struct json_object *req, const char *key, uint64_t *ret);
int ctl_arg_bool(struct json_object *req, const char *key, bool *ret);

/*
 * The socket a program uses unless told otherwise: /run/PROGRAM/control for root,
 * else $XDG_RUNTIME_DIR/PROGRAM/control, else /tmp/PROGRAM-UID/control.
 */
void ctl_default_path(const char *program, char *buf, size_t len);

#endif
