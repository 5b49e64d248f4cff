/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Our access list in, tgtd's rules out. tgtd (1.0.85, tried) lets in whoever matches
 * any rule, an address or a name. So where names are listed only they are bound, and
 * an address alone lets nobody in; both at once would be "either" where we promise
 * "both", which the configuration refuses. Networks are compared only if their host
 * bits are zero; there is no /0 and no /32.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "memserver/acl.h"
#include "memserver/iscsi/target.h"

struct walk {
	int (*fn)(const char *text, void *arg);
	void *arg;
	bool only_names;
	int r;
};

static void emit(struct walk *w, const char *kind, const char *value)
{
	char text[300];

	if (w->r)
		return;
	snprintf(text, sizeof(text), "%s=%s", kind, value);
	w->r = w->fn(text, w->arg);
}

/* Clears what is behind the first `bits` of `ip`. */
static void mask(uint8_t *ip, unsigned int bytes, unsigned int bits)
{
	for (unsigned int i = 0; i < bytes; i++) {
		unsigned int keep = bits >= (i + 1) * 8 ? 8
				    : bits > i * 8      ? bits - i * 8
							: 0;

		ip[i] &= (uint8_t)(0xff00 >> keep);
	}
}

static void emit_network(struct walk *w, struct addr *a, unsigned int bits)
{
	bool is_v4 = a->sa.sa_family == AF_INET;
	unsigned int max = is_v4 ? 32 : 128;
	char text[ADDR_TEXT_MAX], rule[ADDR_TEXT_MAX + 8];
	uint8_t *ip;
	size_t len;

	if (is_v4)
		ip = (uint8_t *)&((struct sockaddr_in *)&a->sa)->sin_addr;
	else
		ip = ((struct sockaddr_in6 *)&a->sa)->sin6_addr.s6_addr;
	if (!bits && is_v4) { /* tgtd knows no /0 */
		emit_network(w, a, 1);
		ip[0] = 0x80;
		emit_network(w, a, 1);
		return;
	}
	if (bits < max)
		mask(ip, max / 8, bits);
	/* "10.0.0.0:0" and "[fd00::]:0": the address without the port. */
	addr_format(&a->sa, text, sizeof(text));
	len = strlen(text);
	while (len && text[len - 1] != ':')
		len--;
	text[len ? len - 1 : 0] = '\0';
	if (bits == max)
		snprintf(rule, sizeof(rule), "%s", text);
	else
		snprintf(rule, sizeof(rule), "%s/%u", text, bits);
	emit(w, "initiator-address", rule);
}

static void emit_rule(const char *text, void *arg)
{
	struct walk *w = arg;
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	char ip[ADDR_TEXT_MAX];
	struct addr a;

	if (acl_is_initiator(text)) {
		emit(w, "initiator-name", text);
		return;
	}
	if (w->only_names)
		return;
	if (len >= sizeof(ip))
		return;
	memcpy(ip, text, len);
	ip[len] = '\0';
	if (addr_parse_ip(ip, &a) < 0)
		return; /* an NQN */
	emit_network(w, &a,
		     slash ? (unsigned int)atoi(slash + 1)
			   : (a.sa.sa_family == AF_INET ? 32u : 128u));
}

int target_each_rule(const struct acl *acl, int (*fn)(const char *text, void *arg),
		     void *arg)
{
	struct walk w = { .fn = fn, .arg = arg };

	w.only_names = acl_has_initiators(acl);
	if (acl_is_open(acl)) {
		emit(&w, "initiator-address", "ALL");
	} else if (!w.only_names) {
		emit(&w, "initiator-address", "127.0.0.0/8");
		emit(&w, "initiator-address", "::1");
	}
	acl_each(acl, emit_rule, &w);
	return w.r;
}
