/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file of pre-shared keys as GnuTLS's psktool writes and QEMU and nbdkit read it:
 * lines of "NAME:HEX"; blank lines and lines that begin with '#' are passed over. Pure:
 * bytes in, a table out. Any thread.
 */
#ifndef LIB_PSK_H
#define LIB_PSK_H

#include <stddef.h>
#include <stdint.h>

#define PSK_NAME_MAX 127
#define PSK_KEY_MAX_ 64 /* bytes; psktool makes 32 */
#define PSK_KEY_MIN  16
#define PSK_NR_MAX   1024

struct psk_key {
	char name[PSK_NAME_MAX + 1]; /* printable, no blank, no ':' */
	uint8_t key[PSK_KEY_MAX_];
	uint8_t len;
};

/*
 * Fills `keys` (room for `room`, at most PSK_NR_MAX are taken). 0 and *ret_nr >= 1, or
 * -EINVAL and *ret_line, *ret_why (static text, without a byte of a key). A name may
 * stand there once.
 */
int psk_parse(const char *text, size_t len, struct psk_key *keys, size_t room,
	      size_t *ret_nr, unsigned int *ret_line, const char **ret_why);

/* NULL: nobody of that name. */
const struct psk_key *psk_find(const struct psk_key *keys, size_t nr, const char *name);

#endif
