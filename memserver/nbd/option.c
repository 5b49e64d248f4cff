/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Option bytes in, views out. Pure. */
#include "memserver/nbd/option.h"

#include <errno.h>

#include "lib/be.h"
#include "lib/proto/nbd.h"

/* A 32-bit length and that many bytes; returns what is used, or -EPROTO. */
static ssize_t get_text(const uint8_t *p, size_t len, struct nbd_text *ret)
{
	uint32_t n;

	if (len < 4)
		return -EPROTO;
	n = be_get32(p);
	if (n > NBD_MAX_STRING || n > len - 4)
		return -EPROTO;
	ret->text = (const char *)p + 4;
	ret->len = n;
	return (ssize_t)n + 4;
}

int nbd_option_info(const uint8_t *data, size_t len, struct nbd_opt_info *ret)
{
	struct nbd_opt_info info;
	ssize_t used = get_text(data, len, &info.name);

	if (used < 0)
		return (int)used;
	data += used;
	len -= (size_t)used;
	if (len < 2)
		return -EPROTO;
	info.nr_requests = be_get16(data);
	info.requests = data + 2;
	if (len - 2 != (size_t)info.nr_requests * 2)
		return -EPROTO;
	*ret = info;
	return 0;
}

uint16_t nbd_option_request(const struct nbd_opt_info *info, uint16_t i)
{
	return be_get16(info->requests + 2 * (size_t)i);
}

int nbd_option_query(const struct nbd_opt_meta *m, const uint8_t **at,
		     struct nbd_text *ret)
{
	size_t left = m->queries_len - (size_t)(*at - m->queries);
	ssize_t used = get_text(*at, left, ret);

	if (used < 0)
		return (int)used;
	*at += used;
	return 0;
}

int nbd_option_meta(const uint8_t *data, size_t len, struct nbd_opt_meta *ret)
{
	struct nbd_opt_meta m;
	struct nbd_text query;
	const uint8_t *at;
	ssize_t used = get_text(data, len, &m.name);

	if (used < 0)
		return (int)used;
	data += used;
	len -= (size_t)used;
	if (len < 4)
		return -EPROTO;
	m.nr_queries = be_get32(data);
	m.queries = at = data + 4;
	m.queries_len = len - 4;
	for (uint32_t i = 0; i < m.nr_queries; i++) {
		int r = nbd_option_query(&m, &at, &query);

		if (r < 0)
			return r;
	}
	if (at != m.queries + m.queries_len)
		return -EPROTO;
	*ret = m;
	return 0;
}
