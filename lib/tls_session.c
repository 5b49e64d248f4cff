/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A socket's bytes in, plain bytes out, and back. In a handshake OpenSSL reads what we
 * have received, afterwards the socket, into its own buffer, in large pieces; what it
 * writes is gathered here.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/tls_priv.h"

/* ---- OpenSSL's side of the buffers ---- */

/* Once, and then not again before it is allowed: others want to be served, too. */
static int read_socket(struct tls_session *s, BIO *b, char *to, int len)
{
	ssize_t n = -1;

	if (s->may_read) {
		s->may_read = false;
		n = recv(s->fd, to, (size_t)len, MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			s->failed = errno;
			return -1;
		}
		s->eof = !n;
	}
	if (n < 0)
		BIO_set_retry_read(b);
	return (int)n;
}

static int bio_read(BIO *b, char *to, int len)
{
	struct tls_session *s = BIO_get_data(b);
	uint32_t n = s->in_len - s->in_done;

	BIO_clear_retry_flags(b);
	if (!n)
		return s->eof ? 0 : read_socket(s, b, to, len);
	if (n > (uint32_t)len)
		n = (uint32_t)len;
	memcpy(to, s->in + s->in_done, n);
	s->in_done += n;
	return (int)n;
}

/* All or nothing, so that no record is in two places. */
static int bio_write(BIO *b, const char *from, int len)
{
	struct tls_session *s = BIO_get_data(b);

	BIO_clear_retry_flags(b);
	if (s->ktls) /* an alert: the end says as much */
		return len;
	if ((uint32_t)len > TLS_OUT - s->out_len)
		tls_flush(s);
	if ((uint32_t)len > TLS_OUT - s->out_len) {
		BIO_set_retry_write(b);
		return -1;
	}
	memcpy(s->out + s->out_len, from, (size_t)len);
	s->out_len += (uint32_t)len;
	return len;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
	struct tls_session *s = BIO_get_data(b);

	if (cmd == BIO_CTRL_FLUSH)
		return 1;
	return cmd == BIO_CTRL_EOF ? s->eof && s->in_done == s->in_len : 0;
}

/* Made once, constant afterwards. */
static BIO_METHOD *bio_method;
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;

static void make_method(void)
{
	bio_method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "remem");
	if (!bio_method)
		return;
	BIO_meth_set_read(bio_method, bio_read);
	BIO_meth_set_write(bio_method, bio_write);
	BIO_meth_set_ctrl(bio_method, bio_ctrl);
}

static BIO *new_bio(struct tls_session *s)
{
	BIO *b;

	pthread_once(&bio_once, make_method);
	b = bio_method ? BIO_new(bio_method) : NULL;
	if (b) {
		BIO_set_data(b, s);
		BIO_set_init(b, 1);
	}
	return b;
}

/* ---- life ---- */

static int expect_host(SSL *ssl, const char *host)
{
	unsigned char raw[16];

	if (inet_pton(AF_INET, host, raw) == 1 || inet_pton(AF_INET6, host, raw) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
	return SSL_set1_host(ssl, host) == 1 &&
	       SSL_set_tlsext_host_name(ssl, host) == 1;
}

int tls_session_new(struct tls *t, int fd, const char *host, struct tls_session **ret)
{
	struct tls_session *s = calloc(1, sizeof(*s));
	BIO *b;

	if (!s)
		return -ENOMEM;
	s->tls = tls_get(t);
	s->fd = fd;
	s->dry = true;
	s->wants = POLLIN;
	s->ssl = SSL_new(t->ctx);
	b = s->ssl ? new_bio(s) : NULL;
	if (!b) {
		tls_session_free(s);
		return -ENOMEM;
	}
	SSL_set_bio(s->ssl, b, b);
	SSL_set_default_read_buffer_len(s->ssl, TLS_IN);
	SSL_set_read_ahead(s->ssl, 1);
	SSL_set_app_data(s->ssl, s);
	if (t->server)
		SSL_set_accept_state(s->ssl);
	else
		SSL_set_connect_state(s->ssl);
	if (host && !expect_host(s->ssl, host)) {
		tls_session_free(s);
		return -ENOMEM;
	}
	*ret = s;
	return 0;
}

void tls_session_free(struct tls_session *s)
{
	if (!s)
		return;
	SSL_free(s->ssl);
	tls_put(s->tls);
	explicit_bzero(s, sizeof(*s)); /* it held plain and secret bytes */
	free(s);
}

/* ---- who the peer is ---- */

static void add_name(struct tls_session *s, const char *kind, const char *text,
		     size_t len)
{
	size_t kind_len = strlen(kind);
	char *to;

	if (s->nr_names == TLS_NAMES || !len || kind_len + len >= TLS_NAME_MAX)
		return;
	for (size_t i = 0; i < len; i++) /* a NUL within would end it early */
		if (text[i] < ' ' || text[i] > '~')
			return;
	to = s->names[s->nr_names];
	memcpy(to, kind, kind_len);
	memcpy(to + kind_len, text, len);
	to[kind_len + len] = '\0';
	s->nr_names++;
}

static void add_address(struct tls_session *s, const ASN1_OCTET_STRING *ip)
{
	char text[INET6_ADDRSTRLEN];
	int family = ASN1_STRING_length(ip) == 4 ? AF_INET : AF_INET6;

	if ((ASN1_STRING_length(ip) == 4 || ASN1_STRING_length(ip) == 16) &&
	    inet_ntop(family, ASN1_STRING_get0_data(ip), text, sizeof(text)))
		add_name(s, "IP:", text, strlen(text));
}

static void add_alternative(struct tls_session *s, const GENERAL_NAME *g)
{
	static const struct {
		int type;
		const char *kind;
	} kinds[] = { { GEN_DNS, "DNS:" },
		      { GEN_URI, "URI:" },
		      { GEN_EMAIL, "EMAIL:" } };

	if (g->type == GEN_IPADD)
		add_address(s, g->d.iPAddress);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (g->type == kinds[i].type)
			add_name(s, kinds[i].kind,
				 (const char *)ASN1_STRING_get0_data(g->d.ia5),
				 (size_t)ASN1_STRING_length(g->d.ia5));
}

static void add_common_name(struct tls_session *s, const X509_NAME *subject)
{
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	unsigned char *text = NULL;
	int len;

	if (at < 0)
		return;
	len = ASN1_STRING_to_UTF8(
		&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	if (len > 0)
		add_name(s, "CN:", (const char *)text, (size_t)len);
	OPENSSL_free(text);
}

static void add_subject(struct tls_session *s, const X509_NAME *subject)
{
	BIO *b = BIO_new(BIO_s_mem());
	char *text;
	long len;

	if (b && X509_NAME_print_ex(b, subject, 0, XN_FLAG_RFC2253) > 0 &&
	    (len = BIO_get_mem_data(b, &text)) > 0)
		add_name(s, "DN:", text, (size_t)len);
	BIO_free(b);
}

static void take_certificate(struct tls_session *s, X509 *x)
{
	GENERAL_NAMES *alt = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);

	add_subject(s, X509_get_subject_name(x));
	add_common_name(s, X509_get_subject_name(x));
	for (int i = 0; i < sk_GENERAL_NAME_num(alt); i++)
		add_alternative(s, sk_GENERAL_NAME_value(alt, i));
	GENERAL_NAMES_free(alt);
}

/* A key was not only offered but used: in TLS 1.3 external keys resume a "session",
 * and nothing else does here. */
static bool used_psk(const struct tls_session *s)
{
	int kx = SSL_CIPHER_get_kx_nid(SSL_get_current_cipher(s->ssl));

	if (SSL_version(s->ssl) >= TLS1_3_VERSION)
		return SSL_session_reused(s->ssl);
	return kx == NID_kx_ecdhe_psk || kx == NID_kx_dhe_psk || kx == NID_kx_psk ||
	       kx == NID_kx_rsa_psk;
}

static void know_peer(struct tls_session *s)
{
	X509 *x = SSL_get0_peer_certificate(s->ssl);

	if (used_psk(s)) {
		if (s->psk_known)
			add_name(s, "PSK:", s->psk_name, strlen(s->psk_name));
		return;
	}
	if (x && SSL_get_verify_result(s->ssl) == X509_V_OK)
		take_certificate(s, x);
}

const char *tls_peer_name(const struct tls_session *s, size_t i)
{
	return i < s->nr_names ? s->names[i] : "";
}

bool tls_peer_is(const struct tls_session *s, const char *name)
{
	for (size_t i = 0; i < s->nr_names; i++)
		if (!strcmp(s->names[i], name))
			return true;
	return false;
}

const char *tls_psk_id(const struct tls_session *s)
{
	return s->tls->find && s->psk_known && SSL_is_init_finished(s->ssl) &&
			       used_psk(s)
		       ? s->psk_name
		       : "";
}

void tls_describe(const struct tls_session *s, char *buf, size_t len)
{
	snprintf(buf, len, "%s %s%s", SSL_get_version(s->ssl),
		 SSL_get_cipher_name(s->ssl), s->ktls ? ", sent by the kernel" : "");
}

/* ---- the socket's side of the buffers ---- */

int tls_flush(struct tls_session *s)
{
	while (s->out_done < s->out_len) {
		ssize_t n = send(s->fd, s->out + s->out_done, s->out_len - s->out_done,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0)
			return errno == EINTR ? -EAGAIN : -errno;
		s->out_done += (uint32_t)n;
	}
	s->out_len = s->out_done = 0;
	return 0;
}

bool tls_unsent(const struct tls_session *s)
{
	return s->out_done < s->out_len;
}

/* In a handshake: one read of the socket. 1: something came (or the end); 0: nothing; -1
 * with errno. */
static int fill(struct tls_session *s)
{
	ssize_t n;

	n = recv(s->fd, s->in, sizeof(s->in), MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	s->in_done = 0;
	s->in_len = (uint32_t)n;
	s->eof = !n;
	s->dry = false;
	return 1;
}

/* ---- what went wrong ---- */

static int explain(struct tls_session *s, int r, const char *what)
{
	long verify = SSL_get_verify_result(s->ssl);
	unsigned long e = ERR_peek_error();
	const char *reason = s->psk_why ? s->psk_why : ERR_reason_error_string(e);

	s->broken = true;
	if (verify != X509_V_OK &&
	    ERR_GET_REASON(e) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
		r = -EACCES;
		snprintf(s->error, sizeof(s->error), "%s: its certificate: %s", what,
			 X509_verify_cert_error_string(verify));
	} else if (*s->psk_name && !s->psk_known) {
		r = -EACCES;
		snprintf(s->error, sizeof(s->error),
			 "%s: no key of the name '%.200s'%s%s", what, s->psk_name,
			 reason ? ": " : "", reason ? reason : "");
	} else if (*s->psk_name) {
		r = -EACCES;
		snprintf(s->error, sizeof(s->error), "%s: with the key '%.200s': %s",
			 what, s->psk_name,
			 reason ? reason : "it ended the connection");
	} else {
		snprintf(s->error, sizeof(s->error), "%s: %s", what,
			 reason ? reason : "the peer ended the connection");
	}
	ERR_clear_error();
	return r;
}

const char *tls_error(const struct tls_session *s)
{
	return s->error;
}

/* ---- handshake ---- */

int tls_handshake(struct tls_session *s)
{
	int r, error;

	if (s->broken)
		return -EPROTO;
	for (;;) {
		ERR_clear_error();
		r = SSL_do_handshake(s->ssl);
		error = SSL_get_error(s->ssl, r);
		if (r != 1 && error != SSL_ERROR_WANT_READ &&
		    error != SSL_ERROR_WANT_WRITE) {
			r = explain(s, s->eof ? -ECONNRESET : -EPROTO, "TLS handshake");
			tls_flush(s); /* our alert, if there is one */
			return r;
		}
		if (tls_flush(s) == -EAGAIN) {
			s->wants = POLLOUT;
			return -EAGAIN;
		}
		if (r == 1)
			break;
		s->wants = POLLIN;
		r = fill(s);
		if (r < 0)
			return explain(s, -ECONNRESET, "TLS handshake");
		if (!r)
			return -EAGAIN;
	}
	SSL_set_msg_callback(s->ssl, NULL);
	s->hello = NULL;
	explicit_bzero(&s->psk, sizeof(s->psk));
	/* What came behind the handshake waits in the buffer. */
	s->dry = s->in_done == s->in_len && !SSL_has_pending(s->ssl);
	know_peer(s);
	if (!tls_unsent(s))
		tls_ktls_start(s);
	explicit_bzero(s->secret, sizeof(s->secret));
	return 0;
}

int tls_begun(struct tls_session *s, const uint8_t *data, size_t len)
{
	if (len > sizeof(s->in))
		return -EMSGSIZE;
	memcpy(s->in, data, len);
	s->in_len = (uint32_t)len;
	s->in_done = 0;
	s->dry = false;
	return 0;
}

short tls_wants(const struct tls_session *s)
{
	return s->wants;
}

/* ---- bytes ---- */

/* Plain bytes. > 0; 0: no more for now; -1: the end, broken, or errno of the socket. */
static ssize_t decrypt(struct tls_session *s, void *to, size_t len)
{
	size_t n = 0;
	int error;

	if (s->broken)
		return -1;
	ERR_clear_error();
	error = SSL_read_ex(s->ssl, to, len, &n) == 1 ? SSL_ERROR_NONE
						      : SSL_get_error(s->ssl, 0);
	/* OpenSSL would answer with what is written next. */
	if (s->ktls && SSL_get_key_update_type(s->ssl) != SSL_KEY_UPDATE_NONE) {
		s->broken = true;
		snprintf(s->error, sizeof(s->error),
			 "TLS: it asks us to change keys, which the kernel can't");
		return -1;
	}
	s->dry = false;
	if (error == SSL_ERROR_NONE)
		return (ssize_t)n;
	if (error == SSL_ERROR_WANT_WRITE) /* an answer to a key update has no room */
		return 0;
	if (error == SSL_ERROR_WANT_READ) {
		s->dry = true;
		return 0;
	}
	if (s->failed) {
		s->broken = true;
		return -1;
	}
	/* Not dry: an end that came with bytes is still to be told, and by nobody else. */
	if (error == SSL_ERROR_ZERO_RETURN || s->eof)
		s->eof = true;
	else
		explain(s, -EPROTO, "TLS");
	return -1;
}

ssize_t tls_recvmsg(struct tls_session *s, const struct msghdr *m)
{
	size_t total = 0;

	s->may_read = true;
	for (size_t i = 0, at = 0; i < m->msg_iovlen;) {
		const struct iovec *v = &m->msg_iov[i];
		ssize_t n;

		if (at == v->iov_len) {
			i++;
			at = 0;
			continue;
		}
		n = decrypt(s, (uint8_t *)v->iov_base + at, v->iov_len - at);
		if (n <= 0 && (n < 0 || s->eof)) {
			if (total || !s->broken)
				return (ssize_t)total;
			errno = s->failed ? s->failed : EPROTO;
			return -1;
		}
		if (!n)
			break;
		total += (size_t)n;
		at += (size_t)n;
		s->may_read = false; /* the rest of what has come, no more */
	}
	if (!total)
		errno = EAGAIN;
	return total ? (ssize_t)total : -1;
}

bool tls_pending(const struct tls_session *s)
{
	return !s->dry;
}

/* Gathers the next record's bytes; returns how many, advancing the place. */
static size_t gather(const struct msghdr *m, size_t *i, size_t *at, uint8_t *to)
{
	size_t n = 0;

	while (*i < m->msg_iovlen && n < TLS_PLAIN) {
		const struct iovec *v = &m->msg_iov[*i];
		size_t piece = v->iov_len - *at;

		if (piece > TLS_PLAIN - n)
			piece = TLS_PLAIN - n;
		memcpy(to + n, (const uint8_t *)v->iov_base + *at, piece);
		n += piece;
		*at += piece;
		if (*at == v->iov_len) {
			++*i;
			*at = 0;
		}
	}
	return n;
}

ssize_t tls_sendmsg(struct tls_session *s, const struct msghdr *m)
{
	uint8_t record[TLS_PLAIN];
	size_t total = 0, i = 0, at = 0, n, written;

	if (s->ktls)
		return sendmsg(s->fd, m, MSG_DONTWAIT | MSG_NOSIGNAL);
	for (;;) {
		if (TLS_OUT - s->out_len < TLS_ROOM)
			tls_flush(s);
		if (TLS_OUT - s->out_len < TLS_ROOM)
			break;
		n = gather(m, &i, &at, record);
		if (!n)
			break;
		ERR_clear_error();
		if (SSL_write_ex(s->ssl, record, n, &written) != 1 || written != n) {
			explain(s, -EPROTO, "TLS");
			errno = EPROTO;
			return -1;
		}
		total += n;
	}
	if (tls_flush(s) < 0 && errno != EAGAIN && errno != EINTR)
		return -1;
	if (!total)
		errno = EAGAIN;
	return total ? (ssize_t)total : -1;
}

void tls_bye(struct tls_session *s)
{
	if (s->said_bye || s->broken || SSL_in_init(s->ssl))
		return;
	s->said_bye = true;
	if (s->ktls) {
		tls_ktls_bye(s);
		return;
	}
	ERR_clear_error();
	SSL_shutdown(s->ssl);
	ERR_clear_error();
}
