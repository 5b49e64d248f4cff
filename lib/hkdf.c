/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys in, keys derived from them out. */
#include "lib/hkdf.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <string.h>

#define LABEL_PREFIX "tls13 "

static const EVP_MD *md_of(enum hkdf_hash hash)
{
	return hash == HKDF_SHA384 ? EVP_sha384() : EVP_sha256();
}

size_t hkdf_len(enum hkdf_hash hash)
{
	return hash == HKDF_SHA384 ? 48 : 32;
}

/* Nobody looks at OpenSSL's queue of errors: it must not grow. */
static int result(int ok)
{
	if (ok)
		return 0;
	ERR_clear_error();
	return -ENOMEM;
}

int hkdf_hmac(enum hkdf_hash hash, const uint8_t *key, size_t key_len,
	      const uint8_t *data, size_t len, uint8_t *ret)
{
	return result(HMAC(md_of(hash), key, (int)key_len, data, len, ret, NULL) !=
		      NULL);
}

int hkdf_digest(enum hkdf_hash hash, const uint8_t *data, size_t len, uint8_t *ret)
{
	return result(EVP_Digest(data, len, ret, NULL, md_of(hash), NULL) == 1);
}

static int derive(enum hkdf_hash hash, int mode, const uint8_t *key, size_t len,
		  const uint8_t *info, size_t info_len, uint8_t *ret)
{
	const char *name = EVP_MD_get0_name(md_of(hash));
	OSSL_PARAM params[5], *p = params;
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_HKDF, NULL);
	EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	int ok;

	*p++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
	*p++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST,
						(char *)(uintptr_t)name, 0);
	*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY,
						 (void *)(uintptr_t)key, len);
	if (info)
		*p++ = OSSL_PARAM_construct_octet_string(
			OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)info, info_len);
	*p = OSSL_PARAM_construct_end();
	ok = ctx && EVP_KDF_derive(ctx, ret, hkdf_len(hash), params) == 1;
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return result(ok);
}

int hkdf_extract(enum hkdf_hash hash, const uint8_t *key, size_t len, uint8_t *ret)
{
	return derive(hash, EVP_KDF_HKDF_MODE_EXTRACT_ONLY, key, len, NULL, 0, ret);
}

int hkdf_expand(enum hkdf_hash hash, const uint8_t *prk, const uint8_t *info,
		size_t len, uint8_t *ret)
{
	return derive(hash, EVP_KDF_HKDF_MODE_EXPAND_ONLY, prk, hkdf_len(hash), info,
		      len, ret);
}

/* Derives hkdf_len bytes, of which `len` are what was asked for. */
static int expand_label(enum hkdf_hash hash, const uint8_t *prk, const char *label,
			const uint8_t *ctx, size_t ctx_len, size_t len, uint8_t *ret)
{
	uint8_t info[2 + 1 + sizeof(LABEL_PREFIX) - 1 + HKDF_LABEL_MAX + 1 +
		     HKDF_CTX_MAX];
	size_t prefix = sizeof(LABEL_PREFIX) - 1, n = strlen(label), at = 0;

	if (n > HKDF_LABEL_MAX || ctx_len > HKDF_CTX_MAX)
		return -EINVAL;
	info[at++] = 0;
	info[at++] = (uint8_t)len;
	info[at++] = (uint8_t)(prefix + n);
	memcpy(info + at, LABEL_PREFIX, prefix);
	memcpy(info + at + prefix, label, n);
	at += prefix + n;
	info[at++] = (uint8_t)ctx_len;
	if (ctx_len)
		memcpy(info + at, ctx, ctx_len);
	return hkdf_expand(hash, prk, info, at + ctx_len, ret);
}

int hkdf_expand_label(enum hkdf_hash hash, const uint8_t *prk, const char *label,
		      const uint8_t *ctx, size_t ctx_len, uint8_t *ret)
{
	return expand_label(hash, prk, label, ctx, ctx_len, hkdf_len(hash), ret);
}

int hkdf_expand_short(enum hkdf_hash hash, const uint8_t *prk, const char *label,
		      uint8_t *ret, size_t ret_len)
{
	uint8_t whole[HKDF_MAX];
	int r = ret_len > hkdf_len(hash)
			? -EINVAL
			: expand_label(hash, prk, label, NULL, 0, ret_len, whole);

	if (r == 0)
		memcpy(ret, whole, ret_len);
	explicit_bzero(whole, sizeof(whole));
	return r;
}
