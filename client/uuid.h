/* SPDX-License-Identifier: GPL-2.0-or-later */
/* UUIDs (RFC 4122): random ones, as text, and from text. Any thread. */
#ifndef CLIENT_UUID_H
#define CLIENT_UUID_H

#include <stdint.h>

#define UUID_TEXT_MAX 36 /* without the NUL */

/* A random one. 0, or -EIO: the kernel has no random numbers yet. */
int uuid_new(uint8_t ret[16]);

void uuid_format(const uint8_t uuid[16], char text[UUID_TEXT_MAX + 1]);

/* -EINVAL: not the whole of `text` is one. */
int uuid_parse(const char *text, uint8_t ret[16]);

#endif
