/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Secrets of NVMe in-band authentication as nvme-cli writes them:
 * "DHHC-1:HH:BASE64:", where HH names the hash that transforms the secret (00 none, 01
 * SHA-256, 02 SHA-384, 03 SHA-512) and the base64 is of 32, 48 or 64 bytes and their
 * CRC-32, little-endian (NVMe Base 2.0, 8.13.5.8). Pure, any thread.
 */
#ifndef LIB_DHCHAP_KEY_H
#define LIB_DHCHAP_KEY_H

#include "lib/key_text.h"

#define DHCHAP_KEY_MAX      KEY_TEXT_BYTES_MAX
#define DHCHAP_KEY_TEXT_MAX 103 /* characters of the longest, without the NUL */

/* -EINVAL and *ret_why (static text), never with a byte of the secret. */
int dhchap_key_parse(const char *text, size_t len, struct key_text *ret,
		     const char **ret_why);

#endif
