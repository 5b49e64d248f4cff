/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as a peer's name of an NVMe TLS key: parts that make up the same bytes, or none. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/nvme_psk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char text[NVME_PSK_ID_MAX + 2];
	struct nvme_psk_id id;
	int r = nvme_psk_id_parse(data, len, &id);

	if (r == -EPROTO)
		return 0;
	if (r || id.version > 1)
		abort();
	r = snprintf(text, sizeof(text), "NVMe%u%c%02u %s %s%s%s", id.version, id.type,
		     (unsigned int)id.hash, id.hostnqn, id.subnqn,
		     id.version ? " " : "", id.digest);
	if (r < 0 || (size_t)r != len || memcmp(text, data, len))
		abort();
	return 0;
}
