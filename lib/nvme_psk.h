/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pre-shared keys of NVMe/TCP's TLS 1.3 (NVMe/TCP Transport 1.0, 3.6.1; TP 8006, 8018):
 *
 *	configured key, as 'nvme gen-tls-key' writes it: "NVMeTLSkey-1:HH:BASE64:"
 *	  -> retained key, which is a host's
 *	    -> TLS key, which is a host's for one subsystem; its name in TLS is the
 *	       identity "NVMe1R01 HOSTNQN SUBNQN DIGEST", or "NVMe0R01 HOSTNQN SUBNQN"
 *
 * A generated key ('G' for 'R', always version 1 here) takes the place of the retained one:
 * it comes of an authentication instead of a file (NVMe Base 2.1, 8.3.4.5.9).
 *
 * libnvme up to 1.15 (nvme-cli up to 2.15) does not put the label around HKDF's info as
 * RFC 8446 says, and so comes to other keys; Linux and later ones do as the standard
 * does. Both are derived here: the same text of a key works for either.
 *
 * Any thread; not on the serving path.
 */
#ifndef LIB_NVME_PSK_H
#define LIB_NVME_PSK_H

#include <stddef.h>
#include <stdint.h>

#include "lib/hkdf.h"
#include "lib/key_text.h"

#define NVME_PSK_NQN_MAX  223
#define NVME_PSK_TEXT_MAX 86 /* characters of the longest key, without the NUL */
/* "NVMe1R02 ", two NQNs, a digest and the blanks. */
#define NVME_PSK_ID_MAX (9 + 2 * NVME_PSK_NQN_MAX + 1 + 1 + 64)

enum nvme_psk_way { NVME_PSK_RFC8446, NVME_PSK_LIBNVME, NVME_PSK_WAYS };

/* A key and the hash that goes with it, hkdf_len bytes. */
struct nvme_psk {
	enum hkdf_hash hash;
	uint8_t bytes[HKDF_MAX];
};

struct nvme_psk_id {
	uint8_t version; /* 0 or 1 */
	char type;       /* 'R' retained, 'G' generated */
	enum hkdf_hash hash;
	char hostnqn[NVME_PSK_NQN_MAX + 1], subnqn[NVME_PSK_NQN_MAX + 1];
	char digest[65]; /* version 1: base64 */
};

/* A configured key. -EINVAL and *ret_why (static text), never with a byte of it. */
int nvme_psk_parse(const char *text, size_t len, struct key_text *ret,
		   const char **ret_why);

/* -ENOMEM. */
int nvme_psk_retain(const struct key_text *configured, const char *hostnqn,
		    enum nvme_psk_way way, struct nvme_psk *ret);

/*
 * The key that DH-HMAC-CHAP generates. `ks` is the session key, `c1` and `c2` are the
 * challenges as they were sent, not augmented; all have hkdf_len(hash) bytes. SHA-512 has
 * no cipher suite: an authentication by it generates none. -ENOMEM.
 */
int nvme_psk_generate(enum hkdf_hash hash, const uint8_t *ks, const uint8_t *c1,
		      const uint8_t *c2, struct nvme_psk *ret);

/* The name that a peer gives a key: any bytes in. -EPROTO. Pure, no allocation. */
int nvme_psk_id_parse(const uint8_t *bytes, size_t len, struct nvme_psk_id *ret);

/* What stands in a version 1 identity: ties it to the key. `ret` has 65 bytes. */
int nvme_psk_digest(const struct nvme_psk *psk, const char *hostnqn, const char *subnqn,
		    char *ret);

/* Fills in `id` (but its version, type and NQNs, which are given) and writes it to
 * `text`, NVME_PSK_ID_MAX + 1 bytes. */
int nvme_psk_id_format(const struct nvme_psk *psk, struct nvme_psk_id *id, char *text);

/*
 * The TLS key of that identity, from the retained (or generated) key: `ret` has
 * hkdf_len(psk->hash) bytes. -EINVAL: a version 0 identity of more than 255 bytes has
 * none by RFC 8446; -ENOMEM.
 */
int nvme_psk_tls_key(const struct nvme_psk *psk, const struct nvme_psk_id *id,
		     enum nvme_psk_way way, uint8_t *ret);

#endif
