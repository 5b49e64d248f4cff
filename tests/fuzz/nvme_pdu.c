/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as an ICReq and as a PDU's header: a frame that fits its PDU, or a fault. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "memserver/nvme/pdu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(int ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct nvme_limits limits = { .capsule = 8192, .h2c = 1 << 20 };
	struct nvme_link link = { .align = 4 };
	struct nvme_fault fault = { 0 };
	struct nvme_frame f;
	uint8_t term[NVME_TERM_MAX];

	if (nvme_pdu_read_icreq(data, len, &link, &fault) == 1)
		check(link.align >= 4 && link.align <= 128 && link.align % 4 == 0);
	if (len < 9)
		return 0;
	link.hdgst = data[0] & 1;
	link.ddgst = data[0] & 2;
	data++;
	len--;
	if (nvme_pdu_read_frame(data, &link, &limits, &f, &fault) < 0) {
		check(fault.why && fault.fes >= 1 && fault.fes <= 6);
		check(nvme_pdu_put_term(term, &fault, data, len) <= sizeof(term));
		return 0;
	}
	check(f.head_len >= data[2] && f.head_len <= 255);
	check(f.data_len <= limits.h2c);
	if (link.hdgst && f.type != NVME_PDU_H2C_TERM && len >= f.head_len)
		nvme_pdu_check_hdgst(data, &fault);
	return 0;
}
