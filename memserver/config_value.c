/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A value's text in, a number, size or switch out, and back for showing. */
#include "memserver/config_value.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/size.h"

int config_refuse(const char **ret_why, const char *why)
{
	*ret_why = why;
	return -EINVAL;
}

/* Room for one more element; -ENOMEM leaves the array as it was. */
int config_grow(void *array, size_t nr, size_t size)
{
	void *bigger = reallocarray(*(void **)array, nr + 1, size);

	if (!bigger)
		return -ENOMEM;
	*(void **)array = bigger;
	return 0;
}

int config_set_string(char **field, const char *value, const char **ret_why)
{
	char *copy;

	if (!*value)
		return config_refuse(ret_why, "it is empty");
	copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

int config_parse_number(const char *text, unsigned int max, unsigned int *ret,
			const char **ret_why)
{
	unsigned long n = 0;

	if (!*text || strlen(text) > 9)
		return config_refuse(ret_why, "not a number in that range");
	for (; *text; text++) {
		if (!isdigit((unsigned char)*text))
			return config_refuse(ret_why, "not a number");
		n = n * 10 + (unsigned long)(*text - '0');
	}
	if (n > max)
		return config_refuse(ret_why, "too large");
	*ret = (unsigned int)n;
	return 0;
}

int config_parse_bool(const char *text, bool *ret, const char **ret_why)
{
	if (!strcmp(text, "yes") || !strcmp(text, "true") || !strcmp(text, "on"))
		*ret = true;
	else if (!strcmp(text, "no") || !strcmp(text, "false") || !strcmp(text, "off"))
		*ret = false;
	else
		return config_refuse(ret_why, "neither yes nor no");
	return 0;
}

int config_parse_size(const char *text, uint64_t *ret, const char **ret_why)
{
	int r = size_parse(text, ret);

	if (r == -ERANGE)
		return config_refuse(ret_why, "more than any memory");
	return r < 0 ? config_refuse(ret_why, "not a size") : 0;
}

void config_show_size(const struct config_key *key, uint64_t bytes, config_show_fn fn,
		      void *arg)
{
	static const char units[] = "KMGTP";
	const char *unit = "";
	char text[24];

	for (size_t i = 0; bytes && !(bytes % 1024) && i < strlen(units); i++) {
		bytes /= 1024;
		unit = &units[i];
	}
	snprintf(text, sizeof(text), "%llu%.1s", (unsigned long long)bytes, unit);
	fn(key->name, text, arg);
}

void config_show_number(const struct config_key *key, unsigned int n, config_show_fn fn,
			void *arg)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", n);
	fn(key->name, text, arg);
}

void config_show_bool(const struct config_key *key, bool yes, config_show_fn fn,
		      void *arg)
{
	fn(key->name, yes ? "yes" : "no", arg);
}

/* A number that may be 0, for none. */
int config_parse_count(const char *text, uint64_t *ret, const char **ret_why)
{
	unsigned int n;
	int r = config_parse_number(text, 999999999, &n, ret_why);

	if (r == 0)
		*ret = n;
	return r;
}
