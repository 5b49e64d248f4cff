/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text of a list of clients in, rules out, and what they say of one client. */
#include "memserver/tls_clients.h"

#include <errno.h>
#include <string.h>

#include "memserver/identity.h"

static int bad(const char **ret_why, const char *why)
{
	*ret_why = why;
	return -EINVAL;
}

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* The next word of a line, which may stand in double quotes; its length, 0 at the end. */
static size_t next_word(const char **at, const char *end, const char **ret)
{
	const char *p = *at, *close = NULL;

	while (p < end && blank(*p))
		p++;
	if (p < end && *p == '"')
		close = memchr(p + 1, '"', (size_t)(end - p - 1));
	if (close) {
		*ret = p + 1;
		*at = close + 1;
		return (size_t)(close - p - 1);
	}
	*ret = p;
	while (p < end && !blank(*p))
		p++;
	*at = p;
	return (size_t)(p - *ret);
}

static int check_who(const char *who, size_t len, const char **ret_why)
{
	static const char *const kinds[] = { "CN:",    "DN:", "DNS:", "URI:",
					     "EMAIL:", "IP:", "PSK:" };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t n = strlen(kinds[i]);

		if (len > n && !memcmp(who, kinds[i], n))
			return 0;
	}
	return bad(ret_why, "a client is CN:, DN:, DNS:, URI:, EMAIL:, IP: or PSK: and "
			    "its name (in quotes if it has blanks)");
}

static int check_export(const char *word, size_t len, const char **ret_why)
{
	char name[80];

	if (len == 1 && *word == '*')
		return 0;
	if (len && len < sizeof(name)) {
		memcpy(name, word, len);
		name[len] = '\0';
		if (strlen(name) == len && identity_name_ok(name))
			return 0;
	}
	return bad(ret_why, "that is not the name of an export");
}

static int parse_line(const char *at, const char *end, struct tls_clients *c,
		      const char **ret_why)
{
	struct tls_client_rule r = { 0 };
	const char *word;
	size_t len;

	r.who_len = next_word(&at, end, &r.who);
	if (!r.who_len || *r.who == '#')
		return 0;
	if (check_who(r.who, r.who_len, ret_why) < 0)
		return -EINVAL;
	r.exports = at;
	r.exports_len = (size_t)(end - at);
	len = next_word(&at, end, &word);
	if (!len)
		return bad(ret_why, "it names no export");
	for (; len; len = next_word(&at, end, &word))
		if (check_export(word, len, ret_why) < 0)
			return -EINVAL;
	if (c->nr == TLS_CLIENTS_MAX)
		return bad(ret_why, "there are more than 1024 rules");
	c->rules[c->nr++] = r;
	return 0;
}

int tls_clients_parse(const char *text, size_t len, struct tls_clients *ret,
		      unsigned int *ret_line, const char **ret_why)
{
	ret->nr = 0;
	*ret_line = 0;
	while (len) {
		const char *nl = memchr(text, '\n', len);
		size_t n = nl ? (size_t)(nl - text) : len;

		++*ret_line;
		if (parse_line(text, text + n, ret, ret_why) < 0)
			return -EINVAL;
		text += n + (nl != NULL);
		len -= n + (nl != NULL);
	}
	return 0;
}

static bool names(const struct tls_client_rule *r, const char *export)
{
	const char *at = r->exports, *end = at + r->exports_len, *word;
	size_t want = strlen(export), len;

	while ((len = next_word(&at, end, &word)) > 0)
		if ((len == 1 && *word == '*') ||
		    (len == want && !memcmp(word, export, len)))
			return true;
	return false;
}

bool tls_clients_allow(const struct tls_clients *c, const char *who, const char *export)
{
	size_t len = strlen(who);

	for (size_t i = 0; i < c->nr; i++)
		if (c->rules[i].who_len == len && !memcmp(c->rules[i].who, who, len) &&
		    names(&c->rules[i], export))
			return true;
	return false;
}
