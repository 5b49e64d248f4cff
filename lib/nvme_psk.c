/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text of a key in, keys of TLS and their names out. */
#include "lib/nvme_psk.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define SEED " NVMe-over-Fabrics"

/* ---- the configured key ---- */

int nvme_psk_parse(const char *text, size_t len, struct key_text *ret,
		   const char **ret_why)
{
	static const struct key_text_form form = {
		.prefix = "NVMeTLSkey-1:",
		.max_hash = 2,
		.lens = { 32, 48 },
		.why_form = "not as 'nvme gen-tls-key' makes them "
			    "(NVMeTLSkey-1:HH:BASE64:)",
		.why_hash = "its hash is none of 00, 01 and 02",
		.why_len = "the key is not 32 or 48 bytes in base64",
	};
	struct key_text key;
	int r = key_text_parse(&form, text, len, &key, ret_why);

	if (!r && key.hash && key.len != hkdf_len((enum hkdf_hash)key.hash)) {
		*ret_why = "01 (SHA-256) goes with a key of 32 bytes, 02 (SHA-384) "
			   "with one of 48";
		r = -EINVAL;
	}
	if (!r)
		*ret = key;
	explicit_bzero(&key, sizeof(key));
	return r;
}

/* ---- derivations ---- */

/* libnvme's info: the length in the host's order, no lengths of label and context. */
static int expand_as_libnvme(enum hkdf_hash hash, const uint8_t *prk, const char *label,
			     const char *ctx, uint8_t *ret)
{
	uint8_t info[2 + 64 + NVME_PSK_ID_MAX];
	int n;

	info[0] = (uint8_t)hkdf_len(hash);
	info[1] = 0;
	n = snprintf((char *)info + 2, sizeof(info) - 2, "tls13 %s%s", label, ctx);
	if (n < 0 || (size_t)n >= sizeof(info) - 2)
		return -EINVAL;
	return hkdf_expand(hash, prk, info, 2 + (size_t)n, ret);
}

static int derive(enum hkdf_hash hash, const uint8_t *key, const char *label,
		  const char *ctx, enum nvme_psk_way way, uint8_t *ret)
{
	uint8_t prk[HKDF_MAX];
	int r = hkdf_extract(hash, key, hkdf_len(hash), prk);

	if (!r && way == NVME_PSK_LIBNVME)
		r = expand_as_libnvme(hash, prk, label, ctx, ret);
	else if (!r)
		r = hkdf_expand_label(hash, prk, label, (const uint8_t *)ctx,
				      strlen(ctx), ret);
	explicit_bzero(prk, sizeof(prk));
	return r;
}

int nvme_psk_retain(const struct key_text *configured, const char *hostnqn,
		    enum nvme_psk_way way, struct nvme_psk *ret)
{
	struct nvme_psk psk = { .hash = configured->len == 48 ? HKDF_SHA384
							      : HKDF_SHA256 };
	int r = 0;

	if (!configured->hash)
		memcpy(psk.bytes, configured->bytes, configured->len);
	else
		r = derive(psk.hash, configured->bytes, "HostNQN", hostnqn, way,
			   psk.bytes);
	if (!r)
		*ret = psk;
	explicit_bzero(&psk, sizeof(psk));
	return r;
}

int nvme_psk_generate(enum hkdf_hash hash, const uint8_t *ks, const uint8_t *c1,
		      const uint8_t *c2, struct nvme_psk *ret)
{
	uint8_t both[2 * HKDF_MAX];
	struct nvme_psk psk = { .hash = hash };
	size_t len = hkdf_len(hash);
	int r;

	memcpy(both, c1, len);
	memcpy(both + len, c2, len);
	r = hkdf_hmac(hash, ks, len, both, 2 * len, psk.bytes);
	if (!r)
		*ret = psk;
	explicit_bzero(&psk, sizeof(psk));
	return r;
}

int nvme_psk_digest(const struct nvme_psk *psk, const char *hostnqn, const char *subnqn,
		    char *ret)
{
	char text[2 * NVME_PSK_NQN_MAX + 1 + sizeof(SEED)];
	uint8_t mac[HKDF_MAX];
	int n = snprintf(text, sizeof(text), "%s %s" SEED, hostnqn, subnqn), r;

	if (n < 0 || (size_t)n >= sizeof(text))
		return -EINVAL;
	r = hkdf_hmac(psk->hash, psk->bytes, hkdf_len(psk->hash), (const uint8_t *)text,
		      (size_t)n, mac);
	if (!r)
		EVP_EncodeBlock((unsigned char *)ret, mac, (int)hkdf_len(psk->hash));
	return r;
}

static void format(const struct nvme_psk_id *id, char *text)
{
	snprintf(text, NVME_PSK_ID_MAX + 1, "NVMe%u%c%02u %s %s%s%s", id->version % 10u,
		 id->type, (unsigned int)id->hash % 10u, id->hostnqn, id->subnqn,
		 id->version ? " " : "", id->version ? id->digest : "");
}

int nvme_psk_id_format(const struct nvme_psk *psk, struct nvme_psk_id *id, char *text)
{
	int r = 0;

	id->hash = psk->hash;
	id->digest[0] = '\0';
	if (id->version)
		r = nvme_psk_digest(psk, id->hostnqn, id->subnqn, id->digest);
	if (!r)
		format(id, text);
	return r;
}

int nvme_psk_tls_key(const struct nvme_psk *psk, const struct nvme_psk_id *id,
		     enum nvme_psk_way way, uint8_t *ret)
{
	char ctx[NVME_PSK_ID_MAX + 1];

	if (id->version)
		snprintf(ctx, sizeof(ctx), "%02u %s", (unsigned int)id->hash % 10u,
			 id->digest);
	else
		format(id, ctx);
	return derive(psk->hash, psk->bytes, "nvme-tls-psk", ctx, way, ret);
}

/* ---- an identity ---- */

/* The next word, which ends at a blank (or the end, if it is the last); -EPROTO: it is
 * empty, longer than `max`, or has what is no printable character. */
static int take_word(const uint8_t **at, const uint8_t *end, bool last, size_t max,
		     char *ret)
{
	const uint8_t *p = *at;
	size_t n = 0;

	while (p + n < end && p[n] != ' ') {
		if (n == max || p[n] < '!' || p[n] > '~')
			return -EPROTO;
		ret[n] = (char)p[n];
		n++;
	}
	if (!n || (p + n == end) != last)
		return -EPROTO;
	ret[n] = '\0';
	*at = p + n + !last;
	return 0;
}

int nvme_psk_id_parse(const uint8_t *bytes, size_t len, struct nvme_psk_id *ret)
{
	const uint8_t *at = bytes + 9, *end = bytes + len;
	struct nvme_psk_id id = { 0 };
	size_t digest;

	if (len < 9 || len > NVME_PSK_ID_MAX || memcmp(bytes, "NVMe", 4) ||
	    (bytes[4] != '0' && bytes[4] != '1') ||
	    (bytes[5] != 'R' && bytes[5] != 'G') || bytes[6] != '0' ||
	    (bytes[7] != '1' && bytes[7] != '2') || bytes[8] != ' ')
		return -EPROTO;
	id.version = (uint8_t)(bytes[4] - '0');
	id.type = (char)bytes[5];
	id.hash = (enum hkdf_hash)(bytes[7] - '0');
	digest = id.hash == HKDF_SHA384 ? 64 : 44;
	if (take_word(&at, end, false, NVME_PSK_NQN_MAX, id.hostnqn) < 0 ||
	    take_word(&at, end, !id.version, NVME_PSK_NQN_MAX, id.subnqn) < 0)
		return -EPROTO;
	if (id.version && (take_word(&at, end, true, digest, id.digest) < 0 ||
			   strlen(id.digest) != digest))
		return -EPROTO;
	*ret = id;
	return 0;
}
