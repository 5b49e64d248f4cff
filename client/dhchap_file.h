/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file with one secret of NVMe authentication (lib/dhchap_key.h), as
 * `nvme gen-dhchap-key >FILE` makes it. Main thread.
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
void dhchap_secret_wipe(struct dhchap_secret *s);

#endif
