/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which client may open which exports, by what it has proved to be (lib/tls.h):
 *
 *	# who                       exports, or * for all
 *	CN:guest1                   swap1 spare
 *	DNS:guest2.example.com      swap2
 *	"DN:CN=build 7,O=Example"   *
 *	PSK:guest3                  swap3
 *
 * A line may be repeated; what several lines allow adds up. Pure: views into the text,
 * which must live as long; no allocation. Any thread.
 */
#ifndef MEMSERVER_TLS_CLIENTS_H
#define MEMSERVER_TLS_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>

#define TLS_CLIENTS_MAX 1024 /* lines with a rule */

struct tls_client_rule {
	const char *who, *exports; /* not terminated */
	size_t who_len, exports_len;
};

struct tls_clients {
	struct tls_client_rule rules[TLS_CLIENTS_MAX];
	size_t nr;
};

/* -EINVAL and *ret_line, *ret_why (static text): what is wrong where. */
int tls_clients_parse(const char *text, size_t len, struct tls_clients *ret,
		      unsigned int *ret_line, const char **ret_why);

bool tls_clients_allow(const struct tls_clients *c, const char *who,
		       const char *export);

#endif
