/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as the data of an NBD option: views inside of them or -EPROTO, no crash. */
#include <stdlib.h>

#include "memserver/nbd/option.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Every byte a view promises can be read and lies in the data. */
static void touch(const uint8_t *data, size_t len, struct nbd_text t)
{
	const uint8_t *p = (const uint8_t *)t.text;

	if (p < data || t.len > len || (size_t)(p - data) > len - t.len)
		abort();
	for (uint32_t i = 0; i < t.len; i++)
		(void)((const volatile uint8_t *)p)[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct nbd_opt_info info;
	struct nbd_opt_meta m;

	if (!nbd_option_info(data, len, &info)) {
		touch(data, len, info.name);
		for (uint16_t i = 0; i < info.nr_requests; i++)
			nbd_option_request(&info, i);
	}
	if (!nbd_option_meta(data, len, &m)) {
		const uint8_t *at = m.queries;
		struct nbd_text query;

		touch(data, len, m.name);
		for (uint32_t i = 0; i < m.nr_queries; i++) {
			if (nbd_option_query(&m, &at, &query) < 0)
				abort(); /* all were checked */
			touch(data, len, query);
		}
		if (at != data + len)
			abort();
	}
	return 0;
}
