/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The words of the configuration that are about TLS and administrators, for the table of config_keys.c,
 * and what must hold between them. Main thread, at start.
 */
#ifndef MEMSERVER_CONFIG_TLS_H
#define MEMSERVER_CONFIG_TLS_H

#include "memserver/config_keys.h"

#define CONFIG_TLS_KEY(NAME)                                                     \
	int config_set_##NAME(struct server_cfg *cfg, const char *value,         \
			      const char **ret_why);                             \
	void config_show_##NAME(const struct config_key *key,                    \
				const struct server_cfg *cfg, config_show_fn fn, \
				void *arg)

CONFIG_TLS_KEY(tls_cert);
CONFIG_TLS_KEY(tls_key);
CONFIG_TLS_KEY(tls_ca);
CONFIG_TLS_KEY(tls_psk);
CONFIG_TLS_KEY(tls_min);
CONFIG_TLS_KEY(tls_clients);
CONFIG_TLS_KEY(nbd_tls);
CONFIG_TLS_KEY(nbd_tls_unix);
CONFIG_TLS_KEY(nvme_tls);
CONFIG_TLS_KEY(nvme_tls_keys);
CONFIG_TLS_KEY(nvme_concat);

/* Who may administrate. */
CONFIG_TLS_KEY(admin_group);
CONFIG_TLS_KEY(operator_group);
CONFIG_TLS_KEY(viewer_group);
CONFIG_TLS_KEY(audit);
CONFIG_TLS_KEY(remote);
#define CONFIG_REMOTE_PORT 10811

/* Which modes were given, and are not to be filled in. */
struct config_tls_given {
	bool nbd_tls, nvme_tls, nvme_concat;
};

/*
 * Fills in what follows (with keys to show, NBD and NVMe require TLS; NVMe hosts that log
 * in may generate keys, where they may begin in the clear); NULL, or what contradicts,
 * with *ret_key the name of the flag to blame.
 */
const char *config_tls_check(struct server_cfg *cfg,
			     const struct config_tls_given *given,
			     const char **ret_key);

void config_tls_fini(struct server_cfg *cfg);

#endif
