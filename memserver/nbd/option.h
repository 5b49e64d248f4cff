/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The data of NBD options, taken apart. Pure: bytes in, views into them out; no I/O,
 * no allocation, any thread. -EPROTO: the data does not have the form doc/proto.md
 * gives it.
 */
#ifndef MEMSERVER_NBD_OPTION_H
#define MEMSERVER_NBD_OPTION_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A piece of the option's data, not terminated. */
struct nbd_text {
	const char *text;
	uint32_t len;
};

/* NBD_OPT_INFO and NBD_OPT_GO: a name and 16-bit information requests. */
struct nbd_opt_info {
	struct nbd_text name;
	uint16_t nr_requests;
	const uint8_t *requests; /* big-endian, unaligned */
};

int nbd_option_info(const uint8_t *data, size_t len, struct nbd_opt_info *ret);

/* The i-th request; i < nr_requests. */
uint16_t nbd_option_request(const struct nbd_opt_info *info, uint16_t i);

/* NBD_OPT_LIST_META_CONTEXT and SET: a name and queries. */
struct nbd_opt_meta {
	struct nbd_text name;
	uint32_t nr_queries;
	const uint8_t *queries; /* the first query; walk with nbd_option_query */
	size_t queries_len;
};

int nbd_option_meta(const uint8_t *data, size_t len, struct nbd_opt_meta *ret);

/*
 * The next query at *at (start with m->queries); moves *at on. -EPROTO when it runs
 * out of the data, but nbd_option_meta has already checked them all.
 */
int nbd_option_query(const struct nbd_opt_meta *m, const uint8_t **at,
		     struct nbd_text *ret);

#endif
