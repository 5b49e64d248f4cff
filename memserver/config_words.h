/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The words of the configuration that have files of their own, for the table of config_keys.c. Main thread. */
#ifndef MEMSERVER_CONFIG_WORDS_H
#define MEMSERVER_CONFIG_WORDS_H

#include "memserver/config_keys.h"

#define CONFIG_SET(NAME)                                                 \
	int config_set_##NAME(struct server_cfg *cfg, const char *value, \
			      const char **ret_why)
#define CONFIG_RESET(NAME) void config_reset_##NAME(struct server_cfg *cfg)
#define CONFIG_SHOW(NAME)                                                        \
	void config_show_##NAME(const struct config_key *key,                    \
				const struct server_cfg *cfg, config_show_fn fn, \
				void *arg)

CONFIG_SET(export);
CONFIG_RESET(export);
CONFIG_SHOW(export);
CONFIG_RESET(discovery);
CONFIG_RESET(iscsi);
CONFIG_RESET(nbd);
CONFIG_RESET(nvme);
CONFIG_SET(discovery);
CONFIG_SET(iscsi);
CONFIG_SET(iscsi_auth);
CONFIG_SET(iser);
CONFIG_SET(metrics);
CONFIG_SET(nbd);
CONFIG_SET(nvme);
CONFIG_SET(nvme_auth);
CONFIG_SET(nvme_auth_group);
CONFIG_SET(nvme_auth_hash);
CONFIG_SHOW(discovery);
CONFIG_SHOW(iscsi);
CONFIG_SHOW(iscsi_auth);
CONFIG_SHOW(metrics);
CONFIG_SHOW(nbd);
CONFIG_SHOW(nvme);
CONFIG_SHOW(nvme_auth);
CONFIG_SHOW(nvme_auth_group);
CONFIG_SHOW(nvme_auth_hash);

/* Can these limits be kept? Returns as a setter does. */
int config_check_caps(const struct caps_cfg *caps, const char **ret_why);

#endif
