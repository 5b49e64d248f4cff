/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HKDF (RFC 5869) by HMAC with SHA-256 or SHA-384, and the labels that TLS 1.3 puts
 * around what is derived (RFC 8446, 7.1). What is derived is as long as the hash unless
 * a length is given. Any thread; allocates: not on the serving path. 0 or -ENOMEM.
 */
#ifndef LIB_HKDF_H
#define LIB_HKDF_H

#include <stddef.h>
#include <stdint.h>

#define HKDF_MAX       48  /* bytes of what is derived */
#define HKDF_LABEL_MAX 200 /* bytes of a label, without "tls13 " */
#define HKDF_CTX_MAX   255 /* bytes of a context */

enum hkdf_hash { HKDF_SHA256 = 1, HKDF_SHA384 = 2 }; /* as NVMe numbers them */

size_t hkdf_len(enum hkdf_hash hash); /* 32 or 48 */

/* HMAC of `data`; all results have hkdf_len bytes. */
int hkdf_hmac(enum hkdf_hash hash, const uint8_t *key, size_t key_len,
	      const uint8_t *data, size_t len, uint8_t *ret);
int hkdf_digest(enum hkdf_hash hash, const uint8_t *data, size_t len, uint8_t *ret);

/* HKDF-Extract without a salt, HKDF-Expand. */
int hkdf_extract(enum hkdf_hash hash, const uint8_t *key, size_t len, uint8_t *ret);
int hkdf_expand(enum hkdf_hash hash, const uint8_t *prk, const uint8_t *info,
		size_t len, uint8_t *ret);

/* HKDF-Expand-Label. -EINVAL too: label or context is too long. */
int hkdf_expand_label(enum hkdf_hash hash, const uint8_t *prk, const char *label,
		      const uint8_t *ctx, size_t ctx_len, uint8_t *ret);

/* The same for `ret_len` bytes, at most hkdf_len: keys and IVs (RFC 8446, 7.3). */
int hkdf_expand_short(enum hkdf_hash hash, const uint8_t *prk, const char *label,
		      uint8_t *ret, size_t ret_len);

#endif
