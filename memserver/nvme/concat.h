/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Secure channel concatenation (NVMe Base 2.1, 8.3.4.3 and 8.3.4.4.1): a login on an
 * admin queue in the clear generates a key for TLS, the host ends that connection and
 * comes back over TLS with the key, on all its queues, and is not asked to log in again.
 * Here is who may, must or can't. On the queue's worker.
 */
#ifndef MEMSERVER_NVME_CONCAT_H
#define MEMSERVER_NVME_CONCAT_H

#include <stdbool.h>
#include <stdint.h>

struct export;
struct nvme_connect_data;
struct nvme_generated_key;
struct nvme_queue;

/* Must a host that connects in the clear concatenate before it is served? False where
 * nobody can. */
bool nvme_concat_is_due(struct nvme_queue *q, const struct nvme_connect_data *who,
			const struct export *e);

/* May the host ask for this by SC_C here and now? 0, or the explanation of an
 * AUTH_Failure1 and *ret_why. */
uint8_t nvme_concat_check(const struct nvme_queue *q, uint8_t sc_c,
			  const char **ret_why);

/* The login has succeeded that generated `key`. True: it was a new one, and the
 * connection carries nothing else from here on. */
bool nvme_concat_done(struct nvme_queue *q, uint8_t sc_c,
		      const struct nvme_generated_key *key);

#endif
