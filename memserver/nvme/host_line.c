/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file's text in, its lines and their words out. */
#include "memserver/nvme/host_line.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int bad(const char **ret_why, const char *why)
{
	*ret_why = why;
	return -EINVAL;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

size_t host_line_word(const char **at, const char *end, const char **ret)
{
	const char *p = *at;

	while (p < end && is_blank(*p))
		p++;
	*ret = p;
	while (p < end && !is_blank(*p))
		p++;
	*at = p;
	return (size_t)(p - *ret);
}

static int take_nqn(const char *word, size_t len, char *ret, const char **ret_why)
{
	if (len < 5 || len > NVME_NQN_LEN || memcmp(word, "nqn.", 4))
		return bad(ret_why, "after 'host' comes its NQN (nqn.…)");
	for (size_t i = 0; i < len; i++)
		if (!isgraph((unsigned char)word[i]))
			return bad(ret_why, "its NQN has characters that none has");
	memcpy(ret, word, len);
	ret[len] = '\0';
	return 0;
}

int host_line_begin(const char **at, const char *end, char *ret_nqn,
		    const char **ret_why)
{
	const char *word;
	size_t len = host_line_word(at, end, &word);

	if (len != 4 || memcmp(word, "host", 4))
		return bad(ret_why, "a line begins with 'host'");
	len = host_line_word(at, end, &word);
	return take_nqn(word, len, ret_nqn, ret_why);
}

int host_line_exports(const char *names, size_t len, char **ret, const char **ret_why)
{
	bool fresh = true;

	for (size_t i = 0; i < len; i++) {
		bool comma = names[i] == ',';

		if ((comma && fresh) || (!comma && !isgraph((unsigned char)names[i])))
			return bad(ret_why, "exports= wants names with commas between");
		fresh = comma;
	}
	if (fresh)
		return bad(ret_why, "exports= wants names with commas between");
	return asprintf(ret, ",%.*s,", (int)len, names) < 0 ? -ENOMEM : 0;
}

bool host_line_covers(const char *exports, const char *export)
{
	size_t len = export ? strlen(export) : 0;

	if (!exports || !export)
		return true;
	if (!len || strchr(export, ','))
		return false; /* no name, or several */
	for (const char *at = strstr(exports, export); at; at = strstr(at + 1, export))
		if (at[-1] == ',' && at[len] == ',')
			return true;
	return false;
}

int host_line_each(const char *text, size_t len,
		   int (*take)(void *arg, const char *at, const char *end,
			       const char **ret_why),
		   void *arg, unsigned int *ret_line, const char **ret_why)
{
	int r = 0;

	*ret_line = 0;
	while (len && !r) {
		const char *nl = memchr(text, '\n', len), *at = text;
		size_t n = nl ? (size_t)(nl - text) : len;

		++*ret_line;
		while (at < text + n && is_blank(*at))
			at++;
		if (at < text + n && *at != '#')
			r = take(arg, at, text + n, ret_why);
		text += n + (nl != NULL);
		len -= n + (nl != NULL);
	}
	return r;
}

int host_line_grow(void *list, size_t nr, size_t size)
{
	size_t room = nr ? nr * 2 : 1;
	void *old, *grown;

	if (nr & (nr - 1)) /* a power of two is full */
		return 0;
	grown = calloc(room, size);
	if (!grown)
		return -ENOMEM;
	memcpy(&old, list, sizeof(old));
	if (nr) {
		memcpy(grown, old, nr * size);
		explicit_bzero(old, nr * size);
	}
	free(old);
	memcpy(list, &grown, sizeof(grown));
	return 0;
}
