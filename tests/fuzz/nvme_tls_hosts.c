/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as a file of NVMe hosts and their keys for TLS: keys that are found, or a reason. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "memserver/nvme/tls_keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(int ok)
{
	if (!ok)
		abort();
}

static void check_host(const struct nvme_tls_keys *k, const struct nvme_tls_host *h)
{
	struct nvme_psk_id id = { .version = 0, .type = 'R' };
	uint8_t key[HKDF_MAX];

	check(strlen(h->nqn) >= 5 && strlen(h->nqn) <= NVME_NQN_LEN);
	check(nvme_tls_keys_allow(k, h->nqn, NULL));
	check(!h->exports || (h->exports[0] == ',' && strlen(h->exports) >= 3));
	strcpy(id.hostnqn, h->nqn);
	strcpy(id.subnqn, NVME_DISCOVERY_NQN);
	id.hash = h->retained[0].hash;
	check(nvme_tls_keys_find(k, &id, 0, key) == 0);
	id.type = 'G';
	check(nvme_tls_keys_find(k, &id, 0, key) == -ENOENT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct nvme_tls_keys *k = NULL;
	unsigned int line;
	const char *why = NULL;
	int r = nvme_tls_keys_parse((const char *)data, len, &k, &line, &why);

	if (r < 0) {
		check(r == -EINVAL && why && !k);
		return 0;
	}
	check(k->nr >= 1 && k->nr <= NVME_TLS_HOSTS_MAX);
	for (size_t i = 0; i < k->nr && i < 4; i++)
		check_host(k, &k->hosts[i]);
	nvme_tls_keys_put(k);
	return 0;
}
