/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Words about TLS and their values in, struct secure_cfg out. */
#include "memserver/config_tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const modes[] = {
	[TLS_OFF] = "off", [TLS_OFFERED] = "offered", [TLS_REQUIRED] = "required"
};

static int set_path(const char **field, const char *value, const char **ret_why)
{
	char *copy;

	if (!*value) {
		*ret_why = "it is empty";
		return -EINVAL;
	}
	copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	free((char *)(uintptr_t)*field);
	*field = copy;
	return 0;
}

#define TEXT_KEY(NAME, FIELD)                                                    \
	int config_set_##NAME(struct server_cfg *cfg, const char *value,         \
			      const char **ret_why)                              \
	{                                                                        \
		return set_path((const char **)&cfg->FIELD, value, ret_why);     \
	}                                                                        \
	void config_show_##NAME(const struct config_key *key,                    \
				const struct server_cfg *cfg, config_show_fn fn, \
				void *arg)                                       \
	{                                                                        \
		if (cfg->FIELD)                                                  \
			fn(key->name, cfg->FIELD, arg);                          \
	}
TEXT_KEY(tls_cert, tls.files.cert)
TEXT_KEY(tls_key, tls.files.key)
TEXT_KEY(tls_ca, tls.files.ca)
TEXT_KEY(tls_psk, tls.files.psk)
TEXT_KEY(tls_clients, tls.clients)
TEXT_KEY(nvme_tls_keys, nvme_tls_keys)
TEXT_KEY(admin_group, roles.group[CTL_ADMIN])
TEXT_KEY(operator_group, roles.group[CTL_OPERATOR])
TEXT_KEY(viewer_group, roles.group[CTL_VIEWER])
TEXT_KEY(audit, audit)

int config_set_remote(struct server_cfg *cfg, const char *value, const char **ret_why)
{
	cfg->remote_on = strcmp(value, "off") != 0;
	if (!cfg->remote_on)
		return 0;
	if (addr_parse(value, CONFIG_REMOTE_PORT, &cfg->remote) == 0 &&
	    cfg->remote.sa.sa_family != AF_UNIX)
		return 0;
	*ret_why = "not an address";
	return -EINVAL;
}

void config_show_remote(const struct config_key *key, const struct server_cfg *cfg,
			config_show_fn fn, void *arg)
{
	char text[ADDR_TEXT_MAX];

	if (cfg->remote_on)
		fn(key->name, addr_format(&cfg->remote.sa, text, sizeof(text)), arg);
}

int config_set_tls_min(struct server_cfg *cfg, const char *value, const char **ret_why)
{
	if (strcmp(value, "1.2") != 0 && strcmp(value, "1.3") != 0) {
		*ret_why = "no such version, or one that is broken";
		return -EINVAL;
	}
	cfg->tls.files.only_13 = !strcmp(value, "1.3");
	return 0;
}

static bool has_tls(const struct server_cfg *cfg)
{
	return cfg->tls.files.cert || cfg->tls.files.psk;
}

void config_show_tls_min(const struct config_key *key, const struct server_cfg *cfg,
			 config_show_fn fn, void *arg)
{
	if (has_tls(cfg))
		fn(key->name, cfg->tls.files.only_13 ? "1.3" : "1.2", arg);
}

static int set_mode(enum tls_mode *mode, const char *value, const char **ret_why)
{
	for (int i = TLS_OFF; i <= TLS_REQUIRED; i++)
		if (!strcmp(value, modes[i])) {
			*mode = (enum tls_mode)i;
			return 0;
		}
	*ret_why = "no such thing";
	return -EINVAL;
}

#define MODE_KEY(NAME, FIELD)                                                    \
	int config_set_##NAME(struct server_cfg *cfg, const char *value,         \
			      const char **ret_why)                              \
	{                                                                        \
		return set_mode(&cfg->FIELD, value, ret_why);                    \
	}                                                                        \
	void config_show_##NAME(const struct config_key *key,                    \
				const struct server_cfg *cfg, config_show_fn fn, \
				void *arg)                                       \
	{                                                                        \
		fn(key->name, modes[cfg->FIELD], arg);                           \
	}
MODE_KEY(nbd_tls, tls.nbd)
MODE_KEY(nvme_tls, nvme_tls)
MODE_KEY(nvme_concat, nvme_concat)

int config_set_nbd_tls_unix(struct server_cfg *cfg, const char *value,
			    const char **ret_why)
{
	cfg->tls.nbd_unix = !strcmp(value, "yes");
	if (cfg->tls.nbd_unix || !strcmp(value, "no"))
		return 0;
	*ret_why = "neither yes nor no";
	return -EINVAL;
}

void config_show_nbd_tls_unix(const struct config_key *key,
			      const struct server_cfg *cfg, config_show_fn fn,
			      void *arg)
{
	if (has_tls(cfg))
		fn(key->name, cfg->tls.nbd_unix ? "yes" : "no", arg);
}

/* Can a login by those hashes and groups generate a key? */
static bool can_make_keys(const struct nvme_auth_prefs *p)
{
	bool can = false;

	for (uint8_t i = 0; i < p->nr_hashes; i++)
		for (uint8_t j = 0; j < p->nr_groups; j++)
			can |= nvme_auth_makes_key(p->hashes[i], p->groups[j]);
	return can;
}

static const char *check_concat(struct server_cfg *cfg, bool given)
{
	bool can = can_make_keys(&cfg->nvme_auth_prefs);

	if (!given && cfg->nvme_auth && cfg->nvme_tls != TLS_REQUIRED && can)
		cfg->nvme_concat = TLS_OFFERED;
	if (cfg->nvme_concat != TLS_OFF && !cfg->nvme_auth)
		return "hosts get keys by logging in: it needs --nvme-auth FILE";
	if (cfg->nvme_concat != TLS_OFF && !can)
		return "keys need a DH group and SHA-256 or SHA-384: see "
		       "--nvme-auth-group and --nvme-auth-hash";
	cfg->nvme_auth_prefs.concat = cfg->nvme_concat != TLS_OFF;
	cfg->nvme_auth_prefs.concat_required = cfg->nvme_concat == TLS_REQUIRED;
	return NULL;
}

const char *config_tls_check(struct server_cfg *cfg,
			     const struct config_tls_given *given, const char **ret_key)
{
	struct secure_cfg *t = &cfg->tls;
	const char *why;

	if (!given->nbd_tls && has_tls(cfg))
		t->nbd = TLS_REQUIRED;
	if (!given->nvme_tls && cfg->nvme_tls_keys)
		cfg->nvme_tls = TLS_REQUIRED;
	*ret_key = "nvme-tls";
	if (cfg->nvme_tls != TLS_OFF && !cfg->nvme_tls_keys)
		return "it needs the hosts' keys: --nvme-tls-keys FILE (certificates "
		       "are not for NVMe; keys that logins generate: --nvme-concat)";
	*ret_key = "nvme-concat";
	why = check_concat(cfg, given->nvme_concat);
	if (why)
		return why;
	*ret_key = "nbd-tls";
	if (t->nbd != TLS_OFF && !has_tls(cfg))
		return "it needs a certificate (--tls-cert and --tls-key) or shared "
		       "keys (--tls-psk)";
	*ret_key = "remote";
	if (cfg->remote_on && !t->files.cert)
		return "passwords go over TLS only: it needs --tls-cert and --tls-key";
	*ret_key = "tls-key";
	if (t->files.key && !t->files.cert)
		return "it needs its certificate too: --tls-cert FILE";
	*ret_key = "tls-ca";
	if (t->files.ca && !t->files.cert)
		return "to ask clients for certificates the server needs one too: "
		       "--tls-cert and --tls-key";
	*ret_key = "tls-clients";
	if (t->clients && !t->files.ca && !t->files.psk)
		return "clients prove who they are by certificates (--tls-ca) or "
		       "shared keys (--tls-psk)";
	if (t->clients && t->nbd != TLS_REQUIRED)
		return "who connects without TLS would go round it: say --nbd-tls "
		       "required";
	return NULL;
}

void config_tls_fini(struct server_cfg *cfg)
{
	const char *all[] = { cfg->tls.files.cert,
			      cfg->tls.files.key,
			      cfg->tls.files.ca,
			      cfg->tls.files.psk,
			      cfg->tls.clients,
			      cfg->nvme_tls_keys,
			      cfg->roles.group[CTL_ADMIN],
			      cfg->roles.group[CTL_OPERATOR],
			      cfg->roles.group[CTL_VIEWER],
			      cfg->audit };

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		free((char *)(uintptr_t)all[i]);
}
