/* SPDX-License-Identifier: GPL-2.0-or-later */
/* --export NAME=SIZE,option=… in, an element of cfg->exports out, and back. */
#include "memserver/config_words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memserver/config_value.h"
#include "memserver/identity.h"

#define EXPORTS_MAX 4096

int config_check_caps(const struct caps_cfg *caps, const char **ret_why)
{
	return caps_check(caps) < 0
		       ? config_refuse(ret_why,
				       "a limit is 1M or more bytes, or 10 or more "
				       "operations, a second; 0 is none")
		       : 0;
}

/* One "key=value" of what may follow an export's size. */
static int parse_option(const char *text, struct export_cfg *e, const char **ret_why)
{
	if (!strncmp(text, "quota=", 6)) {
		int r = config_parse_size(text + 6, &e->quota_bytes, ret_why);

		if (r < 0)
			return r;
		if (!e->quota_bytes || e->quota_bytes > e->size_bytes)
			return config_refuse(ret_why,
					     "the quota must be above 0 and at most "
					     "the size");
		return 0;
	}
	if (!strncmp(text, "bandwidth=", 10))
		return config_parse_size(text + 10, &e->caps.bytes_per_s, ret_why);
	if (!strncmp(text, "iops=", 5))
		return config_parse_count(text + 5, &e->caps.ops_per_s, ret_why);
	if (!strcmp(text, "tls=required")) {
		e->needs_tls = true;
		return 0;
	}
	return config_refuse(ret_why,
			     "after the size only quota=SIZE, bandwidth=SIZE, iops=N "
			     "and tls=required may follow");
}

/* The part of an export's value after its size: ",quota=SIZE,iops=N". */
static int parse_options(const char *text, struct export_cfg *e, const char **ret_why)
{
	char one[64];
	int r;

	while (*text) {
		size_t len = strcspn(++text, ",");

		snprintf(one, sizeof(one), "%.*s", (int)len, text);
		r = len < sizeof(one) ? parse_option(one, e, ret_why)
				      : config_refuse(ret_why, "not a size");
		if (r < 0)
			return r;
		text += len;
	}
	return config_check_caps(&e->caps, ret_why);
}

/* "[NAME=]SIZE[,KEY=VALUE]..."; `name` has room for the longest. */
static int parse_export(const char *text, char *name, struct export_cfg *e,
			const char **ret_why)
{
	size_t head = strcspn(text, ","), name_len;
	const char *eq = memchr(text, '=', head);
	char size[32];
	int r;

	strcpy(name, "default");
	if (eq) {
		name_len = (size_t)(eq - text);
		if (name_len > EXPORT_NAME_MAX)
			return config_refuse(ret_why,
					     "its name is longer than 64 characters");
		memcpy(name, text, name_len);
		name[name_len] = '\0';
		if (!identity_name_ok(name))
			return config_refuse(ret_why,
					     "a name is 1 to 64 letters, digits, "
					     "'.', '_' or '-' and does not start "
					     "with '.' or '-'");
		head -= name_len + 1;
		text = eq + 1;
	}
	if (head >= sizeof(size))
		return config_refuse(ret_why, "not a size");
	memcpy(size, text, head);
	size[head] = '\0';
	r = config_parse_size(size, &e->size_bytes, ret_why);
	if (r < 0)
		return r;
	if (!e->size_bytes || e->size_bytes % EXPORT_BLOCK)
		return config_refuse(ret_why, "the size must be a multiple of 4096");
	return parse_options(text + head, e, ret_why);
}

int config_set_export(struct server_cfg *cfg, const char *value, const char **ret_why)
{
	char name[EXPORT_NAME_MAX + 1];
	struct export_cfg e = { 0 };
	int r = parse_export(value, name, &e, ret_why);

	if (r < 0)
		return r;
	if (cfg->nr_exports == EXPORTS_MAX)
		return config_refuse(ret_why, "there are too many");
	for (size_t i = 0; i < cfg->nr_exports; i++)
		if (!strcmp(cfg->exports[i].name, name))
			return config_refuse(ret_why, "the name is given twice");
	r = config_grow(&cfg->exports, cfg->nr_exports, sizeof(*cfg->exports));
	if (r < 0)
		return r;
	e.name = strdup(name);
	if (!e.name)
		return -ENOMEM;
	cfg->exports[cfg->nr_exports++] = e;
	return 0;
}

void config_reset_export(struct server_cfg *cfg)
{
	for (size_t i = 0; i < cfg->nr_exports; i++)
		free((char *)cfg->exports[i].name);
	free(cfg->exports);
	cfg->exports = NULL;
	cfg->nr_exports = 0;
}

static size_t show_option(char *buf, size_t room, const char *key, uint64_t value)
{
	return value ? (size_t)snprintf(buf, room, ",%s=%llu", key,
					(unsigned long long)value)
		     : 0;
}

void config_show_export(const struct config_key *key, const struct server_cfg *cfg,
			config_show_fn fn, void *arg)
{
	char text[EXPORT_NAME_MAX + 160];

	for (size_t i = 0; i < cfg->nr_exports; i++) {
		const struct export_cfg *e = &cfg->exports[i];
		size_t n = (size_t)snprintf(text, sizeof(text), "%s=%llu", e->name,
					    (unsigned long long)e->size_bytes);

		n += show_option(text + n, sizeof(text) - n, "quota", e->quota_bytes);
		n += show_option(text + n, sizeof(text) - n, "bandwidth",
				 e->caps.bytes_per_s);
		n += show_option(text + n, sizeof(text) - n, "iops", e->caps.ops_per_s);
		if (e->needs_tls)
			snprintf(text + n, sizeof(text) - n, ",tls=required");
		fn(key->name, text, arg);
	}
}
