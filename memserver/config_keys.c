/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One word and its value in, a field of struct server_cfg out, and back for showing. */
#include "memserver/config_keys.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/size.h"
#include "memserver/acl.h"
#include "memserver/config_tls.h"
#include "memserver/identity.h"
#include "memserver/nvme/dhchap.h"

const char *const door_kind_names[DOOR_KIND_NR] = { "nvme", "discovery", "nbd",
						    "iscsi" };
static const uint16_t door_ports[DOOR_KIND_NR] = { 4420, 8009, 10809, 3260 };

#define DOORS_MAX   16 /* of a kind; the discovery log has room for so many */
#define EXPORTS_MAX 4096

static int refuse(const char **ret_why, const char *why)
{
	*ret_why = why;
	return -EINVAL;
}

/* Room for one more element; -ENOMEM leaves the array as it was. */
static int grow(void *array, size_t nr, size_t size)
{
	void *bigger = reallocarray(*(void **)array, nr + 1, size);

	if (!bigger)
		return -ENOMEM;
	*(void **)array = bigger;
	return 0;
}

static int set_string(char **field, const char *value, const char **ret_why)
{
	char *copy;

	if (!*value)
		return refuse(ret_why, "it is empty");
	copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

static int parse_number(const char *text, unsigned int max, unsigned int *ret,
			const char **ret_why)
{
	unsigned long n = 0;

	if (!*text || strlen(text) > 9)
		return refuse(ret_why, "not a number in that range");
	for (; *text; text++) {
		if (!isdigit((unsigned char)*text))
			return refuse(ret_why, "not a number");
		n = n * 10 + (unsigned long)(*text - '0');
	}
	if (n > max)
		return refuse(ret_why, "too large");
	*ret = (unsigned int)n;
	return 0;
}

static int parse_bool(const char *text, bool *ret, const char **ret_why)
{
	if (!strcmp(text, "yes") || !strcmp(text, "true") || !strcmp(text, "on"))
		*ret = true;
	else if (!strcmp(text, "no") || !strcmp(text, "false") || !strcmp(text, "off"))
		*ret = false;
	else
		return refuse(ret_why, "neither yes nor no");
	return 0;
}

static int parse_size(const char *text, uint64_t *ret, const char **ret_why)
{
	int r = size_parse(text, ret);

	if (r == -ERANGE)
		return refuse(ret_why, "more than any memory");
	return r < 0 ? refuse(ret_why, "not a size") : 0;
}

static void show_size(const struct config_key *key, uint64_t bytes, config_show_fn fn,
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

static void show_number(const struct config_key *key, unsigned int n, config_show_fn fn,
			void *arg)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", n);
	fn(key->name, text, arg);
}

static void show_bool(const struct config_key *key, bool yes, config_show_fn fn,
		      void *arg)
{
	fn(key->name, yes ? "yes" : "no", arg);
}

/* ---- exports ---- */

/* A number that may be 0, for none. */
static int parse_count(const char *text, uint64_t *ret, const char **ret_why)
{
	unsigned int n;
	int r = parse_number(text, 999999999, &n, ret_why);

	if (r == 0)
		*ret = n;
	return r;
}

static int check_caps(const struct caps_cfg *caps, const char **ret_why)
{
	return caps_check(caps) < 0
		       ? refuse(ret_why, "a limit is 1M or more bytes, or 10 or more "
					 "operations, a second; 0 is none")
		       : 0;
}

/* One "key=value" of what may follow an export's size. */
static int parse_option(const char *text, struct export_cfg *e, const char **ret_why)
{
	if (!strncmp(text, "quota=", 6)) {
		int r = parse_size(text + 6, &e->quota_bytes, ret_why);

		if (r < 0)
			return r;
		if (!e->quota_bytes || e->quota_bytes > e->size_bytes)
			return refuse(ret_why, "the quota must be above 0 and at most "
					       "the size");
		return 0;
	}
	if (!strncmp(text, "bandwidth=", 10))
		return parse_size(text + 10, &e->caps.bytes_per_s, ret_why);
	if (!strncmp(text, "iops=", 5))
		return parse_count(text + 5, &e->caps.ops_per_s, ret_why);
	if (!strcmp(text, "tls=required")) {
		e->needs_tls = true;
		return 0;
	}
	return refuse(ret_why, "after the size only quota=SIZE, bandwidth=SIZE, iops=N "
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
				      : refuse(ret_why, "not a size");
		if (r < 0)
			return r;
		text += len;
	}
	return check_caps(&e->caps, ret_why);
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
			return refuse(ret_why, "its name is longer than 64 characters");
		memcpy(name, text, name_len);
		name[name_len] = '\0';
		if (!identity_name_ok(name))
			return refuse(ret_why, "a name is 1 to 64 letters, digits, "
					       "'.', '_' or '-' and does not start "
					       "with '.' or '-'");
		head -= name_len + 1;
		text = eq + 1;
	}
	if (head >= sizeof(size))
		return refuse(ret_why, "not a size");
	memcpy(size, text, head);
	size[head] = '\0';
	r = parse_size(size, &e->size_bytes, ret_why);
	if (r < 0)
		return r;
	if (!e->size_bytes || e->size_bytes % EXPORT_BLOCK)
		return refuse(ret_why, "the size must be a multiple of 4096");
	return parse_options(text + head, e, ret_why);
}

static int set_export(struct server_cfg *cfg, const char *value, const char **ret_why)
{
	char name[EXPORT_NAME_MAX + 1];
	struct export_cfg e = { 0 };
	int r = parse_export(value, name, &e, ret_why);

	if (r < 0)
		return r;
	if (cfg->nr_exports == EXPORTS_MAX)
		return refuse(ret_why, "there are too many");
	for (size_t i = 0; i < cfg->nr_exports; i++)
		if (!strcmp(cfg->exports[i].name, name))
			return refuse(ret_why, "the name is given twice");
	r = grow(&cfg->exports, cfg->nr_exports, sizeof(*cfg->exports));
	if (r < 0)
		return r;
	e.name = strdup(name);
	if (!e.name)
		return -ENOMEM;
	cfg->exports[cfg->nr_exports++] = e;
	return 0;
}

static void reset_export(struct server_cfg *cfg)
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

static void show_export(const struct config_key *key, const struct server_cfg *cfg,
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

/* ---- doors ---- */

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
		return refuse(ret_why, "the path is longer than a socket's may be");
	if (r < 0)
		return refuse(ret_why, "not an address");
	if (!may_be_unix && ret->sa.sa_family == AF_UNIX)
		return refuse(ret_why, "a unix socket can't be used for this");
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
		return refuse(ret_why, "there are more than 16");
	r = grow(&cfg->doors, cfg->nr_doors, sizeof(*cfg->doors));
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
	static int set_##NAME(struct server_cfg *cfg, const char *value,         \
			      const char **ret_why)                              \
	{                                                                        \
		return config_add_door(cfg, KIND, value, ret_why);               \
	}                                                                        \
	static void reset_##NAME(struct server_cfg *cfg)                         \
	{                                                                        \
		drop_doors(cfg, KIND);                                           \
	}                                                                        \
	static void show_##NAME(const struct config_key *key,                    \
				const struct server_cfg *cfg, config_show_fn fn, \
				void *arg)                                       \
	{                                                                        \
		show_doors(key, cfg, KIND, fn, arg);                             \
	}
DOOR_KEY(nvme, DOOR_NVME)
DOOR_KEY(discovery, DOOR_DISCOVERY)
DOOR_KEY(nbd, DOOR_NBD)
DOOR_KEY(iscsi, DOOR_ISCSI)

static int set_iscsi_auth(struct server_cfg *cfg, const char *value,
			  const char **ret_why)
{
	return set_string(&cfg->iscsi_auth, value, ret_why);
}

static void show_iscsi_auth(const struct config_key *key, const struct server_cfg *cfg,
			    config_show_fn fn, void *arg)
{
	if (cfg->iscsi_auth)
		fn(key->name, cfg->iscsi_auth, arg);
}

static int set_nvme_auth(struct server_cfg *cfg, const char *value,
			 const char **ret_why)
{
	return set_string(&cfg->nvme_auth, value, ret_why);
}

static void show_nvme_auth(const struct config_key *key, const struct server_cfg *cfg,
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
			return refuse(ret_why, "no such list");
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

static int set_nvme_auth_hash(struct server_cfg *cfg, const char *value,
			      const char **ret_why)
{
	struct nvme_auth_prefs *p = &cfg->nvme_auth_prefs;

	return parse_names(value, dhchap_hash_find, p->hashes, sizeof(p->hashes),
			   &p->nr_hashes, ret_why);
}

static void show_nvme_auth_hash(const struct config_key *key,
				const struct server_cfg *cfg, config_show_fn fn,
				void *arg)
{
	const struct nvme_auth_prefs *p = &cfg->nvme_auth_prefs;

	if (cfg->nvme_auth)
		show_names(key, dhchap_hash_name, p->hashes, p->nr_hashes, fn, arg);
}

static int set_nvme_auth_group(struct server_cfg *cfg, const char *value,
			       const char **ret_why)
{
	struct nvme_auth_prefs *p = &cfg->nvme_auth_prefs;

	return parse_names(value, dhchap_group_find, p->groups, sizeof(p->groups),
			   &p->nr_groups, ret_why);
}

static void show_nvme_auth_group(const struct config_key *key,
				 const struct server_cfg *cfg, config_show_fn fn,
				 void *arg)
{
	const struct nvme_auth_prefs *p = &cfg->nvme_auth_prefs;

	if (cfg->nvme_auth)
		show_names(key, dhchap_group_name, p->groups, p->nr_groups, fn, arg);
}

/* Debian's tgtd 1.0.85 accepts the RDMA connection and then refuses the login. */
static int set_iser(struct server_cfg *cfg, const char *value, const char **ret_why)
{
	bool yes;
	int r = parse_bool(value, &yes, ret_why);

	if (!r && yes)
		return refuse(ret_why,
			      "not offered: tgtd takes RDMA connections for "
			      "iSER but refuses their logins; use --iscsi over "
			      "TCP, or NVMe/TCP");
	return r;
}

static int set_metrics(struct server_cfg *cfg, const char *value, const char **ret_why)
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

static void show_metrics(const struct config_key *key, const struct server_cfg *cfg,
			 config_show_fn fn, void *arg)
{
	char text[ADDR_TEXT_MAX] = "off";

	if (cfg->metrics_on)
		addr_format(&cfg->metrics.sa, text, sizeof(text));
	fn(key->name, text, arg);
}

/* ---- who may come in ---- */

static int set_allow(struct server_cfg *cfg, const char *value, const char **ret_why)
{
	int r = acl_add(cfg->acl, value);

	return r == -EINVAL ? refuse(ret_why, "neither an address, nor an NQN, nor an "
					      "initiator's name")
			    : r;
}

static void reset_allow(struct server_cfg *cfg)
{
	acl_clear(cfg->acl);
}

struct show_arg {
	const char *key;
	config_show_fn fn;
	void *arg;
};

static void show_rule(const char *text, void *arg)
{
	struct show_arg *a = arg;

	a->fn(a->key, text, a->arg);
}

static void show_allow(const struct config_key *key, const struct server_cfg *cfg,
		       config_show_fn fn, void *arg)
{
	struct show_arg a = { key->name, fn, arg };

	acl_each(cfg->acl, show_rule, &a);
}

static int set_open(struct server_cfg *cfg, const char *value, const char **ret_why)
{
	bool open;
	int r = parse_bool(value, &open, ret_why);

	if (!r)
		acl_set_open(cfg->acl, open);
	return r;
}

static void show_open(const struct config_key *key, const struct server_cfg *cfg,
		      config_show_fn fn, void *arg)
{
	show_bool(key, acl_is_open(cfg->acl), fn, arg);
}

/* ---- limits ---- */

static int set_client_bandwidth(struct server_cfg *cfg, const char *value,
				const char **ret_why)
{
	int r = parse_size(value, &cfg->client_caps.bytes_per_s, ret_why);

	return r < 0 ? r : check_caps(&cfg->client_caps, ret_why);
}

static void show_client_bandwidth(const struct config_key *key,
				  const struct server_cfg *cfg, config_show_fn fn,
				  void *arg)
{
	show_size(key, cfg->client_caps.bytes_per_s, fn, arg);
}

static int set_client_iops(struct server_cfg *cfg, const char *value,
			   const char **ret_why)
{
	int r = parse_count(value, &cfg->client_caps.ops_per_s, ret_why);

	return r < 0 ? r : check_caps(&cfg->client_caps, ret_why);
}

static void show_client_iops(const struct config_key *key, const struct server_cfg *cfg,
			     config_show_fn fn, void *arg)
{
	show_number(key, (unsigned int)cfg->client_caps.ops_per_s, fn, arg);
}

/* ---- pool and host ---- */

static int set_pool(struct server_cfg *cfg, const char *value, const char **ret_why)
{
	if (*value != '/')
		return refuse(ret_why, "not an absolute path");
	return set_string(&cfg->pool_dir, value, ret_why);
}

static void show_pool(const struct config_key *key, const struct server_cfg *cfg,
		      config_show_fn fn, void *arg)
{
	fn(key->name, cfg->pool_dir ? cfg->pool_dir : "(default)", arg);
}

static int set_pool_limit(struct server_cfg *cfg, const char *value,
			  const char **ret_why)
{
	return parse_size(value, &cfg->pool_limit, ret_why);
}

static void show_pool_limit(const struct config_key *key, const struct server_cfg *cfg,
			    config_show_fn fn, void *arg)
{
	show_size(key, cfg->pool_limit, fn, arg);
}

static int set_reserve(struct server_cfg *cfg, const char *value, const char **ret_why)
{
	return parse_size(value, &cfg->reserve_bytes, ret_why);
}

static void show_reserve(const struct config_key *key, const struct server_cfg *cfg,
			 config_show_fn fn, void *arg)
{
	show_size(key, cfg->reserve_bytes, fn, arg);
}

static int set_huge(struct server_cfg *cfg, const char *value, const char **ret_why)
{
	return parse_bool(value, &cfg->huge, ret_why);
}

static void show_huge(const struct config_key *key, const struct server_cfg *cfg,
		      config_show_fn fn, void *arg)
{
	show_bool(key, cfg->huge, fn, arg);
}

static int set_numa_node(struct server_cfg *cfg, const char *value,
			 const char **ret_why)
{
	unsigned int n;
	int r = parse_number(value, 1023, &n, ret_why);

	if (!r)
		cfg->numa_node = (int)n;
	return r;
}

static void show_numa_node(const struct config_key *key, const struct server_cfg *cfg,
			   config_show_fn fn, void *arg)
{
	if (cfg->numa_node >= 0)
		show_number(key, (unsigned int)cfg->numa_node, fn, arg);
}

/* ---- engine ---- */

static int set_threads(struct server_cfg *cfg, const char *value, const char **ret_why)
{
	unsigned int n;
	int r = parse_number(value, EXPORT_MAX_WORKER, &n, ret_why);

	if (!r && !n)
		return refuse(ret_why, "nobody would serve");
	if (!r)
		cfg->threads = n;
	return r;
}

static void show_threads(const struct config_key *key, const struct server_cfg *cfg,
			 config_show_fn fn, void *arg)
{
	show_number(key, cfg->threads, fn, arg);
}

static int set_spin_us(struct server_cfg *cfg, const char *value, const char **ret_why)
{
	return parse_number(value, 1000000, &cfg->spin_us, ret_why);
}

static void show_spin_us(const struct config_key *key, const struct server_cfg *cfg,
			 config_show_fn fn, void *arg)
{
	show_number(key, cfg->spin_us, fn, arg);
}

static int set_no_spin(struct server_cfg *cfg, const char *value, const char **ret_why)
{
	bool no_spin;
	int r = parse_bool(value, &no_spin, ret_why);

	if (!r && no_spin)
		cfg->spin_us = 0;
	return r;
}

static int set_max_conns(struct server_cfg *cfg, const char *value,
			 const char **ret_why)
{
	unsigned int n;
	int r = parse_number(value, 65536, &n, ret_why);

	if (!r && !n)
		return refuse(ret_why, "nobody could connect");
	if (!r)
		cfg->max_conns = n;
	return r;
}

static void show_max_conns(const struct config_key *key, const struct server_cfg *cfg,
			   config_show_fn fn, void *arg)
{
	show_number(key, cfg->max_conns, fn, arg);
}

/* ---- administration ---- */

static int set_control(struct server_cfg *cfg, const char *value, const char **ret_why)
{
	if (strlen(value) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return refuse(ret_why, "the path is longer than a socket's may be");
	return set_string(&cfg->control_path, value, ret_why);
}

static void show_control(const struct config_key *key, const struct server_cfg *cfg,
			 config_show_fn fn, void *arg)
{
	fn(key->name, cfg->control_path, arg);
}

static int set_log_level(struct server_cfg *cfg, const char *value,
			 const char **ret_why)
{
	if (log_level_parse(value, &cfg->log_level) < 0)
		return refuse(ret_why, "no such level");
	return 0;
}

static void show_log_level(const struct config_key *key, const struct server_cfg *cfg,
			   config_show_fn fn, void *arg)
{
	fn(key->name, log_level_name(cfg->log_level), arg);
}

/* clang-format off */
const struct config_key config_keys[] = {
	{ "export", 0, CONFIG_VALUE,
	  "[NAME=]SIZE[,quota=SIZE][,bandwidth=SIZE][,iops=N][,tls=required]",
	  "lend SIZE, as 4G, under NAME (default); repeats",
	  set_export, reset_export, show_export },
	{ "nvme", 0, CONFIG_VALUE, "ADDR:PORT or off",
	  "NVMe/TCP door (127.0.0.1:4420); repeats",
	  set_nvme, reset_nvme, show_nvme },
	{ "discovery", 0, CONFIG_VALUE, "ADDR:PORT or off",
	  "NVMe discovery door (127.0.0.1:8009); repeats",
	  set_discovery, reset_discovery, show_discovery },
	{ "nbd", 0, CONFIG_VALUE, "ADDR:PORT, unix:PATH or off",
	  "NBD door (127.0.0.1:10809); repeats",
	  set_nbd, reset_nbd, show_nbd },
	{ "nvme-auth", 0, CONFIG_VALUE, "FILE",
	  "NVMe hosts and their secrets (DH-HMAC-CHAP)",
	  set_nvme_auth, NULL, show_nvme_auth },
	{ "nvme-auth-hash", 0, CONFIG_VALUE, "LIST; of sha256,sha384,sha512",
	  "hashes for that, the preferred first (all)",
	  set_nvme_auth_hash, NULL, show_nvme_auth_hash },
	{ "nvme-auth-group", 0, CONFIG_VALUE,
	  "LIST; of ffdhe2048,ffdhe3072,ffdhe4096,ffdhe6144,ffdhe8192,null",
	  "DH groups for that, the preferred first (all)",
	  set_nvme_auth_group, NULL, show_nvme_auth_group },
	{ "iscsi", 0, CONFIG_OPTIONAL, "ADDR:PORT or off",
	  "iSCSI by a tgtd (off; bare: 127.0.0.1:3260); repeats",
	  set_iscsi, reset_iscsi, show_iscsi },
	{ "iscsi-auth", 0, CONFIG_VALUE, "FILE",
	  "CHAP secrets; without it initiators aren't asked",
	  set_iscsi_auth, NULL, show_iscsi_auth },
	{ "iser", 0, CONFIG_BOOL, "no",
	  "iSCSI over RDMA: not offered, says why",
	  set_iser, NULL, NULL },
	{ "allow", 0, CONFIG_VALUE, "ADDR, ADDR/BITS, a host NQN or an initiator's IQN",
	  "who may connect beyond this host; repeats",
	  set_allow, reset_allow, show_allow },
	{ "open", 0, CONFIG_BOOL, "yes or no",
	  "anybody who reaches a door may connect",
	  set_open, NULL, show_open },
	{ "client-bandwidth", 0, CONFIG_VALUE, "SIZE a second, as 100M; 0 for none",
	  "what one client may read and write, all its connections together",
	  set_client_bandwidth, NULL, show_client_bandwidth },
	{ "client-iops", 0, CONFIG_VALUE, "N a second; 0 for none",
	  "how many requests one client may make",
	  set_client_iops, NULL, show_client_iops },
	{ "tls-cert", 0, CONFIG_VALUE, "FILE",
	  "the server's certificate and chain, PEM",
	  config_set_tls_cert, NULL, config_show_tls_cert },
	{ "tls-key", 0, CONFIG_VALUE, "FILE",
	  "its key, PEM, mode 0600 (in the file of --tls-cert)",
	  config_set_tls_key, NULL, config_show_tls_key },
	{ "tls-ca", 0, CONFIG_VALUE, "FILE",
	  "clients need a certificate of these authorities",
	  config_set_tls_ca, NULL, config_show_tls_ca },
	{ "tls-psk", 0, CONFIG_VALUE, "FILE",
	  "shared keys, NAME:HEX lines, mode 0600",
	  config_set_tls_psk, NULL, config_show_tls_psk },
	{ "tls-min", 0, CONFIG_VALUE, "1.2 or 1.3",
	  "the oldest version of TLS (1.2)",
	  config_set_tls_min, NULL, config_show_tls_min },
	{ "tls-clients", 0, CONFIG_VALUE, "FILE",
	  "which client may open which exports",
	  config_set_tls_clients, NULL, config_show_tls_clients },
	{ "nbd-tls", 0, CONFIG_VALUE, "off, offered or required",
	  "NBD over TCP (required, with keys for it)",
	  config_set_nbd_tls, NULL, config_show_nbd_tls },
	{ "nbd-tls-unix", 0, CONFIG_BOOL, "yes or no",
	  "that holds for unix sockets too",
	  config_set_nbd_tls_unix, NULL, config_show_nbd_tls_unix },
	{ "control", 0, CONFIG_VALUE, "PATH",
	  "socket for memctl (/run/memserver/control)",
	  set_control, NULL, show_control },
	{ "remote", 0, CONFIG_VALUE, "ADDR:PORT or off",
	  "memctl -H: over TLS, users log in by PAM (off; port 10811)",
	  config_set_remote, NULL, config_show_remote },
	{ "admin-group", 0, CONFIG_VALUE, "GROUP",
	  "may do all with memctl",
	  config_set_admin_group, NULL, config_show_admin_group },
	{ "operator-group", 0, CONFIG_VALUE, "GROUP",
	  "may make, change, drop exports and end connections",
	  config_set_operator_group, NULL, config_show_operator_group },
	{ "viewer-group", 0, CONFIG_VALUE, "GROUP",
	  "may look",
	  config_set_viewer_group, NULL, config_show_viewer_group },
	{ "audit", 0, CONFIG_VALUE, "FILE",
	  "append who administrated what, a line of JSON each",
	  config_set_audit, NULL, config_show_audit },
	{ "metrics", 0, CONFIG_VALUE, "ADDR:PORT or off",
	  "Prometheus metrics over HTTP (127.0.0.1:9402)",
	  set_metrics, NULL, show_metrics },
	{ "pool", 0, CONFIG_VALUE, "DIR",
	  "where lent memory lies, a tmpfs (/run/memserver/pool)",
	  set_pool, NULL, show_pool },
	{ "pool-limit", 0, CONFIG_VALUE, "SIZE, as 16G; 0 for none",
	  "memory all exports together may take",
	  set_pool_limit, NULL, show_pool_limit },
	{ "reserve", 0, CONFIG_VALUE, "SIZE, as 1G",
	  "host memory that is never lent (1/16, 256M or more)",
	  set_reserve, NULL, show_reserve },
	{ "huge", 0, CONFIG_BOOL, "yes or no",
	  "back exports with 2 MiB pages",
	  set_huge, NULL, show_huge },
	{ "numa-node", 0, CONFIG_VALUE, "0 to 1023",
	  "take the memory of this node only",
	  set_numa_node, NULL, show_numa_node },
	{ "threads", 0, CONFIG_VALUE, "1 to 64",
	  "serving threads (one for each CPU)",
	  set_threads, NULL, show_threads },
	{ "spin-us", 0, CONFIG_VALUE, "0 to 1000000",
	  "microseconds to poll after an I/O before sleeping (50)",
	  set_spin_us, NULL, show_spin_us },
	{ "no-spin", 0, CONFIG_BOOL, "yes or no",
	  "the same as --spin-us 0",
	  set_no_spin, NULL, NULL },
	{ "max-conns", 0, CONFIG_VALUE, "1 to 65536",
	  "connections at a time (4096)",
	  set_max_conns, NULL, show_max_conns },
	{ "log-level", 0, CONFIG_VALUE, "err, warning, notice, info or debug",
	  "what is logged (info)",
	  set_log_level, NULL, show_log_level },
	{ "config", 0, CONFIG_FILE_KEY, "FILE",
	  "read these keys, without the --, from FILE first",
	  NULL, NULL, NULL },
	{ "check", 'n', CONFIG_CHECK_KEY, NULL,
	  "check the configuration and exit", NULL, NULL, NULL },
	{ "prepare-pool", 0, CONFIG_PREPARE_KEY, NULL,
	  "mount the pool's tmpfs and exit", NULL, NULL, NULL },
	{ "version", 'V', CONFIG_VERSION_KEY, NULL,
	  "print the version and exit", NULL, NULL, NULL },
	{ "help", 'h', CONFIG_HELP_KEY, NULL,
	  "print this and exit", NULL, NULL, NULL },
};
/* clang-format on */

const size_t config_nr_keys = sizeof(config_keys) / sizeof(config_keys[0]);
_Static_assert(sizeof(config_keys) / sizeof(config_keys[0]) <= CONFIG_KEYS_MAX,
	       "a bit for each");

const struct config_key *config_key_find(const char *name, size_t len)
{
	for (size_t i = 0; i < config_nr_keys; i++)
		if (strlen(config_keys[i].name) == len &&
		    !memcmp(config_keys[i].name, name, len))
			return &config_keys[i];
	return NULL;
}
