/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file's text in, a table of hosts and their secrets out. */
#include "memserver/nvme/auth_keys.h"

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

static int take_setting(struct nvme_auth_host *h, const char *word, size_t len,
			const char **ret_why)
{
	if (len > 4 && !memcmp(word, "key=", 4) && !h->key.len)
		return dhchap_key_parse(word + 4, len - 4, &h->key, ret_why);
	if (len > 11 && !memcmp(word, "controller=", 11) && !h->has_controller) {
		h->has_controller = true;
		return dhchap_key_parse(word + 11, len - 11, &h->controller, ret_why);
	}
	if (len > 8 && !memcmp(word, "exports=", 8) && !h->exports)
		return host_line_exports(word + 8, len - 8, &h->exports, ret_why);
	if (len == 15 && !memcmp(word, "concat=required", 15) && !h->needs_concat) {
		h->needs_concat = true;
		return 0;
	}
	return bad(ret_why, "a line is 'host NQN key=SECRET [controller=SECRET] "
			    "[exports=NAME,…] [concat=required]', each at most once");
}

static int check_host(const struct nvme_auth_host *h, const char **ret_why)
{
	if (!h->key.len)
		return bad(ret_why, "the host has no key=");
	/* Else whoever asks us can answer what we ask. */
	if (h->has_controller && h->key.len == h->controller.len &&
	    !memcmp(h->key.bytes, h->controller.bytes, h->key.len))
		return bad(ret_why, "host and controller must not share a secret");
	return 0;
}

static int parse_host(const char *at, const char *end, struct nvme_auth_host *h,
		      const char **ret_why)
{
	int r = host_line_begin(&at, end, h->nqn, ret_why);
	const char *word;
	size_t len;

	while (!r && (len = host_line_word(&at, end, &word)) != 0)
		r = take_setting(h, word, len, ret_why);
	return r ? r : check_host(h, ret_why);
}

static int take_line(void *arg, const char *at, const char *end, const char **ret_why)
{
	struct nvme_auth_keys *k = arg;

	if (k->nr == NVME_AUTH_HOSTS_MAX)
		return bad(ret_why, "there are more than 4096 hosts");
	if (host_line_grow(&k->hosts, k->nr, sizeof(*k->hosts)) < 0)
		return -ENOMEM;
	return parse_host(at, end, &k->hosts[k->nr++], ret_why);
}

int nvme_auth_keys_parse(const char *text, size_t len, struct nvme_auth_keys **ret,
			 unsigned int *ret_line, const char **ret_why)
{
	struct nvme_auth_keys *k = calloc(1, sizeof(*k));
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
		nvme_auth_keys_put(k);
	else
		*ret = k;
	return r;
}

struct nvme_auth_keys *nvme_auth_keys_get(struct nvme_auth_keys *k)
{
	atomic_fetch_add(&k->refs, 1);
	return k;
}

void nvme_auth_keys_put(struct nvme_auth_keys *k)
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

const struct nvme_auth_host *nvme_auth_keys_find(const struct nvme_auth_keys *k,
						 const struct nvme_auth_host *after,
						 const char *nqn, const char *export)
{
	for (size_t i = after ? (size_t)(after - k->hosts) + 1 : 0; i < k->nr; i++)
		if (!strcmp(k->hosts[i].nqn, nqn) &&
		    host_line_covers(k->hosts[i].exports, export))
			return &k->hosts[i];
	return NULL;
}
