/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the setters and showers of the configuration's words have in common. A setter
 * returns 0, -ENOMEM, or -EINVAL with *ret_why, a static text. Main thread.
 */
#ifndef MEMSERVER_CONFIG_VALUE_H
#define MEMSERVER_CONFIG_VALUE_H

#include "memserver/config_keys.h"

int config_refuse(const char **ret_why, const char *why);

int config_grow(void *array, size_t nr, size_t size);

int config_set_string(char **field, const char *value, const char **ret_why);

int config_parse_number(const char *text, unsigned int max, unsigned int *ret,
			const char **ret_why);

int config_parse_bool(const char *text, bool *ret, const char **ret_why);

int config_parse_size(const char *text, uint64_t *ret, const char **ret_why);

void config_show_size(const struct config_key *key, uint64_t bytes, config_show_fn fn,
		      void *arg);

void config_show_number(const struct config_key *key, unsigned int n, config_show_fn fn,
			void *arg);

void config_show_bool(const struct config_key *key, bool yes, config_show_fn fn,
		      void *arg);

int config_parse_count(const char *text, uint64_t *ret, const char **ret_why);

#endif
