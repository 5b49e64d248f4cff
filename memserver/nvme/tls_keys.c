/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file's text in, a table of hosts and their keys out; an identity in, keys out. */
#include "memserver/nvme/tls_keys.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "memserver/nvme/host_line.h"

static int bad(const char **ret_why, const char *why)
{
	*ret_why = why;
	return -EINVAL;
}

/* ---- the file ---- */

static int take_key(struct nvme_tls_host *h, const char *text, size_t len,
		    const char **ret_why)
{
	struct key_text key;
	int r = nvme_psk_parse(text, len, &key, ret_why);

	for (int way = 0; way < NVME_PSK_WAYS && !r; way++)
		r = nvme_psk_retain(&key, h->nqn, (enum nvme_psk_way)way,
				    &h->retained[way]);
	explicit_bzero(&key, sizeof(key));
	h->has_key = !r;
	return r;
}

static int take_setting(struct nvme_tls_host *h, const char *word, size_t len,
			const char **ret_why)
{
	if (len > 4 && !memcmp(word, "key=", 4) && !h->has_key)
		return take_key(h, word + 4, len - 4, ret_why);
	if (len > 8 && !memcmp(word, "exports=", 8) && !h->exports)
		return host_line_exports(word + 8, len - 8, &h->exports, ret_why);
	return bad(ret_why, "a line is 'host NQN key=KEY [exports=NAME,…]', each at "
			    "most once");
}

static int parse_host(const char *at, const char *end, struct nvme_tls_host *h,
		      const char **ret_why)
{
	int r = host_line_begin(&at, end, h->nqn, ret_why);
	const char *word;
	size_t len;

	while (!r && (len = host_line_word(&at, end, &word)) != 0)
		r = take_setting(h, word, len, ret_why);
	return r || h->has_key ? r : bad(ret_why, "the host has no key=");
}

static int take_line(void *arg, const char *at, const char *end, const char **ret_why)
{
	struct nvme_tls_keys *k = arg;

	if (k->nr == NVME_TLS_HOSTS_MAX)
		return bad(ret_why, "there are more than 4096 hosts");
	if (host_line_grow(&k->hosts, k->nr, sizeof(*k->hosts)) < 0)
		return -ENOMEM;
	return parse_host(at, end, &k->hosts[k->nr++], ret_why);
}

int nvme_tls_keys_parse(const char *text, size_t len, struct nvme_tls_keys **ret,
			unsigned int *ret_line, const char **ret_why)
{
	struct nvme_tls_keys *k = calloc(1, sizeof(*k));
	int r;

	*ret_line = 0;
	*ret_why = "out of memory";
	if (!k)
		return -ENOMEM;
	k->refs = 1;
	r = host_line_each(text, len, take_line, k, ret_line, ret_why);
	if (!r && !k->nr)
		r = bad(ret_why, "it names no host");
	if (r < 0)
		nvme_tls_keys_put(k);
	else
		*ret = k;
	return r;
}

struct nvme_tls_keys *nvme_tls_keys_get(struct nvme_tls_keys *k)
{
	atomic_fetch_add(&k->refs, 1);
	return k;
}

void nvme_tls_keys_put(struct nvme_tls_keys *k)
{
	if (!k || atomic_fetch_sub(&k->refs, 1) != 1)
		return;
	for (size_t i = 0; i < k->nr; i++)
		free(k->hosts[i].exports);
	if (k->hosts)
		explicit_bzero(k->hosts, k->nr * sizeof(*k->hosts));
	free(k->hosts);
	free(k);
}

/* ---- who may what ---- */

bool nvme_tls_keys_allow(const struct nvme_tls_keys *k, const char *nqn,
			 const char *export)
{
	for (size_t i = 0; i < k->nr; i++)
		if (!strcmp(k->hosts[i].nqn, nqn) &&
		    host_line_covers(k->hosts[i].exports, export))
			return true;
	return false;
}

/* A key for discovery is any; for a subsystem that is none of ours there is none. */
static bool covers(const struct nvme_tls_host *h, const char *subnqn)
{
	size_t prefix = sizeof(NVME_SUBNQN_PREFIX) - 1;

	if (!strcmp(subnqn, NVME_DISCOVERY_NQN))
		return true;
	return !strncmp(subnqn, NVME_SUBNQN_PREFIX, prefix) && subnqn[prefix] &&
	       host_line_covers(h->exports, subnqn + prefix);
}

/* Is it that key which the identity means? Version 1 tells by its digest. */
static bool means(const struct nvme_psk_id *id, const struct nvme_psk *psk)
{
	char digest[65];

	if (psk->hash != id->hash)
		return false;
	return !id->version ||
	       (!nvme_psk_digest(psk, id->hostnqn, id->subnqn, digest) &&
		!strcmp(digest, id->digest));
}

int nvme_tls_keys_find(const struct nvme_tls_keys *k, const struct nvme_psk_id *id,
		       unsigned int nth, uint8_t *ret)
{
	if (id->type != 'R')
		return -ENOENT;
	for (size_t i = 0; i < k->nr; i++) {
		const struct nvme_tls_host *h = &k->hosts[i];

		if (strcmp(h->nqn, id->hostnqn) || !covers(h, id->subnqn))
			continue;
		for (int way = 0; way < NVME_PSK_WAYS; way++) {
			const struct nvme_psk *psk = &h->retained[way];

			if (!means(id, psk))
				continue;
			/* A name too long for the one way may do for the other. */
			if (nvme_psk_tls_key(psk, id, (enum nvme_psk_way)way, ret) < 0)
				continue;
			if (!nth--)
				return 0;
		}
	}
	return -ENOENT;
}
