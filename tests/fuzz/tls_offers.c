/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as a ClientHello's list of shared keys: offers that lie within it, or none. */
#include <errno.h>
#include <stdlib.h>

#include "lib/tls_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_within(const uint8_t *p, size_t n, const uint8_t *data, size_t len)
{
	if (!n || p < data || n > len || (size_t)(p - data) > len - n)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct tls_offer offers[TLS_OFFERS];
	size_t binders_len = 0;
	int nr = tls_offers_parse(data, len, offers, &binders_len);

	if (nr < 0) {
		if (nr != -EPROTO)
			abort();
		return 0;
	}
	if (!nr || nr > TLS_OFFERS || binders_len > len)
		abort();
	for (int i = 0; i < nr; i++) {
		check_within(offers[i].id, offers[i].id_len, data, len - binders_len);
		check_within(offers[i].binder, offers[i].binder_len,
			     data + len - binders_len, binders_len);
	}
	return 0;
}
