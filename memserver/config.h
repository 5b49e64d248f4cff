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
#include <stdio.h>

#include "lib/addr.h"
#include "lib/log.h"
#include "memserver/export.h"
#include "memserver/nvme/auth_msg.h"
#include "memserver/roles.h"
#include "memserver/secure.h"

struct acl;

enum door_kind { DOOR_NVME, DOOR_DISCOVERY, DOOR_NBD, DOOR_ISCSI, DOOR_KIND_NR };
extern const char *const door_kind_names[DOOR_KIND_NR]; /* as their flags */

struct door_cfg {
	enum door_kind kind;
	struct addr addr; /* only NBD's may be unix */
};

/* Every default is filled in; all that is pointed to is owned. */
struct server_cfg {
	struct export_cfg *exports; /* as exports_create wants them; names owned here */
	size_t nr_exports;
	struct door_cfg *doors;
	size_t nr_doors;
	struct acl *acl;

	struct caps_cfg client_caps; /* what each client may do */
	uint64_t client_quota;       /* memory each client may hold; 0: any */

	char *iscsi_auth; /* path of the CHAP secrets; NULL: none asked for */
	char *nvme_auth;  /* path of the file of NVMe hosts; NULL: none asked for */
	struct nvme_auth_prefs nvme_auth_prefs;
	enum tls_mode nvme_tls;    /* of the NVMe doors */
	char *nvme_tls_keys;       /* path of the file of keys; NULL: none */
	enum tls_mode nvme_concat; /* logins generate keys for that; or must */

	struct secure_cfg tls; /* its strings are owned here */

	char *control_path;
	struct roles_cfg roles; /* its strings are owned here */
	bool remote_on;
	struct addr remote;
	char *audit; /* NULL: no audit log */
	bool metrics_on;
	struct addr metrics;

	char *user;             /* NULL: the default, see drop.h */
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
	bool prepare_pool; /* only mount the pool, then exit */
};

/*
 * Fills `cfg` from the command line and its --config file. 0: go on; 1: all is done
 * (--help, --version, -n; exit 0); -EINVAL: one line has been printed that names the
 * flag or the line of the file (exit 2). `cfg` is to be given to config_fini after 0
 * only.
 */
int config_parse(int argc, char **argv, struct server_cfg *cfg);
void config_fini(struct server_cfg *cfg);

/* What config_read came to, other than -EINVAL. */
enum { CONFIG_GO, CONFIG_CHECKED, CONFIG_HELP, CONFIG_VERSION };

#define CONFIG_ERROR_MAX 512

/*
 * The same without printing: -EINVAL leaves the line in `err` (CONFIG_ERROR_MAX bytes).
 * `cfg` is filled after CONFIG_GO and CONFIG_CHECKED (-n).
 */
int config_read(int argc, char **argv, struct server_cfg *cfg, char *err);

/* As if `text` were all of the --config file `path`. For tests. */
int config_read_text(const char *path, const char *text, size_t len,
		     struct server_cfg *cfg, char *err);

/* The manual in short, for --help. */
void config_help(FILE *to);

/* The effective configuration, one call per value; a repeated key is repeated. */
void config_each(const struct server_cfg *cfg,
		 void (*fn)(const char *key, const char *value, void *arg), void *arg);

#endif
