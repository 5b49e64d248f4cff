/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys for TLS that logins have generated (secure channel concatenation; NVMe Base 2.1,
 * 8.3.4.5.9; NVMe/TCP Transport 1.1, 3.6.1). A key is one host's for one subsystem, lives
 * ten minutes, which is for setting up queues and not for how long these last, and is
 * found by its whole identity. There is room for so many: the oldest makes it. What goes
 * is wiped. Any thread; a lock that is held for moments; only _new and _make allocate.
 */
#ifndef MEMSERVER_NVME_GENERATED_H
#define MEMSERVER_NVME_GENERATED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/nvme_psk.h"

#define NVME_GENERATED_MAX     256u /* keys at a time */
#define NVME_GENERATED_EACH    4u /* of them, of one host for one subsystem: its paths */
#define NVME_GENERATED_LIFE_NS UINT64_C(600000000000)

struct nvme_generated_key {
	struct nvme_psk_id id;
	uint8_t tls_key[HKDF_MAX];
};

/*
 * The key of a login by `hash` (1 SHA-256, 2 SHA-384) with session key and challenges as
 * for nvme_psk_generate. The names end within NVME_PSK_NQN_MAX + 1 bytes. -ENOMEM.
 */
int nvme_generated_make(uint8_t hash, const uint8_t *ks, const uint8_t *c1,
			const uint8_t *c2, const char *hostnqn, const char *subnqn,
			struct nvme_generated_key *ret);

struct nvme_generated;

/* With one reference. -ENOMEM. */
int nvme_generated_new(struct nvme_generated **ret);
struct nvme_generated *nvme_generated_get(struct nvme_generated *g);
void nvme_generated_put(struct nvme_generated *g); /* NULL is fine; wipes the last */

/* Keeps a copy; with `replace` it is the only one of that host for that subsystem. */
void nvme_generated_add(struct nvme_generated *g, const struct nvme_generated_key *key,
			bool replace, uint64_t now_ns);

/* The TLS key that goes by that identity to `ret`, hkdf_len bytes. -ENOENT. */
int nvme_generated_find(struct nvme_generated *g, const struct nvme_psk_id *id,
			uint64_t now_ns, uint8_t *ret);

/* Wipes those whose time is over; UINT64_MAX: all. */
void nvme_generated_sweep(struct nvme_generated *g, uint64_t now_ns);

#endif
