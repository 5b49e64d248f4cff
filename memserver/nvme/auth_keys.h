/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file of NVMe hosts: who may use which exports and how it proves who it is.
 *
 *	# NQN and secret of a host; it may use every export, or those listed
 *	host NQN key=DHHC-1:…: [controller=DHHC-1:…:] [exports=NAME[,NAME…]]
 *		[concat=required]
 *
 * With `controller` we prove ourselves to a host that asks; with `concat=required` it has
 * to come over TLS, by a key that its login generates if it has no other (all in one
 * line of the file). A host may have several lines, each for exports of its own, or one
 * with its old and one with its new secret while they are being exchanged. Parsed on the
 * main thread; a table is constant and counted, any thread may have one.
 */
#ifndef MEMSERVER_NVME_AUTH_KEYS_H
#define MEMSERVER_NVME_AUTH_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/dhchap_key.h"
#include "lib/proto/nvme.h"

#define NVME_AUTH_HOSTS_MAX 4096u

struct nvme_auth_host {
	char nqn[NVME_NQN_LEN + 1];
	struct key_text key, controller;
	bool has_controller;
	bool needs_concat; /* must not be served in the clear */
	char *exports;     /* owned: ",a,b,"; NULL: all */
};

struct nvme_auth_keys {
	_Atomic unsigned int refs;
	size_t nr;
	struct nvme_auth_host *hosts; /* owned */
};

/* -EINVAL and *ret_line, *ret_why (static text, no secret); -ENOMEM. A table with one
 * reference. Pure. */
int nvme_auth_keys_parse(const char *text, size_t len, struct nvme_auth_keys **ret,
			 unsigned int *ret_line, const char **ret_why);

struct nvme_auth_keys *nvme_auth_keys_get(struct nvme_auth_keys *k);
void nvme_auth_keys_put(struct nvme_auth_keys *k); /* NULL is fine; wipes the last */

/* The first line of that host for `export` (NULL: any) after `after` (NULL: from the
 * start), or NULL. */
const struct nvme_auth_host *nvme_auth_keys_find(const struct nvme_auth_keys *k,
						 const struct nvme_auth_host *after,
						 const char *nqn, const char *export);

#endif
