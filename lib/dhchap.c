/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys, challenges and DH values in; responses and session keys out. */
#include "lib/dhchap.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct dhchap_dh {
	EVP_PKEY *pair; /* owned */
	uint8_t group;
};

static const struct {
	const char *name;
	size_t len;
} hashes[] = { { NULL, 0 }, { "sha256", 32 }, { "sha384", 48 }, { "sha512", 64 } },
  groups[] = { { "null", 0 },        { "ffdhe2048", 256 }, { "ffdhe3072", 384 },
	       { "ffdhe4096", 512 }, { "ffdhe6144", 768 }, { "ffdhe8192", 1024 } };

/* Nobody looks at OpenSSL's queue of errors: it must not grow. */
static int failed(int error)
{
	ERR_clear_error();
	return error;
}

/* ---- names ---- */

size_t dhchap_hash_len(uint8_t hash)
{
	return hash <= DHCHAP_HASHES ? hashes[hash].len : 0;
}

size_t dhchap_group_len(uint8_t group)
{
	return group < DHCHAP_GROUPS ? groups[group].len : 0;
}

const char *dhchap_hash_name(uint8_t hash)
{
	return hash <= DHCHAP_HASHES ? hashes[hash].name : NULL;
}

const char *dhchap_group_name(uint8_t group)
{
	return group < DHCHAP_GROUPS ? groups[group].name : NULL;
}

static bool is_name(const char *have, const char *name, size_t len)
{
	return strlen(have) == len && !memcmp(have, name, len);
}

int dhchap_hash_find(const char *name, size_t len, uint8_t *ret)
{
	for (uint8_t i = 1; i <= DHCHAP_HASHES; i++)
		if (is_name(hashes[i].name, name, len)) {
			*ret = i;
			return 0;
		}
	return -EINVAL;
}

int dhchap_group_find(const char *name, size_t len, uint8_t *ret)
{
	for (uint8_t i = 0; i < DHCHAP_GROUPS; i++)
		if (is_name(groups[i].name, name, len)) {
			*ret = i;
			return 0;
		}
	return -EINVAL;
}

/* ---- HMAC ---- */

static const EVP_MD *md_of(uint8_t hash)
{
	switch (hash) {
	case 1:
		return EVP_sha256();
	case 2:
		return EVP_sha384();
	case 3:
		return EVP_sha512();
	default:
		return NULL;
	}
}

static int hmac(uint8_t hash, const uint8_t *key, size_t key_len, const void *data,
		size_t len, uint8_t *out)
{
	const EVP_MD *md = md_of(hash);

	if (!md || !HMAC(md, key, (int)key_len, data, len, out, NULL))
		return failed(-EIO);
	return 0;
}

/* Pieces of a message one after the other. */
struct text {
	uint8_t bytes[NVME_DHCHAP_HASH_MAX + 2 * NVME_NQN_FIELD + 32];
	size_t len;
};

static void add(struct text *t, const void *p, size_t len)
{
	memcpy(t->bytes + t->len, p, len);
	t->len += len;
}

static void add_number(struct text *t, uint32_t value, size_t len)
{
	for (size_t i = 0; i < len; i++)
		t->bytes[t->len++] = (uint8_t)(value >> 8 * i);
}

/* The secret as this host or controller uses it: bound to its name, unless hash 0. */
static int transform(const struct key_text *key, const char *nqn, uint8_t *out,
		     size_t *ret_len)
{
	struct text t = { .len = 0 };

	*ret_len = key->len;
	if (!key->hash) {
		memcpy(out, key->bytes, key->len);
		return 0;
	}
	*ret_len = dhchap_hash_len(key->hash);
	add(&t, nqn, strnlen(nqn, NVME_NQN_LEN));
	add(&t, "NVMe-over-Fabrics", 17);
	return hmac(key->hash, key->bytes, key->len, t.bytes, t.len, out);
}

int dhchap_respond(const struct key_text *key, const struct dhchap_claim *claim,
		   uint8_t *out)
{
	uint8_t secret[DHCHAP_KEY_MAX];
	struct text t = { .len = 0 };
	size_t len;
	int r;

	add(&t, claim->challenge, dhchap_hash_len(claim->hash));
	add_number(&t, claim->seqnum, 4);
	add_number(&t, claim->t_id, 2);
	add_number(&t, claim->sc_c, 1);
	add(&t, claim->role, strlen(claim->role));
	add(&t, claim->prover, strnlen(claim->prover, NVME_NQN_LEN));
	add_number(&t, 0, 1);
	add(&t, claim->peer, strnlen(claim->peer, NVME_NQN_LEN));
	r = transform(key, claim->prover, secret, &len);
	if (!r)
		r = hmac(claim->hash, secret, len, t.bytes, t.len, out);
	explicit_bzero(secret, sizeof(secret));
	return r;
}

int dhchap_augment(uint8_t hash, const uint8_t *ks, const uint8_t *challenge,
		   uint8_t *out)
{
	size_t len = dhchap_hash_len(hash);
	uint8_t mac[NVME_DHCHAP_HASH_MAX];
	int r = hmac(hash, ks, len, challenge, len, mac);

	if (!r)
		memcpy(out, mac, len);
	return r;
}

/* ---- DH ---- */

void dhchap_dh_free(struct dhchap_dh *dh)
{
	if (!dh)
		return;
	EVP_PKEY_free(dh->pair);
	free(dh);
}

static EVP_PKEY *new_pair(uint8_t group)
{
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME,
						 (char *)groups[group].name, 0),
		OSSL_PARAM_construct_end(),
	};
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "DH", NULL);
	EVP_PKEY *pair = NULL;

	if (!ctx || EVP_PKEY_keygen_init(ctx) <= 0 ||
	    EVP_PKEY_CTX_set_params(ctx, params) <= 0 ||
	    EVP_PKEY_generate(ctx, &pair) <= 0)
		pair = NULL;
	EVP_PKEY_CTX_free(ctx);
	return pair;
}

int dhchap_dh_new(uint8_t group, struct dhchap_dh **ret, uint8_t *value)
{
	struct dhchap_dh *dh = calloc(1, sizeof(*dh));
	BIGNUM *y = NULL;
	int r = -EIO;

	if (!dh || !dhchap_group_len(group)) {
		free(dh);
		return r;
	}
	dh->group = group;
	dh->pair = new_pair(group);
	if (dh->pair &&
	    EVP_PKEY_get_bn_param(dh->pair, OSSL_PKEY_PARAM_PUB_KEY, &y) == 1 &&
	    BN_bn2binpad(y, value, (int)dhchap_group_len(group)) > 0)
		r = 0;
	BN_free(y);
	if (r < 0) {
		dhchap_dh_free(dh);
		return failed(r);
	}
	*ret = dh;
	return 0;
}

/*
 * y^x mod p. The groups' primes are safe ones: a value between 1 and p - 1 is of no small
 * order, and that is all there is to check (RFC 7919, 5.1). EVP_PKEY_derive would raise
 * it to (p - 1) / 2 as well, twice: 700 ms for ffdhe8192 instead of some 10, which anybody who
 * knows a host's name could have us spend.
 */
static int raise_value(const BIGNUM *y, BIGNUM *x, BIGNUM *p, uint8_t *out, size_t len)
{
	BN_CTX *ctx = BN_CTX_new();
	BIGNUM *most = BN_dup(p), *z = BN_new();
	int r = -EIO;

	if (!ctx || !most || !z || !BN_sub_word(most, 1))
		goto out;
	r = -EPROTO;
	if (BN_is_zero(y) || BN_is_one(y) || BN_cmp(y, most) >= 0)
		goto out;
	r = -EIO;
	BN_set_flags(x, BN_FLG_CONSTTIME);
	if (BN_mod_exp_mont_consttime(z, y, x, p, ctx, NULL) &&
	    BN_bn2binpad(z, out, (int)len) > 0) /* with its leading zeros */
		r = 0;
out:
	BN_clear_free(z);
	BN_free(most);
	BN_CTX_free(ctx);
	return r;
}

int dhchap_dh_session(struct dhchap_dh *dh, uint8_t hash, const uint8_t *value,
		      size_t len, uint8_t *ks)
{
	BIGNUM *x = NULL, *p = NULL, *y = BN_bin2bn(value, (int)len, NULL);
	uint8_t secret[NVME_DHCHAP_DH_MAX];
	int r = -EIO;

	if (len != dhchap_group_len(dh->group) || !md_of(hash))
		r = -EPROTO;
	else if (y && EVP_PKEY_get_bn_param(dh->pair, OSSL_PKEY_PARAM_PRIV_KEY, &x) &&
		 EVP_PKEY_get_bn_param(dh->pair, OSSL_PKEY_PARAM_FFC_P, &p))
		r = raise_value(y, x, p, secret, len);
	if (!r && !EVP_Digest(secret, len, ks, NULL, md_of(hash), NULL))
		r = -EIO;
	BN_clear_free(x);
	BN_free(p);
	BN_free(y);
	explicit_bzero(secret, sizeof(secret));
	return r ? failed(r) : 0;
}

int dhchap_random(void *out, size_t len)
{
	return RAND_bytes(out, (int)len) == 1 ? 0 : failed(-EIO);
}
