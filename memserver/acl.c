/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules in, verdicts on addresses and host NQNs out. */
#include "memserver/acl.h"

#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"

struct rule {
	struct rule *next; /* owned */
	int family;        /* AF_INET, AF_INET6; AF_UNSPEC: a name, in text */
	uint8_t ip[16];
	unsigned int bits;
	char text[];
};

struct acl {
	struct rule *first, **end; /* owned, in the order given */
	unsigned int nr_addresses, nr_nqns, nr_initiators;
	bool open;
};

/* The bytes that are compared; a v4-mapped peer is the IPv4 host it is. */
static int raw_ip(const struct sockaddr *sa, uint8_t ip[16])
{
	const struct in6_addr *ip6;

	if (sa->sa_family == AF_INET) {
		memcpy(ip, &((const struct sockaddr_in *)sa)->sin_addr, 4);
		return AF_INET;
	}
	if (sa->sa_family != AF_INET6)
		return AF_UNSPEC;
	ip6 = &((const struct sockaddr_in6 *)sa)->sin6_addr;
	if (IN6_IS_ADDR_V4MAPPED(ip6)) {
		memcpy(ip, &ip6->s6_addr[12], 4);
		return AF_INET;
	}
	memcpy(ip, ip6, 16);
	return AF_INET6;
}

int acl_new(struct acl **ret)
{
	struct acl *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->end = &a->first;
	*ret = a;
	return 0;
}

void acl_clear(struct acl *a)
{
	while (a->first) {
		struct rule *next = a->first->next;

		free(a->first);
		a->first = next;
	}
	a->end = &a->first;
	a->nr_addresses = a->nr_nqns = a->nr_initiators = 0;
}

void acl_free(struct acl *a)
{
	if (!a)
		return;
	acl_clear(a);
	free(a);
}

/* "nqn." and printable, non-blank characters; what the rest means is not our business. */
static bool is_nqn(const char *text)
{
	if (strncmp(text, "nqn.", 4) || strlen(text) > ACL_NQN_MAX || !text[4])
		return false;
	for (; *text; text++)
		if (!isgraph((unsigned char)*text))
			return false;
	return true;
}

/* RFC 7143, 4.2.7: what tgtd and its text interface take without doubt. */
bool acl_is_initiator(const char *text)
{
	if ((strncmp(text, "iqn.", 4) && strncmp(text, "eui.", 4) &&
	     strncmp(text, "naa.", 4)) ||
	    strlen(text) > ACL_NQN_MAX || !text[4])
		return false;
	for (; *text; text++)
		if (!isgraph((unsigned char)*text) || *text == ',' || *text == '=')
			return false;
	return true;
}

/* "/BITS" of an address of at most `max` bits; "" is all of them. */
static int parse_bits(const char *text, unsigned int max, unsigned int *ret)
{
	unsigned int n = 0;

	*ret = max;
	if (!*text)
		return 0;
	if (strlen(text) < 2 || strlen(text) > 4)
		return -EINVAL;
	for (text++; *text; text++) {
		if (!isdigit((unsigned char)*text))
			return -EINVAL;
		n = n * 10 + (unsigned int)(*text - '0');
	}
	*ret = n;
	return n <= max ? 0 : -EINVAL;
}

static int parse_rule(const char *text, struct rule *ret)
{
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	char ip[ADDR_TEXT_MAX];
	struct addr addr;

	if (is_nqn(text) || acl_is_initiator(text))
		return 0;
	if (len >= sizeof(ip))
		return -EINVAL;
	memcpy(ip, text, len);
	ip[len] = '\0';
	if (addr_parse_ip(ip, &addr) < 0)
		return -EINVAL;
	ret->family = raw_ip(&addr.sa, ret->ip);
	return parse_bits(text + len, ret->family == AF_INET ? 32 : 128, &ret->bits);
}

int acl_add(struct acl *a, const char *text)
{
	size_t len = strlen(text) + 1;
	struct rule *rule = calloc(1, sizeof(*rule) + len);
	int r = -ENOMEM;

	if (!rule)
		return r;
	memcpy(rule->text, text, len);
	r = parse_rule(text, rule);
	if (r < 0) {
		free(rule);
		return r;
	}
	if (rule->family == AF_UNSPEC && acl_is_initiator(text))
		a->nr_initiators++;
	else if (rule->family == AF_UNSPEC)
		a->nr_nqns++;
	else
		a->nr_addresses++;
	*a->end = rule;
	a->end = &rule->next;
	return 0;
}

bool acl_is_empty(const struct acl *a)
{
	return !a->first;
}

void acl_set_open(struct acl *a, bool open)
{
	a->open = open;
}

bool acl_is_open(const struct acl *a)
{
	return a->open;
}

bool acl_has_addresses(const struct acl *a)
{
	return a->nr_addresses > 0;
}

bool acl_has_nqns(const struct acl *a)
{
	return a->nr_nqns > 0;
}

bool acl_has_initiators(const struct acl *a)
{
	return a->nr_initiators > 0;
}

static bool matches(const struct rule *rule, const uint8_t ip[16])
{
	unsigned int bytes = rule->bits / 8, rest = rule->bits % 8;

	if (memcmp(rule->ip, ip, bytes) != 0)
		return false;
	return !rest || !((rule->ip[bytes] ^ ip[bytes]) >> (8 - rest));
}

bool acl_allows_address(const struct acl *a, const struct sockaddr *sa)
{
	uint8_t ip[16];
	int family;

	if (addr_is_local(sa))
		return true;
	family = raw_ip(sa, ip);
	if (family == AF_UNSPEC)
		return false;
	if (a->open)
		return true;
	if (!a->nr_addresses)
		return a->nr_nqns > 0;
	for (const struct rule *rule = a->first; rule; rule = rule->next)
		if (rule->family == family && matches(rule, ip))
			return true;
	return false;
}

bool acl_allows_nqn(const struct acl *a, const char *nqn, size_t len)
{
	if (a->open || !a->nr_nqns)
		return true;
	for (const struct rule *rule = a->first; rule; rule = rule->next)
		if (rule->family == AF_UNSPEC && strlen(rule->text) == len &&
		    !memcmp(rule->text, nqn, len))
			return true;
	return false;
}

void acl_each(const struct acl *a, void (*fn)(const char *text, void *arg), void *arg)
{
	for (const struct rule *rule = a->first; rule; rule = rule->next)
		fn(rule->text, arg);
}
