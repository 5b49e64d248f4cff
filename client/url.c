/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text in, struct url out, and back. Pure; any thread. */
#include "client/url.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lib/hex.h"

static const struct scheme {
	const char *prefix;
	enum url_scheme scheme;
	uint16_t port;
} schemes[] = {
	{ "nvme-tcp://", URL_NVME_TCP, 4420 },
	{ "nbd://", URL_NBD, 10809 },
	{ "nbd+unix://", URL_NBD_UNIX, 0 },
	{ "iscsi://", URL_ISCSI, 3260 },
};
#define NR_SCHEMES (sizeof(schemes) / sizeof(schemes[0]))

static const struct scheme *find_scheme(const char *text)
{
	for (size_t i = 0; i < NR_SCHEMES; i++)
		if (!strncmp(text, schemes[i].prefix, strlen(schemes[i].prefix)))
			return &schemes[i];
	return NULL;
}

/* Undoes %XX from text[0..len) into `out`, at most `max` bytes and a NUL. */
static int decode(const char *text, size_t len, char *out, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '%') {
			int hi = len - i > 2 ? hex_digit(text[i + 1]) : -1;
			int lo = len - i > 2 ? hex_digit(text[i + 2]) : -1;

			if (hi < 0 || lo < 0)
				return -EINVAL;
			c = (unsigned char)(hi << 4 | lo);
			i += 2;
		}
		if (c < ' ' || c == 0x7f || n == max)
			return -EINVAL;
		out[n++] = (char)c;
	}
	out[n] = '\0';
	return 0;
}

static int parse_port(const char *text, size_t len, uint16_t *ret)
{
	unsigned int port = 0;

	if (!len || len > 5)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (!isdigit((unsigned char)text[i]))
			return -EINVAL;
		port = port * 10 + (unsigned int)(text[i] - '0');
	}
	if (!port || port > UINT16_MAX)
		return -EINVAL;
	*ret = (uint16_t)port;
	return 0;
}

/* Letters that getaddrinfo may be asked for; "%" is an IPv6 scope. */
static bool is_host_char(char c, bool v6)
{
	if (isalnum((unsigned char)c) || c == '.' || c == '-' || c == '_')
		return true;
	return v6 && (c == ':' || c == '%');
}

/* "HOST[:PORT]", `len` bytes. */
static int parse_authority(const char *text, size_t len, struct url *u,
			   const char **ret_why)
{
	bool v6 = len && text[0] == '[';
	const char *host = text + v6;
	const char *end = v6 ? memchr(text, ']', len) : memchr(text, ':', len);
	size_t host_len, used;

	if (v6 && !end) {
		*ret_why = "\"[\" without \"]\"";
		return -EINVAL;
	}
	host_len = end ? (size_t)(end - host) : len;
	used = v6 ? host_len + 2 : host_len;
	if (!host_len || host_len > URL_HOST_MAX) {
		*ret_why = host_len ? "the host name is too long" : "no host";
		return -EINVAL;
	}
	if (v6 && !memchr(host, ':', host_len)) {
		*ret_why = "brackets are for IPv6 addresses";
		return -EINVAL;
	}
	for (size_t i = 0; i < host_len; i++)
		if (!is_host_char(host[i], v6)) {
			*ret_why = "a character that no host name has";
			return -EINVAL;
		}
	if (used < len && (text[used] != ':' ||
			   parse_port(text + used + 1, len - used - 1, &u->port))) {
		*ret_why = "the port must be a number from 1 to 65535";
		return -EINVAL;
	}
	memcpy(u->host, host, host_len);
	return 0;
}

/* "socket=PATH", the one query known. */
static int parse_query(const char *query, struct url *u, const char **ret_why)
{
	static const char key[] = "socket=";

	if (!query || strncmp(query, key, sizeof(key) - 1)) {
		*ret_why = "a unix socket needs \"?socket=PATH\"";
		return -EINVAL;
	}
	query += sizeof(key) - 1;
	if (decode(query, strlen(query), u->socket, URL_SOCKET_MAX) ||
	    u->socket[0] != '/') {
		*ret_why = "the socket must be an absolute path of at most 107 bytes";
		return -EINVAL;
	}
	return 0;
}

/* What stands between the scheme and the path. */
static int parse_place(const char *text, const char *path, const char *query,
		       struct url *u, const char **ret_why)
{
	if (u->scheme == URL_NBD_UNIX) {
		if (path == text)
			return parse_query(query, u, ret_why);
		*ret_why = "a unix socket has no host: nbd+unix:///EXPORT?socket=PATH";
		return -EINVAL;
	}
	if (query) {
		*ret_why = "\"?\" has no meaning here";
		return -EINVAL;
	}
	return parse_authority(text, path ? (size_t)(path - text) : strlen(text), u,
			       ret_why);
}

int url_parse(const char *text, struct url *ret, const char **ret_why)
{
	const struct scheme *s = find_scheme(text);
	const char *path, *query;
	struct url u = { 0 };
	size_t path_len;

	if (!s) {
		*ret_why = "it must begin with nvme-tcp://, iscsi://, nbd:// or "
			   "nbd+unix://";
		return -EINVAL;
	}
	u.scheme = s->scheme;
	u.port = s->port;
	text += strlen(s->prefix);
	path_len = strcspn(text, "?");
	path = memchr(text, '/', path_len);
	query = text[path_len] ? text + path_len + 1 : NULL;
	if (parse_place(text, path, query, &u, ret_why))
		return -EINVAL;
	if (!path ||
	    (!path[1] && (s->scheme == URL_NVME_TCP || s->scheme == URL_ISCSI))) {
		*ret_why = "no export: end it with /EXPORT, memserver's is /default";
		return -EINVAL;
	}
	path_len -= (size_t)(++path - text);
	if (decode(path, path_len, u.name, URL_EXPORT_MAX)) {
		*ret_why = "the export's name is too long or has a bad %XX escape";
		return -EINVAL;
	}
	*ret = u;
	return 0;
}

static size_t encode(const char *text, const char *plain, char *out)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t n = 0;

	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (isalnum(c) || strchr(plain, c)) {
			out[n++] = (char)c;
			continue;
		}
		out[n++] = '%';
		out[n++] = hex[c >> 4];
		out[n++] = hex[c & 15];
	}
	out[n] = '\0';
	return n;
}

char *url_format(const struct url *u, char *buf)
{
	const char *prefix = "";
	bool v6 = strchr(u->host, ':') != NULL;
	size_t n;

	for (size_t i = 0; i < NR_SCHEMES; i++)
		if (schemes[i].scheme == u->scheme)
			prefix = schemes[i].prefix;
	if (u->scheme == URL_NBD_UNIX)
		n = (size_t)sprintf(buf, "%s/", prefix);
	else
		n = (size_t)sprintf(buf, "%s%s%s%s:%u/", prefix, v6 ? "[" : "", u->host,
				    v6 ? "]" : "", u->port);
	n += encode(u->name, "-._~:@", buf + n);
	if (u->scheme == URL_NBD_UNIX) {
		n += (size_t)sprintf(buf + n, "?socket=");
		encode(u->socket, "-._~/", buf + n);
	}
	return buf;
}
