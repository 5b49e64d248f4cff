/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files of certificates and keys in, an OpenSSL context out. Sessions: tls_session.c. */
#include "lib/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/psk.h"
#include "lib/secret.h"
#include "lib/tls_priv.h"

/* Authenticated encryption with forward secrecy only; TLS 1.3 has no other. */
#define CIPHERS_12                     \
	"ECDHE+AESGCM:ECDHE+CHACHA20:" \
	"kECDHEPSK+CHACHA20:kDHEPSK+AESGCM:kDHEPSK+CHACHA20"

/*
 * Those with SHA-256 first: the hash of a shared key is SHA-256, and next to a certificate
 * OpenSSL chooses the suite before it looks at keys.
 */
#define SUITES_13 \
	"TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384"

static int fail(char *error, int r, const char *path, const char *why)
{
	snprintf(error, TLS_ERROR_MAX, "%.200s: %s", path, why);
	return r;
}

/* With what OpenSSL has against it. */
static int fail_ssl(char *error, const char *path, const char *what)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	snprintf(error, TLS_ERROR_MAX, "%.200s: %s%s%s", path, what, reason ? ": " : "",
		 reason ? reason : "");
	ERR_clear_error();
	return -EINVAL;
}

/* Keys that ask for a pass phrase: nobody is there to give it. */
static int no_pass_phrase(char *buf, int size, int writing, void *arg)
{
	return 0;
}

/* Reads a file into a BIO that refers to *ret_text, which outlives it. */
static int open_pem(const char *path, bool is_public, char **ret_text, size_t *ret_len,
		    BIO **ret, char *error)
{
	int r = secret_read(path, is_public, ret_text, ret_len, error);

	if (r < 0)
		return r;
	*ret = BIO_new_mem_buf(*ret_text, (int)*ret_len);
	if (*ret)
		return 0;
	secret_free(*ret_text, *ret_len);
	return fail(error, -ENOMEM, path, strerror(ENOMEM));
}

static time_t not_after(const X509 *x)
{
	struct tm tm;

	return ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) == 1 ? timegm(&tm) : 0;
}

static int use_chain(struct tls *t, const char *path, BIO *b, char *error)
{
	X509 *x = PEM_read_bio_X509(b, NULL, no_pass_phrase, NULL);

	if (!x || SSL_CTX_use_certificate(t->ctx, x) != 1) {
		X509_free(x);
		return fail_ssl(error, path, "no usable certificate in it");
	}
	t->expires = not_after(x);
	X509_free(x);
	while ((x = PEM_read_bio_X509(b, NULL, no_pass_phrase, NULL)) != NULL)
		if (SSL_CTX_add0_chain_cert(t->ctx, x) != 1) {
			X509_free(x);
			return fail_ssl(error, path, "its chain is not usable");
		}
	ERR_clear_error(); /* the end of the file is told as an error */
	return 0;
}

static int load_cert(struct tls *t, const char *path, char *error)
{
	BIO *b = NULL;
	char *text = NULL;
	size_t len = 0;
	int r = open_pem(path, true, &text, &len, &b, error);

	if (r < 0)
		return r;
	r = use_chain(t, path, b, error);
	BIO_free(b);
	secret_free(text, len);
	return r;
}

static int load_key(struct tls *t, const char *path, char *error)
{
	BIO *b = NULL;
	EVP_PKEY *key;
	char *text = NULL;
	size_t len = 0;
	int r = open_pem(path, false, &text, &len, &b, error);

	if (r < 0)
		return r;
	key = PEM_read_bio_PrivateKey(b, NULL, no_pass_phrase, NULL);
	if (!key || SSL_CTX_use_PrivateKey(t->ctx, key) != 1 ||
	    SSL_CTX_check_private_key(t->ctx) != 1)
		r = fail_ssl(error, path,
			     "no key in it that fits the certificate (and needs no "
			     "pass phrase)");
	EVP_PKEY_free(key);
	BIO_free(b);
	secret_free(text, len);
	return r;
}

static int trust(struct tls *t, STACK_OF(X509_INFO) * all)
{
	X509_STORE *store = SSL_CTX_get_cert_store(t->ctx);
	int found = 0;

	for (int i = 0; i < sk_X509_INFO_num(all); i++) {
		X509_INFO *info = sk_X509_INFO_value(all, i);

		if (info->x509) {
			found++;
			if (X509_STORE_add_cert(store, info->x509) != 1 ||
			    SSL_CTX_add_client_CA(t->ctx, info->x509) != 1)
				return -EINVAL;
		}
		if (info->crl &&
		    (X509_STORE_add_crl(store, info->crl) != 1 ||
		     X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK) != 1))
			return -EINVAL;
	}
	return found ? 0 : -EINVAL;
}

static int load_ca(struct tls *t, const char *path, char *error)
{
	STACK_OF(X509_INFO) *all = NULL;
	BIO *b = NULL;
	char *text = NULL;
	size_t len = 0;
	int r = open_pem(path, true, &text, &len, &b, error);

	if (r < 0)
		return r;
	all = PEM_X509_INFO_read_bio(b, NULL, no_pass_phrase, NULL);
	if (!all || trust(t, all) < 0)
		r = fail_ssl(error, path, "no usable certificates in it");
	sk_X509_INFO_pop_free(all, X509_INFO_free);
	BIO_free(b);
	secret_free(text, len);
	return r;
}

static int load_psk(struct tls *t, const char *path, char *error)
{
	const char *why = "";
	unsigned int line;
	char *text = NULL;
	size_t len = 0;
	int r = secret_read(path, false, &text, &len, error);

	if (r < 0)
		return r;
	t->psk = calloc(PSK_NR_MAX, sizeof(*t->psk));
	r = t->psk ? psk_parse(text, len, t->psk, PSK_NR_MAX, &t->nr_psk, &line, &why)
		   : fail(error, -ENOMEM, path, strerror(ENOMEM));
	if (r == -EINVAL)
		snprintf(error, TLS_ERROR_MAX, "%.200s:%u: %s", path, line, why);
	secret_free(text, len);
	return r;
}

/* Asked for each name a client offers; what is not ours is no key. */
static unsigned int find_psk(SSL *ssl, const char *name, unsigned char *key,
			     unsigned int max)
{
	struct tls_session *s = SSL_get_app_data(ssl);
	const struct psk_key *k = psk_find(s->tls->psk, s->tls->nr_psk, name);

	snprintf(s->psk_name, sizeof(s->psk_name), "%s", name);
	s->psk_known = k && k->len <= max;
	if (!s->psk_known)
		return 0;
	memcpy(key, k->key, k->len);
	return k->len;
}

int tls_common(const SSL_METHOD *method, bool only_13, struct tls **ret, char *error)
{
	struct tls *t = calloc(1, sizeof(*t));

	if (t)
		t->ctx = SSL_CTX_new(method);
	if (!t || !t->ctx) {
		free(t);
		return fail(error, -ENOMEM, "TLS", strerror(ENOMEM));
	}
	atomic_init(&t->refs, 1);
	/* Nothing is resumed: each connection is looked at by the lists of today. */
	SSL_CTX_set_options(t->ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
					    SSL_OP_NO_COMPRESSION |
					    SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(t->ctx, 0);
	/* A shared key counts as a session to OpenSSL, which next to certificates wants
	 * to know whose. */
	SSL_CTX_set_session_id_context(t->ctx, (const unsigned char *)"remem", 5);
	SSL_CTX_set_dh_auto(t->ctx, 1);
	if (SSL_CTX_set_min_proto_version(t->ctx, only_13 ? TLS1_3_VERSION
							  : TLS1_2_VERSION) != 1 ||
	    SSL_CTX_set_cipher_list(t->ctx, CIPHERS_12) != 1 ||
	    SSL_CTX_set_ciphersuites(t->ctx, SUITES_13) != 1) {
		tls_put(t);
		return fail_ssl(error, "TLS", "OpenSSL does not have what it takes");
	}
	*ret = t;
	return 0;
}

int tls_server_new(const struct tls_files *f, struct tls **ret, char *error)
{
	struct tls *t = NULL;
	int r = tls_common(TLS_server_method(), f->only_13, &t, error);

	if (r < 0)
		return r;
	if (f->cert)
		r = load_cert(t, f->cert, error);
	if (!r && f->cert)
		r = load_key(t, f->key ? f->key : f->cert, error);
	if (!r && f->ca)
		r = load_ca(t, f->ca, error);
	if (!r && f->psk)
		r = load_psk(t, f->psk, error);
	if (r < 0) {
		tls_put(t);
		return r;
	}
	if (f->ca)
		SSL_CTX_set_verify(t->ctx,
				   SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
				   NULL);
	if (f->psk)
		SSL_CTX_set_psk_server_callback(t->ctx, find_psk);
	t->server = true;
	SSL_CTX_set_keylog_callback(t->ctx, tls_ktls_keylog);
	*ret = t;
	return 0;
}

int tls_client_new(const struct tls_files *f, struct tls **ret, char *error)
{
	struct tls *t = NULL;
	int r = tls_common(TLS_client_method(), f->only_13, &t, error);

	if (r < 0)
		return r;
	if (f->ca)
		r = load_ca(t, f->ca, error);
	else if (SSL_CTX_set_default_verify_paths(t->ctx) != 1)
		r = fail_ssl(error, "TLS", "the system trusts nobody");
	if (!r && f->cert)
		r = load_cert(t, f->cert, error);
	if (!r && f->cert)
		r = load_key(t, f->key ? f->key : f->cert, error);
	if (r < 0) {
		tls_put(t);
		return r;
	}
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
	*ret = t;
	return 0;
}

struct tls *tls_get(struct tls *t)
{
	atomic_fetch_add(&t->refs, 1);
	return t;
}

void tls_put(struct tls *t)
{
	if (!t || atomic_fetch_sub(&t->refs, 1) != 1)
		return;
	SSL_CTX_free(t->ctx);
	if (t->psk)
		explicit_bzero(t->psk, PSK_NR_MAX * sizeof(*t->psk));
	free(t->psk);
	if (t->release)
		t->release(t->arg);
	free(t);
}

time_t tls_expires(const struct tls *t)
{
	return t->expires;
}
