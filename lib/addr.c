/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text in, socket addresses out, and back. */
#include "lib/addr.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOPBACK "127.0.0.1"

static int parse_port(const char *text, uint16_t *ret)
{
	unsigned int n = 0;

	if (!*text || strlen(text) > 5)
		return -EINVAL;
	for (; *text; text++) {
		if (!isdigit((unsigned char)*text))
			return -EINVAL;
		n = n * 10 + (unsigned int)(*text - '0');
	}
	if (n > UINT16_MAX)
		return -EINVAL;
	*ret = (uint16_t)n;
	return 0;
}

static int parse_ip4(const char *text, struct addr *ret)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&ret->storage;

	if (inet_pton(AF_INET, text, &in->sin_addr) != 1)
		return -EINVAL;
	in->sin_family = AF_INET;
	ret->len = sizeof(*in);
	return 0;
}

/* "fd00::1" or "fe80::1%eth0". */
static int parse_ip6(const char *text, struct addr *ret)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ret->storage;
	const char *scope = strchr(text, '%');
	char ip[INET6_ADDRSTRLEN];
	size_t len = scope ? (size_t)(scope - text) : strlen(text);

	if (len >= sizeof(ip))
		return -EINVAL;
	memcpy(ip, text, len);
	ip[len] = '\0';
	if (inet_pton(AF_INET6, ip, &in6->sin6_addr) != 1)
		return -EINVAL;
	if (scope) {
		in6->sin6_scope_id = if_nametoindex(scope + 1);
		if (!in6->sin6_scope_id)
			return -EINVAL;
	}
	in6->sin6_family = AF_INET6;
	ret->len = sizeof(*in6);
	return 0;
}

int addr_parse_ip(const char *text, struct addr *ret)
{
	struct addr a = { 0 };
	char inner[ADDR_TEXT_MAX];
	size_t len = strlen(text);
	int r;

	if (len >= sizeof(inner))
		return -EINVAL;
	memcpy(inner, text, len + 1);
	if (*inner == '[') {
		if (len < 2 || inner[len - 1] != ']')
			return -EINVAL;
		inner[len - 1] = '\0';
		r = parse_ip6(inner + 1, &a);
	} else if (!strcmp(inner, "localhost")) {
		r = parse_ip4(LOOPBACK, &a);
	} else if (strchr(inner, ':')) {
		r = parse_ip6(inner, &a);
	} else {
		r = parse_ip4(inner, &a);
	}
	if (!r)
		*ret = a;
	return r;
}

static int parse_unix(const char *path, struct addr *ret)
{
	struct addr a = { .len = sizeof(a.un) };

	if (!*path)
		return -EINVAL;
	if (strlen(path) >= sizeof(a.un.sun_path))
		return -ENAMETOOLONG;
	a.un.sun_family = AF_UNIX;
	strcpy(a.un.sun_path, path);
	*ret = a;
	return 0;
}

static void set_port(struct addr *a, uint16_t port)
{
	if (a->sa.sa_family == AF_INET)
		((struct sockaddr_in *)&a->storage)->sin_port = htons(port);
	else
		((struct sockaddr_in6 *)&a->storage)->sin6_port = htons(port);
}

/*
 * Where the port begins, or NULL: after "]:", or after the only colon there is (two
 * are a bare IPv6 address).
 */
static const char *find_port(const char *text)
{
	const char *colon = strrchr(text, ':');

	if (!colon)
		return NULL;
	if (*text == '[')
		return colon[-1] == ']' ? colon + 1 : NULL;
	return strchr(text, ':') == colon ? colon + 1 : NULL;
}

int addr_parse(const char *text, uint16_t port, struct addr *ret)
{
	char host[ADDR_TEXT_MAX];
	const char *port_text;
	struct addr a;
	int r;

	if (!strncmp(text, "unix:", 5))
		return parse_unix(text + 5, ret);
	if (strlen(text) >= sizeof(host))
		return -EINVAL;
	strcpy(host, text);
	port_text = find_port(text);
	if (port_text)
		host[port_text - text - 1] = '\0';
	else if (*text && strspn(text, "0123456789") == strlen(text)) {
		port_text = text;
		strcpy(host, LOOPBACK);
	}
	if (port_text && parse_port(port_text, &port) < 0)
		return -EINVAL;
	r = addr_parse_ip(host, &a);
	if (r < 0)
		return r;
	set_port(&a, port);
	*ret = a;
	return 0;
}

const char *addr_format(const struct sockaddr *sa, char *buf, size_t len_bytes)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
	char ip[INET6_ADDRSTRLEN], scope[IF_NAMESIZE + 1] = "";

	switch (sa->sa_family) {
	case AF_UNIX:
		snprintf(buf, len_bytes, "unix:%s",
			 ((const struct sockaddr_un *)sa)->sun_path);
		break;
	case AF_INET:
		inet_ntop(AF_INET, &((const struct sockaddr_in *)sa)->sin_addr, ip,
			  sizeof(ip));
		snprintf(buf, len_bytes, "%s:%u", ip, addr_port(sa));
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof(ip));
		if (in6->sin6_scope_id && if_indextoname(in6->sin6_scope_id, scope + 1))
			scope[0] = '%';
		snprintf(buf, len_bytes, "[%s%s]:%u", ip, scope, addr_port(sa));
		break;
	default:
		snprintf(buf, len_bytes, "?");
	}
	return buf;
}

uint16_t addr_port(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)sa)->sin_port);
	if (sa->sa_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)sa)->sin6_port);
	return 0;
}

bool addr_is_local(const struct sockaddr *sa)
{
	const struct in6_addr *ip6;

	switch (sa->sa_family) {
	case AF_UNIX:
		return true;
	case AF_INET:
		return ntohl(((const struct sockaddr_in *)sa)->sin_addr.s_addr) >> 24 ==
		       127;
	case AF_INET6:
		ip6 = &((const struct sockaddr_in6 *)sa)->sin6_addr;
		return IN6_IS_ADDR_LOOPBACK(ip6) ||
		       (IN6_IS_ADDR_V4MAPPED(ip6) && ip6->s6_addr[12] == 127);
	default:
		return false;
	}
}
