/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TLS 1.3 with shared keys on the NVMe/TCP doors (NVMe/TCP Transport 1.0, 3.6.1): the
 * table of hosts and their keys, which may be read anew while it serves, the keys that
 * logins have generated, and the context made of both. A connection begins with its
 * ClientHello or, where that is allowed, in the clear. Any thread unless marked; takes a
 * lock: not on the serving path.
 */
#ifndef MEMSERVER_NVME_TLS_H
#define MEMSERVER_NVME_TLS_H

#include <stdbool.h>
#include <stdint.h>

struct conn;
struct log_limit;
struct nvme_connect_data;
struct nvme_generated_key;
struct nvme_tls;

#define NVME_TLS_HANDSHAKE 0x16 /* the first byte of a ClientHello's record */

struct nvme_tls_cfg {
	const char *path; /* of the file of keys, borrowed for the call; NULL: none */
	bool required;    /* nothing in the clear but logins that generate a key */
	bool concat;      /* there are such */
};

/* Reads the file of keys: 0, or -errno after it has been logged why. Main thread. */
int nvme_tls_new(const struct nvme_tls_cfg *cfg, struct nvme_tls **ret);
void nvme_tls_free(struct nvme_tls *t); /* NULL is fine */

/* The same from text, without a file. -EINVAL. For tests. */
int nvme_tls_new_text(const char *text, bool required, struct nvme_tls **ret);

/* Reads the file again, if there is one. On failure, which is logged, all stays. Who is
 * connected stays so. Main thread. */
int nvme_tls_reload(struct nvme_tls *t);

/* Are queues in the clear refused? Has it a file of keys; do logins generate some? */
bool nvme_tls_is_required(const struct nvme_tls *t);
bool nvme_tls_has_file(const struct nvme_tls *t);
bool nvme_tls_has_concat(const struct nvme_tls *t);

/* A connection's first byte; `can_log_in`: at a door where hosts do. 0: it goes on in the
 * clear; 1: its handshake begins with what has arrived; -EPROTO, told and counted: it is
 * not allowed; -ENOMEM. */
int nvme_tls_begin(struct nvme_tls *t, struct conn *c, uint8_t first, bool can_log_in);

/* May the peer, by the key it has proved to have, be the host and want the subsystem that
 * it says in Connect? Told and counted if not. In the clear anybody may here. */
bool nvme_tls_admits(struct nvme_tls *t, struct conn *c,
		     const struct nvme_connect_data *who);

/* Has the host a key for that export? */
bool nvme_tls_allows(struct nvme_tls *t, const char *hostnqn, const char *export);

/* ---- keys that logins have generated ---- */

/* Takes a copy into the table; `replace`: instead of all that the host has for that
 * subsystem. Counted. */
void nvme_tls_keep(struct nvme_tls *t, const struct nvme_generated_key *key,
		   bool replace);

/* Wipes those that have expired; all, when secrets have changed. */
void nvme_tls_tick(struct nvme_tls *t);
void nvme_tls_forget(struct nvme_tls *t);

/* Is that peer here by such a key? It has logged in then. */
bool nvme_tls_is_generated(const struct conn *c);

struct nvme_tls_counters {
	uint64_t plain; /* refused for beginning in the clear */
	uint64_t
		identity; /* refused at Connect for other names than those of the key */
	uint64_t generated; /* keys by logins */
};
void nvme_tls_counters(struct nvme_tls *t, struct nvme_tls_counters *ret);

#endif
