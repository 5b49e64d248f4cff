/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file of secrets in, accounts out. */
#include "lib/chap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/secret.h"

#define FILE_ROOM 16384

static int bad(const char **ret_why, const char *why)
{
	*ret_why = why;
	return -EINVAL;
}

/* The next word of a line; its length, 0 at the end. */
static size_t next_word(const char **at, const char *end, const char **ret)
{
	const char *p = *at;

	while (p < end && (*p == ' ' || *p == '\t' || *p == '\r'))
		p++;
	*ret = p;
	while (p < end && *p != ' ' && *p != '\t' && *p != '\r')
		p++;
	*at = p;
	return (size_t)(p - *ret);
}

/* tgtd takes "user=…,password=…": no commas, and only what can be typed. */
static bool plain(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || text[i] > '~' || text[i] == ',' || text[i] == '=')
			return false;
	return true;
}

static int check_whole(const struct chap *c, const char **ret_why)
{
	const struct chap_account *last = &c->list[c->nr - 1];

	for (size_t i = 0; i + 1 < c->nr; i++) {
		if (!strcmp(c->list[i].user, last->user))
			return bad(ret_why, "the user is there twice");
		if (c->list[i].outgoing && last->outgoing)
			return bad(ret_why, "there can be one target line");
		if (c->list[i].outgoing != last->outgoing &&
		    !strcmp(c->list[i].secret, last->secret))
			return bad(ret_why, "target and initiator must not share a "
					    "secret");
	}
	return 0;
}

static int parse_line(const char *at, const char *end, struct chap *c,
		      const char **ret_why)
{
	const char *kind, *user, *secret, *rest;
	size_t kind_len = next_word(&at, end, &kind), user_len, secret_len;
	struct chap_account *a = &c->list[c->nr];

	if (!kind_len || *kind == '#')
		return 0;
	user_len = next_word(&at, end, &user);
	secret_len = next_word(&at, end, &secret);
	if (c->nr == CHAP_MAX)
		return bad(ret_why, "there are more than 64 accounts");
	if (kind_len == 6 && !memcmp(kind, "target", 6))
		a->outgoing = true;
	else if (kind_len == 9 && !memcmp(kind, "initiator", 9))
		a->outgoing = false;
	else
		return bad(ret_why, "a line is 'initiator USER SECRET' or 'target USER "
				    "SECRET'");
	if (!user_len || !secret_len || next_word(&at, end, &rest))
		return bad(ret_why, "it needs a user and a secret, and no more");
	if (user_len > CHAP_NAME_MAX || !plain(user, user_len))
		return bad(ret_why, "a user is 1 to 63 characters, no comma, no '='");
	if (secret_len < CHAP_SECRET_MIN || secret_len > CHAP_SECRET_MAX ||
	    !plain(secret, secret_len))
		return bad(ret_why, "a secret is 12 to 63 characters, no comma, no "
				    "'='");
	memcpy(a->user, user, user_len);
	a->user[user_len] = '\0';
	memcpy(a->secret, secret, secret_len);
	a->secret[secret_len] = '\0';
	c->nr++;
	return check_whole(c, ret_why);
}

int chap_parse(const char *text, size_t len, struct chap *ret, unsigned int *ret_line,
	       const char **ret_why)
{
	bool incoming = false;

	memset(ret, 0, sizeof(*ret));
	*ret_line = 0;
	while (len) {
		const char *nl = memchr(text, '\n', len);
		size_t n = nl ? (size_t)(nl - text) : len;
		int r;

		++*ret_line;
		r = parse_line(text, text + n, ret, ret_why);
		if (r < 0)
			return r;
		text += n + (nl != NULL);
		len -= n + (nl != NULL);
	}
	for (size_t i = 0; i < ret->nr; i++)
		incoming |= !ret->list[i].outgoing;
	return incoming ? 0 : bad(ret_why, "it names no initiator");
}

/* NULL: nobody but its owner, root or us, can read it. */
static const char *exposure(const struct stat *st)
{
	if (!S_ISREG(st->st_mode))
		return "not a plain file";
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return "it belongs to another user";
	if (st->st_mode & 077)
		return "others can read or write it: chmod 600";
	return NULL;
}

int chap_load(const char *path, struct chap *ret, char *err, size_t len)
{
	_cleanup_close_ int fd = secret_open(path);
	const char *why = NULL;
	unsigned int line = 0;
	char text[FILE_ROOM];
	struct stat st;
	ssize_t n;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0) {
		r = -errno;
		snprintf(err, len, "%.200s: %s", path, strerror(-r));
		return r;
	}
	why = exposure(&st);
	if (why) {
		snprintf(err, len, "%.200s: %s", path, why);
		return -EPERM;
	}
	n = read(fd, text, sizeof(text));
	if (n < 0 || n == sizeof(text)) {
		r = n < 0 ? -errno : -EFBIG;
		snprintf(err, len, "%.200s: %s", path, strerror(-r));
		return r;
	}
	r = chap_parse(text, (size_t)n, ret, &line, &why);
	explicit_bzero(text, sizeof(text));
	if (r < 0) {
		snprintf(err, len, "%.200s:%u: %s", path, line, why);
		chap_wipe(ret);
	}
	return r;
}

void chap_wipe(struct chap *c)
{
	explicit_bzero(c, sizeof(*c));
}
