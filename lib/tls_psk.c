/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Servers of TLS 1.3 by shared keys: a ClientHello with names of keys in, the key that its
 * sender has out. OpenSSL chooses the cipher suite before it asks for keys, and asks for
 * one key of a name; so the names are looked at first, when the ClientHello has arrived,
 * and OpenSSL is told of the choice.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdbool.h>
#include <string.h>

#include "lib/tls_priv.h"

#define SUITE_SHA256 "TLS_AES_128_GCM_SHA256"
#define SUITE_SHA384 "TLS_AES_256_GCM_SHA384"
#define AGE_LEN      4u /* obfuscated_ticket_age */

/* ---- what is offered ---- */

struct bytes {
	const uint8_t *p;
	size_t len;
};

/* Takes a vector with a length of `len_len` bytes (1 or 2) off `b`. */
static bool take_vector(struct bytes *b, size_t len_len, struct bytes *ret)
{
	size_t n;

	if (b->len < len_len)
		return false;
	n = len_len == 2 ? (size_t)b->p[0] << 8 | b->p[1] : b->p[0];
	if (b->len - len_len < n)
		return false;
	*ret = (struct bytes){ b->p + len_len, n };
	b->p += len_len + n;
	b->len -= len_len + n;
	return true;
}

int tls_offers_parse(const uint8_t *ext, size_t len, struct tls_offer *offers,
		     size_t *ret_binders_len)
{
	struct bytes all = { ext, len }, ids, binders, one;
	size_t nr_ids = 0, nr = 0;

	if (!take_vector(&all, 2, &ids) || !ids.len)
		return -EPROTO;
	*ret_binders_len = all.len;
	if (!take_vector(&all, 2, &binders) || all.len)
		return -EPROTO;
	for (; ids.len; nr_ids++) {
		if (!take_vector(&ids, 2, &one) || !one.len || ids.len < AGE_LEN)
			return -EPROTO;
		ids.p += AGE_LEN;
		ids.len -= AGE_LEN;
		if (nr_ids < TLS_OFFERS)
			offers[nr_ids] =
				(struct tls_offer){ .id = one.p,
						    .id_len = (uint16_t)one.len };
	}
	for (; binders.len; nr++) {
		if (!take_vector(&binders, 1, &one) || one.len < 32)
			return -EPROTO;
		if (nr < TLS_OFFERS) {
			offers[nr].binder = one.p;
			offers[nr].binder_len = (uint8_t)one.len;
		}
	}
	if (nr != nr_ids)
		return -EPROTO;
	return (int)(nr < TLS_OFFERS ? nr : TLS_OFFERS);
}

/* ---- does the client have that key? ---- */

/* RFC 8446, 4.2.11.2 and 7.1: over the ClientHello without its list of binders. */
static bool has_key(const struct tls_session *s, const struct tls_offer *o,
		    size_t binders_len, const struct tls_psk *psk)
{
	uint8_t key[HKDF_MAX], hash[HKDF_MAX], binder[HKDF_MAX];
	size_t len = hkdf_len(psk->hash);
	bool ok;

	if (o->binder_len != len || s->hello_len < binders_len)
		return false;
	ok = !hkdf_extract(psk->hash, psk->key, len, key) &&
	     !hkdf_digest(psk->hash, NULL, 0, hash) &&
	     !hkdf_expand_label(psk->hash, key, "ext binder", hash, len, key) &&
	     !hkdf_expand_label(psk->hash, key, "finished", NULL, 0, key) &&
	     !hkdf_digest(psk->hash, s->hello, s->hello_len - binders_len, hash) &&
	     !hkdf_hmac(psk->hash, key, len, hash, len, binder) &&
	     !CRYPTO_memcmp(binder, o->binder, len);
	explicit_bzero(key, sizeof(key));
	return ok;
}

/* The key of that offer, if we have it and the client does. The first name that is known
 * is told of, else the first. */
static bool choose(struct tls_session *s, const struct tls_offer *o, size_t binders_len)
{
	const struct tls *t = s->tls;
	struct tls_psk psk;
	bool found = false;

	if (o->id_len > TLS_ID_MAX || memchr(o->id, '\0', o->id_len))
		return false;
	for (unsigned int nth = 0; !found; nth++) {
		if (t->find(t->arg, o->id, o->id_len, nth, &psk) < 0)
			break;
		if (!s->psk_known) {
			s->psk_known = true;
			memcpy(s->psk_name, o->id, o->id_len);
			s->psk_name[o->id_len] = '\0';
			s->psk_why = "it has another key: compare the two";
		}
		found = has_key(s, o, binders_len, &psk);
	}
	if (found) {
		s->psk = psk;
		memcpy(s->psk_name, o->id, o->id_len);
		s->psk_name[o->id_len] = '\0';
		s->psk_why = NULL;
	} else if (!*s->psk_name) {
		memcpy(s->psk_name, o->id, o->id_len);
		s->psk_name[o->id_len] = '\0';
		s->psk_why = "it is not in the file, or has expired";
	}
	explicit_bzero(&psk, sizeof(psk));
	return found;
}

/* ---- what OpenSSL asks ---- */

static void see_message(int sent, int version, int type, const void *buf, size_t len,
			SSL *ssl, void *arg)
{
	struct tls_session *s = SSL_get_app_data(ssl);

	if (sent || type != SSL3_RT_HANDSHAKE || !len ||
	    *(const uint8_t *)buf != SSL3_MT_CLIENT_HELLO)
		return;
	s->hello = buf;
	s->hello_len = len;
}

static int refuse(struct tls_session *s, int *alert, int value, const char *why)
{
	if (why)
		s->psk_why = why;
	*alert = value;
	return SSL_CLIENT_HELLO_ERROR;
}

/* A second ClientHello, after a HelloRetryRequest, must come with the same key: OpenSSL
 * asks for it by name and looks at its binder. */
static int see_hello(SSL *ssl, int *alert, void *arg)
{
	struct tls_session *s = SSL_get_app_data(ssl);
	struct tls_offer offers[TLS_OFFERS];
	const unsigned char *ext;
	size_t len, binders_len;
	bool found = false;
	int nr;

	if (s->psk_known)
		return SSL_CLIENT_HELLO_SUCCESS;
	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_psk, &ext, &len) != 1)
		return refuse(s, alert, SSL_AD_MISSING_EXTENSION,
			      "the peer offers no shared key");
	nr = tls_offers_parse(ext, len, offers, &binders_len);
	if (nr < 0 || !s->hello)
		return refuse(s, alert, SSL_AD_DECODE_ERROR,
			      "the peer's list of shared keys is broken");
	for (int i = 0; i < nr && !found; i++)
		found = choose(s, &offers[i], binders_len);
	s->hello = NULL;
	if (!found) /* the same for a name that we know: not for strangers to find out */
		return refuse(s, alert, SSL_AD_DECRYPT_ERROR, NULL);
	if (SSL_set_ciphersuites(ssl, s->psk.hash == HKDF_SHA384 ? SUITE_SHA384
								 : SUITE_SHA256) != 1)
		return refuse(s, alert, SSL_AD_INTERNAL_ERROR, "no memory");
	return SSL_CLIENT_HELLO_SUCCESS;
}

static int give_key(SSL *ssl, const unsigned char *id, size_t len, SSL_SESSION **ret)
{
	static const unsigned char suites[][2] = { { 0x13, 0x01 }, { 0x13, 0x02 } };
	struct tls_session *s = SSL_get_app_data(ssl);
	const SSL_CIPHER *suite;
	SSL_SESSION *x;

	*ret = NULL;
	if (!s->psk_known || strlen(s->psk_name) != len || memcmp(s->psk_name, id, len))
		return 1;
	suite = SSL_CIPHER_find(ssl, suites[s->psk.hash == HKDF_SHA384]);
	x = SSL_SESSION_new();
	if (!x || !suite ||
	    SSL_SESSION_set1_master_key(x, s->psk.key, hkdf_len(s->psk.hash)) != 1 ||
	    SSL_SESSION_set_cipher(x, suite) != 1 ||
	    SSL_SESSION_set_protocol_version(x, TLS1_3_VERSION) != 1) {
		SSL_SESSION_free(x);
		return 0;
	}
	*ret = x;
	return 1;
}

int tls_psk_server_new(tls_psk_find_fn find, void (*release)(void *arg), void *arg,
		       struct tls **ret, char *error)
{
	struct tls *t = NULL;
	int r = tls_common(TLS_server_method(), true, &t, error);

	if (r < 0) {
		release(arg);
		return r;
	}
	t->server = true;
	t->find = find;
	t->release = release;
	t->arg = arg;
	SSL_CTX_set_msg_callback(t->ctx, see_message);
	SSL_CTX_set_client_hello_cb(t->ctx, see_hello, NULL);
	SSL_CTX_set_psk_find_session_callback(t->ctx, give_key);
	*ret = t;
	return 0;
}
