/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The address of an export, as a person types it:
 *
 *	nvme-tcp://HOST[:PORT]/EXPORT
 *	nbd://HOST[:PORT]/EXPORT
 *	iscsi://HOST[:PORT]/EXPORT
 *	nbd+unix:///EXPORT?socket=PATH
 *
 * HOST is a name, an IPv4 address or an IPv6 address in brackets. EXPORT and PATH may
 * hold %XX escapes. For NVMe an EXPORT that begins with "nqn." is a whole subsystem
 * name, for iSCSI one that begins with "iqn." a whole target name; any other is one of
 * memserver's. The NBD forms are those of the NBD URI
 * specification (NetworkBlockDevice/nbd, doc/uri.md) without TLS.
 *
 * Pure functions, no allocation, any thread.
 */
#ifndef CLIENT_URL_H
#define CLIENT_URL_H

#include <stddef.h>
#include <stdint.h>

enum url_scheme { URL_NVME_TCP, URL_NBD, URL_NBD_UNIX, URL_ISCSI };

#define URL_HOST_MAX   253 /* RFC 1035; all maxima are without the NUL */
#define URL_EXPORT_MAX 223 /* an NQN; NBD allows more, nobody uses it */
#define URL_SOCKET_MAX 107 /* sun_path */
#define URL_TEXT_MAX   1200

/* Two of them are the same address when every field is: unused ones are zeroed. */
struct url {
	enum url_scheme scheme;
	uint16_t port;                 /* 0 for a unix socket */
	char host[URL_HOST_MAX + 1];   /* without brackets; empty for a unix socket */
	char name[URL_EXPORT_MAX + 1]; /* the export, decoded; empty: NBD's default */
	char socket[URL_SOCKET_MAX + 1];
};

/* -EINVAL, and *ret_why says in a few static words what is wrong with `text`. */
int url_parse(const char *text, struct url *ret, const char **ret_why);

/* The one spelling of `u`, with its port; `buf` holds URL_TEXT_MAX + 1 bytes. */
char *url_format(const struct url *u, char *buf);

#endif
