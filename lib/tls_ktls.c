/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sending by the kernel (its module tls): the traffic secret of a finished handshake in, a
 * socket that encrypts what is sent on it out. What is received stays with OpenSSL: a
 * client may change its keys while it sends (GnuTLS does after 2^24 records), which
 * kernels before 6.14 can't follow. Debian's OpenSSL is built without this, so the keys
 * are derived here (RFC 8446, 7.3). On whatever thread has the session.
 */
#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/hex.h"
#include "lib/hkdf.h"
#include "lib/tls_priv.h"

#define LABEL       "SERVER_TRAFFIC_SECRET_0 "
#define RANDOM_LEN  32u
#define ALERT       21 /* the record's type */
#define ALERT_WORDS 2u

/* "LABEL RANDOM SECRET", in hexadecimal. */
void tls_ktls_keylog(const SSL *ssl, const char *line)
{
	struct tls_session *s = SSL_get_app_data(ssl);
	const char *at = line + sizeof(LABEL) - 1 + 2 * RANDOM_LEN + 1;
	size_t len = 0;

	if (strncmp(line, LABEL, sizeof(LABEL) - 1) != 0 ||
	    strlen(line) < (size_t)(at - line))
		return;
	for (; len < sizeof(s->secret); len++, at += 2) {
		int high = hex_digit(at[0]), low = high < 0 ? -1 : hex_digit(at[1]);

		if (low < 0)
			break;
		s->secret[len] = (uint8_t)(high << 4 | low);
	}
	s->secret_len = len;
}

/* Both are TLS_1_3, sequence number 0, and the fields in one order. */
union crypto_info {
	struct tls_crypto_info head;
	struct tls12_crypto_info_aes_gcm_128 aes128;
	struct tls12_crypto_info_aes_gcm_256 aes256;
};

/* Fills it in; its length, or 0: not with this suite. */
static socklen_t make_info(const struct tls_session *s, union crypto_info *info)
{
	uint32_t suite = SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(s->ssl));
	enum hkdf_hash hash = suite == 0x1302 ? HKDF_SHA384 : HKDF_SHA256;
	uint8_t iv[TLS_CIPHER_AES_GCM_128_SALT_SIZE + TLS_CIPHER_AES_GCM_128_IV_SIZE];
	uint8_t key[TLS_CIPHER_AES_GCM_256_KEY_SIZE];
	size_t key_len =
		suite == 0x1302 ? sizeof(info->aes256.key) : sizeof(info->aes128.key);
	socklen_t len = 0;

	memset(info, 0, sizeof(*info));
	if ((suite != 0x1301 && suite != 0x1302) || s->secret_len != hkdf_len(hash) ||
	    hkdf_expand_short(hash, s->secret, "key", key, key_len) < 0 ||
	    hkdf_expand_short(hash, s->secret, "iv", iv, sizeof(iv)) < 0)
		return 0;
	info->head.version = TLS_1_3_VERSION;
	if (suite == 0x1301) {
		info->head.cipher_type = TLS_CIPHER_AES_GCM_128;
		memcpy(info->aes128.key, key, key_len);
		memcpy(info->aes128.salt, iv, sizeof(info->aes128.salt));
		memcpy(info->aes128.iv, iv + sizeof(info->aes128.salt),
		       sizeof(info->aes128.iv));
		len = sizeof(info->aes128);
	} else {
		info->head.cipher_type = TLS_CIPHER_AES_GCM_256;
		memcpy(info->aes256.key, key, key_len);
		memcpy(info->aes256.salt, iv, sizeof(info->aes256.salt));
		memcpy(info->aes256.iv, iv + sizeof(info->aes256.salt),
		       sizeof(info->aes256.iv));
		len = sizeof(info->aes256);
	}
	explicit_bzero(key, sizeof(key));
	return len;
}

void tls_ktls_start(struct tls_session *s)
{
	union crypto_info info;
	socklen_t len;

	if (!s->secret_len || SSL_version(s->ssl) != TLS1_3_VERSION ||
	    setsockopt(s->fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) < 0)
		return; /* no such module, or no TCP */
	len = make_info(s, &info);
	s->ktls = len && !setsockopt(s->fd, SOL_TLS, TLS_TX, &info, len);
	explicit_bzero(&info, sizeof(info));
}

void tls_ktls_bye(struct tls_session *s)
{
	static const uint8_t close_notify[ALERT_WORDS] = { 1, 0 };
	union {
		struct cmsghdr head;
		uint8_t room[CMSG_SPACE(1)];
	} control = { .head = { .cmsg_level = SOL_TLS,
				.cmsg_type = TLS_SET_RECORD_TYPE,
				.cmsg_len = CMSG_LEN(1) } };
	struct iovec v = { (void *)(uintptr_t)close_notify, sizeof(close_notify) };
	struct msghdr m = { .msg_iov = &v,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control.room) };

	*CMSG_DATA(&control.head) = ALERT;
	sendmsg(s->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}
