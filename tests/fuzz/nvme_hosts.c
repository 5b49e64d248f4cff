/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as a file of NVMe hosts: a table whose lines are found, or a reason. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "memserver/nvme/auth_keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(int ok)
{
	if (!ok)
		abort();
}

static void check_host(const struct nvme_auth_keys *k, const struct nvme_auth_host *h)
{
	size_t n = strlen(h->nqn);

	check(n >= 5 && n <= NVME_NQN_LEN);
	check(h->key.hash <= 3 && h->key.len >= 32 && h->key.len <= DHCHAP_KEY_MAX);
	check(nvme_auth_keys_find(k, NULL, h->nqn, NULL) != NULL);
	check(!h->exports || (h->exports[0] == ',' && strlen(h->exports) >= 3));
	if (!h->exports)
		check(nvme_auth_keys_find(k, NULL, h->nqn, "any") != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct nvme_auth_keys *k = NULL;
	unsigned int line;
	const char *why = NULL;
	int r = nvme_auth_keys_parse((const char *)data, len, &k, &line, &why);

	if (r < 0) {
		check(r == -EINVAL && why && !k);
		return 0;
	}
	check(k->nr >= 1 && k->nr <= NVME_AUTH_HOSTS_MAX);
	for (size_t i = 0; i < k->nr; i++)
		check_host(k, &k->hosts[i]);
	check(!nvme_auth_keys_find(k, NULL, "nqn.", NULL));
	nvme_auth_keys_put(k);
	return 0;
}
