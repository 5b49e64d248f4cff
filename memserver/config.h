/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a memserver is told to be: the command line and the file given by --config,
 * which takes the same words ("nbd = 127.0.0.1:10809"). A flag on the command line
 * replaces every line of that name in the file. Read once at start on the main
 * thread, unchanged afterwards.
 */
#ifndef MEMSERVER_CONFIG_H
#define MEMSERVER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/addr.h"
#include "lib/log.h"
#include "memserver/export.h"

struct acl;

enum door_kind { DOOR_NVME, DOOR_DISCOVERY, DOOR_NBD, DOOR_KIND_NR };
extern const char *const door_kind_names[DOOR_KIND_NR]; /* "nvme", "discovery", "nbd" */

struct door_cfg {
	enum door_kind kind;
	struct addr addr; /* discovery and NVMe: never unix */
};

/* Every default is filled in; all that is pointed to is owned. */
struct server_cfg {
	struct export_cfg *exports; /* as exports_create wants them; names owned here */
	size_t nr_exports;
	struct door_cfg *doors;
	size_t nr_doors;
	struct acl *acl;

	char *control_path;
	bool metrics_on;
	struct addr metrics;

	char *pool_dir;         /* NULL: the pool's default */
	uint64_t pool_limit;    /* bytes; 0: none */
	uint64_t reserve_bytes; /* of the host's memory */
	bool huge;
	int numa_node; /* -1: anywhere */

	unsigned int threads;   /* 1 .. EXPORT_MAX_WORKER */
	unsigned int spin_us;   /* 0: never spin */
	unsigned int max_conns; /* of all doors together */

	enum log_level log_level;
	char *config_path; /* NULL: no file */
};

/*
 * Fills `cfg` from the command line and its --config file. 0: go on; 1: all is done
 * (--help, --version, -n; exit 0); -EINVAL: one line has been printed that names the
 * flag or the line of the file (exit 2). `cfg` is to be given to config_fini after 0
 * only. The order of argv may change.
 */
int config_parse(int argc, char **argv, struct server_cfg *cfg);
void config_fini(struct server_cfg *cfg);

/*
 * The same without printing: -EINVAL leaves the line in `err`. 1 is for -n; --help
 * and --version are CONFIG_HELP and CONFIG_VERSION.
 */
enum { CONFIG_GO = 0, CONFIG_CHECKED = 1, CONFIG_HELP = 2, CONFIG_VERSION = 3 };
int config_read(int argc, char **argv, struct server_cfg *cfg, char *err,
		size_t err_len);

/* The effective configuration, one call per value; a repeated key is repeated. */
void config_each(const struct server_cfg *cfg,
		 void (*fn)(const char *key, const char *value, void *arg), void *arg);

/* 1-64 of letters, digits, '.', '_' and '-', not starting with '.' or '-'. */
bool config_name_ok(const char *name, size_t len);

#endif
