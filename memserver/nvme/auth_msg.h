/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Authentication messages as pure functions: what a host sent in, a struct or the
 * explanation of an AUTH_Failure1 out (enum nvme_auth_explanation); and structs in,
 * bytes out. No I/O, no allocation, any thread. NVMe Base 2.0, 8.13.5.
 */
#ifndef MEMSERVER_NVME_AUTH_MSG_H
#define MEMSERVER_NVME_AUTH_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/proto/nvme.h"

/* No message is longer: a challenge or reply of ffdhe8192 and SHA-512. */
#define NVME_AUTH_MSG_MAX 4096u

/* What all have; 0 or NVME_AUTH_BAD_PAYLOAD: too short to be one. */
uint8_t nvme_auth_read_hdr(const uint8_t *p, size_t len, struct nvme_auth_hdr *ret);

/* Hashes and groups we would take, best first, and whether logins generate keys for TLS
 * (secure channel concatenation), or in the clear must. */
struct nvme_auth_prefs {
	uint8_t hashes[3], groups[6];
	uint8_t nr_hashes, nr_groups;
	bool concat, concat_required;
};

/* What was chosen of a Negotiate. */
struct nvme_auth_choice {
	uint8_t sc_c, hash, group;
};

/* Chooses hash and group of a Negotiate: for a key those that can make one, SHA-256 or
 * SHA-384 and a DH group. 0 or the explanation. */
uint8_t nvme_auth_read_negotiate(const uint8_t *p, size_t len,
				 const struct nvme_auth_prefs *prefs,
				 struct nvme_auth_choice *ret);
bool nvme_auth_makes_key(uint8_t hash, uint8_t group);

/* A Reply; the pointers lead into the message. */
struct nvme_auth_answer {
	const uint8_t *response, *challenge; /* hl bytes; challenge NULL: none */
	const uint8_t *value;                /* of DH */
	uint32_t seqnum;
};

/* `hl` and `dhvlen` are what was agreed on, in bytes. With `concat` there must be a
 * challenge; its number may be 0. */
uint8_t nvme_auth_read_reply(const uint8_t *p, size_t len, size_t hl, size_t dhvlen,
			     bool concat, struct nvme_auth_answer *ret);
uint8_t nvme_auth_read_success2(const uint8_t *p, size_t len);

/* The explanation in a Failure2; 0: it is malformed. */
uint8_t nvme_auth_read_failure2(const uint8_t *p, size_t len);

/* Each writes one message to `out` (NVME_AUTH_MSG_MAX bytes) and returns its length. */
uint32_t nvme_auth_put_challenge(uint8_t *out, uint16_t t_id, uint8_t hash,
				 const uint8_t *challenge, size_t hl, uint8_t group,
				 const uint8_t *value, size_t dhvlen, uint32_t seqnum);
uint32_t nvme_auth_put_success1(uint8_t *out, uint16_t t_id, size_t hl,
				const uint8_t *response); /* NULL: none */
uint32_t nvme_auth_put_failure1(uint8_t *out, uint16_t t_id, uint8_t explanation);

/* For logs. */
const char *nvme_auth_explain(uint8_t explanation);

#endif
