/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file's text in, a table of hosts and their secrets out. */
#include "memserver/nvme/auth_keys.h"

#include <ctype.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int bad(const char **ret_why, const char *why)
{
	*ret_why = why;
	return -EINVAL;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* The next word of a line; its length, 0 at the end. */
static size_t next_word(const char **at, const char *end, const char **ret)
{
	const char *p = *at;

	while (p < end && is_blank(*p))
		p++;
	*ret = p;
	while (p < end && !is_blank(*p))
		p++;
	*at = p;
	return (size_t)(p - *ret);
}

static int take_nqn(struct nvme_auth_host *h, const char *word, size_t len,
		    const char **ret_why)
{
	if (len < 5 || len > NVME_NQN_LEN || memcmp(word, "nqn.", 4))
		return bad(ret_why, "after 'host' comes its NQN (nqn.…)");
	for (size_t i = 0; i < len; i++)
		if (!isgraph((unsigned char)word[i]))
			return bad(ret_why, "its NQN has characters that none has");
	memcpy(h->nqn, word, len);
	return 0;
}

/* "a,b" becomes ",a,b,". */
static int take_exports(struct nvme_auth_host *h, const char *names, size_t len,
			const char **ret_why)
{
	bool fresh = true;

	for (size_t i = 0; i < len; i++) {
		bool comma = names[i] == ',';

		if ((comma && fresh) || (!comma && !isgraph((unsigned char)names[i])))
			return bad(ret_why, "exports= wants names with commas between");
		fresh = comma;
	}
	if (fresh)
		return bad(ret_why, "exports= wants names with commas between");
	return asprintf(&h->exports, ",%.*s,", (int)len, names) < 0 ? -ENOMEM : 0;
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
		return take_exports(h, word + 8, len - 8, ret_why);
	return bad(ret_why, "a line is 'host NQN key=SECRET [controller=SECRET] "
			    "[exports=NAME,…]', each at most once");
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
	const char *word;
	size_t len = next_word(&at, end, &word);
	int r;

	if (len != 4 || memcmp(word, "host", 4))
		return bad(ret_why, "a line begins with 'host'");
	len = next_word(&at, end, &word);
	r = take_nqn(h, word, len, ret_why);
	while (!r && (len = next_word(&at, end, &word)) != 0)
		r = take_setting(h, word, len, ret_why);
	return r ? r : check_host(h, ret_why);
}

static int parse_line(struct nvme_auth_keys *k, const char *at, const char *end,
		      const char **ret_why)
{
	struct nvme_auth_host *h;

	while (at < end && is_blank(*at))
		at++;
	if (at == end || *at == '#')
		return 0;
	if (k->nr == NVME_AUTH_HOSTS_MAX)
		return bad(ret_why, "there are more than 4096 hosts");
	if (!(k->nr & (k->nr - 1))) { /* a power of two is full */
		size_t room = k->nr ? k->nr * 2 : 1;

		h = calloc(room, sizeof(*h));
		if (!h)
			return -ENOMEM;
		if (k->nr) {
			memcpy(h, k->hosts, k->nr * sizeof(*h));
			explicit_bzero(k->hosts, k->nr * sizeof(*h));
		}
		free(k->hosts);
		k->hosts = h;
	}
	h = &k->hosts[k->nr++];
	return parse_host(at, end, h, ret_why);
}

int nvme_auth_keys_parse(const char *text, size_t len, struct nvme_auth_keys **ret,
			 unsigned int *ret_line, const char **ret_why)
{
	struct nvme_auth_keys *k = calloc(1, sizeof(*k));
	int r = 0;

	*ret_line = 0;
	*ret_why = "out of memory";
	if (!k)
		return -ENOMEM;
	k->refs = 1;
	while (len && !r) {
		const char *nl = memchr(text, '\n', len);
		size_t n = nl ? (size_t)(nl - text) : len;

		++*ret_line;
		r = parse_line(k, text, text + n, ret_why);
		text += n + (nl != NULL);
		len -= n + (nl != NULL);
	}
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

static bool covers(const struct nvme_auth_host *h, const char *export)
{
	size_t len = export ? strlen(export) : 0;

	if (!h->exports || !export)
		return true;
	if (!len || strchr(export, ','))
		return false; /* no name, or several */
	for (const char *at = strstr(h->exports, export); at;
	     at = strstr(at + 1, export))
		if (at[-1] == ',' && at[len] == ',')
			return true;
	return false;
}

const struct nvme_auth_host *nvme_auth_keys_find(const struct nvme_auth_keys *k,
						 const struct nvme_auth_host *after,
						 const char *nqn, const char *export)
{
	for (size_t i = after ? (size_t)(after - k->hosts) + 1 : 0; i < k->nr; i++)
		if (!strcmp(k->hosts[i].nqn, nqn) && covers(&k->hosts[i], export))
			return &k->hosts[i];
	return NULL;
}
