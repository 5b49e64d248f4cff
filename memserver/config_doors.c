/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses of doors and how they ask who is there in, cfg->doors and its like out, and back. */
#include "memserver/config_words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/dhchap.h"
#include "memserver/config_value.h"

const char *const door_kind_names[DOOR_KIND_NR] = { "nvme", "discovery", "nbd",
						    "iscsi" };
static const uint16_t door_ports[DOOR_KIND_NR] = { 4420, 8009, 10809, 3260 };

#define DOORS_MAX 16 /* of a kind; the discovery log has room for so many */

static void drop_doors(struct server_cfg *cfg, enum door_kind kind)
{
	size_t kept = 0;

	for (size_t i = 0; i < cfg->nr_doors; i++)
		if (cfg->doors[i].kind != kind)
			cfg->doors[kept++] = cfg->doors[i];
	cfg->nr_doors = kept;
}

static int parse_address(const char *value, uint16_t port, bool may_be_unix,
			 struct addr *ret, const char **ret_why)
{
	int r = addr_parse(value, port, ret);

	if (r == -ENAMETOOLONG)
		return config_refuse(ret_why,
				     "the path is longer than a socket's may be");
	if (r < 0)
		return config_refuse(ret_why, "not an address");
	if (!may_be_unix && ret->sa.sa_family == AF_UNIX)
		return config_refuse(ret_why, "a unix socket can't be used for this");
	return 0;
}

int config_add_door(struct server_cfg *cfg, enum door_kind kind, const char *value,
		    const char **ret_why)
{
	struct door_cfg d = { .kind = kind };
	size_t same = 0;
	int r;

	if (!strcmp(value, "off")) {
		drop_doors(cfg, kind);
		return 0;
	}
	if (!strcmp(value, "yes")) /* a bare --iscsi */
		value = "127.0.0.1";
	r = parse_address(value, door_ports[kind], kind == DOOR_NBD, &d.addr, ret_why);
	if (r < 0)
		return r;
	for (size_t i = 0; i < cfg->nr_doors; i++)
		same += cfg->doors[i].kind == kind;
	if (same == DOORS_MAX)
		return config_refuse(ret_why, "there are more than 16");
	r = config_grow(&cfg->doors, cfg->nr_doors, sizeof(*cfg->doors));
	if (r < 0)
		return r;
	cfg->doors[cfg->nr_doors++] = d;
	return 0;
}

static void show_doors(const struct config_key *key, const struct server_cfg *cfg,
		       enum door_kind kind, config_show_fn fn, void *arg)
{
	char text[ADDR_TEXT_MAX];
	bool any = false;

	for (size_t i = 0; i < cfg->nr_doors; i++) {
		const struct door_cfg *d = &cfg->doors[i];

		if (d->kind != kind)
			continue;
		any = true;
		fn(key->name, addr_format(&d->addr.sa, text, sizeof(text)), arg);
	}
	if (!any)
		fn(key->name, "off", arg);
}

#define DOOR_KEY(NAME, KIND)                                                     \
	int config_set_##NAME(struct server_cfg *cfg, const char *value,         \
			      const char **ret_why)                              \
	{                                                                        \
		return config_add_door(cfg, KIND, value, ret_why);               \
	}                                                                        \
	void config_reset_##NAME(struct server_cfg *cfg)                         \
	{                                                                        \
		drop_doors(cfg, KIND);                                           \
	}                                                                        \
	void config_show_##NAME(const struct config_key *key,                    \
				const struct server_cfg *cfg, config_show_fn fn, \
				void *arg)                                       \
	{                                                                        \
		show_doors(key, cfg, KIND, fn, arg);                             \
	}
DOOR_KEY(nvme, DOOR_NVME)
DOOR_KEY(discovery, DOOR_DISCOVERY)
DOOR_KEY(nbd, DOOR_NBD)
DOOR_KEY(iscsi, DOOR_ISCSI)

int config_set_iscsi_auth(struct server_cfg *cfg, const char *value,
			  const char **ret_why)
{
	return config_set_string(&cfg->iscsi_auth, value, ret_why);
}

void config_show_iscsi_auth(const struct config_key *key, const struct server_cfg *cfg,
			    config_show_fn fn, void *arg)
{
	if (cfg->iscsi_auth)
		fn(key->name, cfg->iscsi_auth, arg);
}

int config_set_nvme_auth(struct server_cfg *cfg, const char *value,
			 const char **ret_why)
{
	return config_set_string(&cfg->nvme_auth, value, ret_why);
}

void config_show_nvme_auth(const struct config_key *key, const struct server_cfg *cfg,
			   config_show_fn fn, void *arg)
{
	if (cfg->nvme_auth)
		fn(key->name, cfg->nvme_auth, arg);
}

/* "sha256,sha512" into at most `max` numbers, each once. */
static int parse_names(const char *text,
		       int (*find)(const char *name, size_t len, uint8_t *ret),
		       uint8_t *ids, size_t max, uint8_t *ret_nr, const char **ret_why)
{
	uint8_t found[8], nr = 0;

	for (;;) {
		size_t len = strcspn(text, ",");

		if (nr == max || find(text, len, &found[nr]) < 0 ||
		    memchr(found, found[nr], nr))
			return config_refuse(ret_why, "no such list");
		nr++;
		if (!text[len])
			break;
		text += len + 1;
	}
	memcpy(ids, found, nr);
	*ret_nr = nr;
	return 0;
}

static void show_names(const struct config_key *key, const char *(*name)(uint8_t id),
		       const uint8_t *ids, size_t nr, config_show_fn fn, void *arg)
{
	char text[96];
	int n = 0;

	for (size_t i = 0; i < nr; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%s", i ? "," : "",
			      name(ids[i]));
	fn(key->name, text, arg);
}

int config_set_nvme_auth_hash(struct server_cfg *cfg, const char *value,
			      const char **ret_why)
{
	struct nvme_auth_prefs *p = &cfg->nvme_auth_prefs;

	return parse_names(value, dhchap_hash_find, p->hashes, sizeof(p->hashes),
			   &p->nr_hashes, ret_why);
}

void config_show_nvme_auth_hash(const struct config_key *key,
				const struct server_cfg *cfg, config_show_fn fn,
				void *arg)
{
	const struct nvme_auth_prefs *p = &cfg->nvme_auth_prefs;

	if (cfg->nvme_auth)
		show_names(key, dhchap_hash_name, p->hashes, p->nr_hashes, fn, arg);
}

int config_set_nvme_auth_group(struct server_cfg *cfg, const char *value,
			       const char **ret_why)
{
	struct nvme_auth_prefs *p = &cfg->nvme_auth_prefs;

	return parse_names(value, dhchap_group_find, p->groups, sizeof(p->groups),
			   &p->nr_groups, ret_why);
}

void config_show_nvme_auth_group(const struct config_key *key,
				 const struct server_cfg *cfg, config_show_fn fn,
				 void *arg)
{
	const struct nvme_auth_prefs *p = &cfg->nvme_auth_prefs;

	if (cfg->nvme_auth)
		show_names(key, dhchap_group_name, p->groups, p->nr_groups, fn, arg);
}

/* Debian's tgtd 1.0.85 accepts the RDMA connection and then refuses the login. */
int config_set_iser(struct server_cfg *cfg, const char *value, const char **ret_why)
{
	bool yes;
	int r = config_parse_bool(value, &yes, ret_why);

	if (!r && yes)
		return config_refuse(ret_why,
				     "not offered: tgtd takes RDMA connections for "
				     "iSER but refuses their logins; use --iscsi over "
				     "TCP, or NVMe/TCP");
	return r;
}

int config_set_metrics(struct server_cfg *cfg, const char *value, const char **ret_why)
{
	int r;

	if (!strcmp(value, "off")) {
		cfg->metrics_on = false;
		return 0;
	}
	r = parse_address(value, CONFIG_METRICS_PORT, false, &cfg->metrics, ret_why);
	if (!r)
		cfg->metrics_on = true;
	return r;
}

void config_show_metrics(const struct config_key *key, const struct server_cfg *cfg,
			 config_show_fn fn, void *arg)
{
	char text[ADDR_TEXT_MAX] = "off";

	if (cfg->metrics_on)
		addr_format(&cfg->metrics.sa, text, sizeof(text));
	fn(key->name, text, arg);
}
