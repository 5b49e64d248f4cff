/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as the two ends of a device that is to be swapped on. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/swap_area.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	size_t head_len = 4096 + len / 4096 * 4096;
	uint8_t *head = calloc(1, head_len);
	struct swap_area a;

	if (head_len > SWAP_AREA_LOOK)
		head_len = SWAP_AREA_LOOK;
	memcpy(head, data, len < head_len ? len : head_len);
	swap_area_probe(head, head_len, head, head_len, 4096, 1 << 30, &a);
	assert(a.kind != SWAP_AREA_FOREIGN || a.what);
	if (a.kind != SWAP_AREA_FOREIGN) {
		assert(!swap_area_format(head, 4096, 1 << 30, a.uuid, a.label));
		swap_area_own(head, a.owned ? &a.owner : NULL);
		swap_area_probe(head, head_len, head, head_len, 4096, 1 << 30, &a);
		assert(a.kind == SWAP_AREA_SWAP);
	}
	free(head);
	return 0;
}
