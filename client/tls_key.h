/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A key for NVMe/TCP's TLS: from a file, as `nvme gen-tls-key >FILE` makes it, into the
 * kernel's keyring .nvme, where the kernel and tlshd find it whenever they shake hands.
 * Root; main thread.
 */
#ifndef CLIENT_TLS_KEY_H
#define CLIENT_TLS_KEY_H

#include <stdint.h>

/*
 * Derives this host's key for that subsystem and inserts it, in the place of the same one
 * of an earlier time. 0 and its serial number, or -errno after having said why (with
 * `flag`, never with a byte of the key).
 */
int tls_key_insert(const char *flag, const char *path, const char *hostnqn,
		   const char *subnqn, int32_t *ret_serial);

/* The serial number of the keyring of that name in the text of /proc/keys; -ENOENT. Pure,
 * any thread. */
int tls_key_find_keyring(const char *text, const char *name, int32_t *ret);

#endif
