/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The words of the configuration: one table for the command line, the file, --help
 * and `memctl show config`. Values are checked here one at a time; what concerns
 * several is config.c's. Main thread, at start.
 */
#ifndef MEMSERVER_CONFIG_KEYS_H
#define MEMSERVER_CONFIG_KEYS_H

#include "memserver/config.h"

enum config_kind {
	CONFIG_VALUE,    /* takes a value */
	CONFIG_OPTIONAL, /* a value; a bare flag is yes */
	CONFIG_BOOL,     /* a bare flag is yes; in the file yes or no */
	CONFIG_FILE_KEY, /* the rest: command line only, acted on by config.c */
	CONFIG_CHECK_KEY,
	CONFIG_PREPARE_KEY,
	CONFIG_HELP_KEY,
	CONFIG_VERSION_KEY,
};

typedef void (*config_show_fn)(const char *key, const char *value, void *arg);

struct config_key {
	const char *name; /* without "--" */
	char letter;      /* of the short flag, or 0 */
	enum config_kind kind;
	const char *allowed; /* what a value looks like */
	const char *help;    /* one line */

	/* Takes `value`; -EINVAL and *ret_why (static text), or -ENOMEM. */
	int (*set)(struct server_cfg *cfg, const char *value, const char **ret_why);

	/* Forgets all that was set: only repeated keys have it. */
	void (*reset)(struct server_cfg *cfg);

	/* Calls `fn` for what is in effect. */
	void (*show)(const struct config_key *key, const struct server_cfg *cfg,
		     config_show_fn fn, void *arg);
};

extern const struct config_key config_keys[];
extern const size_t config_nr_keys;

#define CONFIG_KEYS_MAX 64

/* By name of `len` bytes; NULL: no such key. */
const struct config_key *config_key_find(const char *name, size_t len);

/* Adds a door at `value`, as its key does. For defaults. */
int config_add_door(struct server_cfg *cfg, enum door_kind kind, const char *value,
		    const char **ret_why);

#define CONFIG_METRICS_PORT 9402

#endif
