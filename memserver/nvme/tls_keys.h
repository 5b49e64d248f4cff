/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file of NVMe hosts and their keys for TLS:
 *
 *	# NQN and configured key of a host; it may use every export, or those listed
 *	host NQN key=NVMeTLSkey-1:…: [exports=NAME[,NAME…]]
 *
 * A host may have several lines, each for exports of its own, or one with its old and one
 * with its new key while they are being exchanged. Only retained keys are kept. Parsed on
 * the main thread; a table is constant and counted, any thread may have one.
 */
#ifndef MEMSERVER_NVME_TLS_KEYS_H
#define MEMSERVER_NVME_TLS_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/nvme_psk.h"
#include "lib/proto/nvme.h"

#define NVME_TLS_HOSTS_MAX 4096u

struct nvme_tls_host {
	char nqn[NVME_NQN_LEN + 1];
	struct nvme_psk retained[NVME_PSK_WAYS];
	bool has_key;
	char *exports; /* owned: ",a,b,"; NULL: all */
};

struct nvme_tls_keys {
	_Atomic unsigned int refs;
	size_t nr;
	struct nvme_tls_host *hosts; /* owned */
};

/* -EINVAL and *ret_line, *ret_why (static text, no secret); -ENOMEM. A table with one
 * reference. */
int nvme_tls_keys_parse(const char *text, size_t len, struct nvme_tls_keys **ret,
			unsigned int *ret_line, const char **ret_why);

struct nvme_tls_keys *nvme_tls_keys_get(struct nvme_tls_keys *k);
void nvme_tls_keys_put(struct nvme_tls_keys *k); /* NULL is fine; wipes the last */

/* May that host use `export` (NULL: any at all)? */
bool nvme_tls_keys_allow(const struct nvme_tls_keys *k, const char *nqn,
			 const char *export);

/* The `nth` TLS key, from 0 on, that a peer's identity may stand for; `ret` has HKDF_MAX
 * bytes. -ENOENT: there are no more. */
int nvme_tls_keys_find(const struct nvme_tls_keys *k, const struct nvme_psk_id *id,
		       unsigned int nth, uint8_t *ret);

#endif
