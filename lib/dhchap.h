/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The arithmetic of DH-HMAC-CHAP (NVMe Base 2.0, 8.13.5) by OpenSSL. Stateless but for
 * a DH key pair; any thread, but not on the serving path: it allocates, and a DH
 * operation takes milliseconds.
 */
#ifndef LIB_DHCHAP_H
#define LIB_DHCHAP_H

#include <stddef.h>
#include <stdint.h>

#include "lib/dhchap_key.h"
#include "lib/proto/nvme.h"

#define DHCHAP_HASHES 3u /* 1 SHA-256, 2 SHA-384, 3 SHA-512 */
#define DHCHAP_GROUPS 6u /* 0 null, 1 ffdhe2048 .. 5 ffdhe8192 */

/* Bytes of a digest of `hash`; 0: there is no such hash. */
size_t dhchap_hash_len(uint8_t hash);

/* Bytes of a DH value of `group`; 0 for null and for what is no group. */
size_t dhchap_group_len(uint8_t group);

/* "sha256", "ffdhe2048", "null"; NULL: no such number. And back: -EINVAL. */
const char *dhchap_hash_name(uint8_t hash);
const char *dhchap_group_name(uint8_t group);
int dhchap_hash_find(const char *name, size_t len, uint8_t *ret);
int dhchap_group_find(const char *name, size_t len, uint8_t *ret);

/* What one side is to prove, and about what. */
struct dhchap_claim {
	uint8_t hash;             /* negotiated */
	const uint8_t *challenge; /* dhchap_hash_len(hash) bytes, augmented */
	uint32_t seqnum;
	uint16_t t_id;
	uint8_t sc_c;
	const char *role;          /* "HostHost" or "Controller" */
	const char *prover, *peer; /* NQNs */
};

/*
 * The response to a challenge by who has `key`: dhchap_hash_len bytes to `out`. The key
 * is transformed by its own hash with the prover's NQN first. 0 or -EIO: OpenSSL failed.
 */
int dhchap_respond(const struct key_text *key, const struct dhchap_claim *claim,
		   uint8_t *out);

/* A challenge into the augmented one: `ks` is the session key, dhchap_hash_len bytes.
 * `out` may be `challenge`. 0 or -EIO. */
int dhchap_augment(uint8_t hash, const uint8_t *ks, const uint8_t *challenge,
		   uint8_t *out);

struct dhchap_dh; /* an ephemeral key pair */

/* A new pair; its public value, dhchap_group_len bytes, to `value`. 0, -EIO. */
int dhchap_dh_new(uint8_t group, struct dhchap_dh **ret, uint8_t *value);
void dhchap_dh_free(struct dhchap_dh *dh); /* NULL is fine */

/*
 * The session key: the hash of the shared secret with the peer's value of `len` bytes,
 * dhchap_hash_len bytes to `ks`. -EPROTO: no value of that group (0, 1, p - 1 and
 * beyond); -EIO.
 */
int dhchap_dh_session(struct dhchap_dh *dh, uint8_t hash, const uint8_t *value,
		      size_t len, uint8_t *ks);

/* `len` random bytes for a challenge. 0 or -EIO. */
int dhchap_random(void *out, size_t len);

#endif
