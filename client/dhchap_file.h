/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file with one secret of NVMe authentication (lib/dhchap_key.h), as
 * `nvme gen-dhchap-key >FILE` makes it, or one key for NVMe/TCP's TLS
 * (lib/nvme_psk.h), as `nvme gen-tls-key >FILE` does. Main thread.
 */
#ifndef CLIENT_DHCHAP_FILE_H
#define CLIENT_DHCHAP_FILE_H

#include "lib/dhchap_key.h"

struct dhchap_secret {
	char text[DHCHAP_KEY_TEXT_MAX + 1]; /* "" without a file */
};

/* Reads and checks; `path` NULL: none. 0, or -errno after having said why (with `flag`,
 * never with a byte of the secret). Wipe with dhchap_secret_wipe. */
int dhchap_file_read(const char *flag, const char *path, struct dhchap_secret *ret);

/* The same for a key of TLS, which the caller wipes. */
int tls_key_file_read(const char *flag, const char *path, struct key_text *ret);
void dhchap_secret_wipe(struct dhchap_secret *s);

#endif
