/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One word and its value in, a field of struct server_cfg out, and back for showing. */
#include "memserver/config_keys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "memserver/acl.h"
#include "memserver/config_tls.h"
#include "memserver/config_value.h"
#include "memserver/config_words.h"

/* ---- who may come in ---- */

static int set_allow(struct server_cfg *cfg, const char *value, const char **ret_why)
{
	int r = acl_add(cfg->acl, value);

	return r == -EINVAL ? config_refuse(ret_why,
					    "neither an address, nor an NQN, nor an "
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
	int r = config_parse_bool(value, &open, ret_why);

	if (!r)
		acl_set_open(cfg->acl, open);
	return r;
}

static void show_open(const struct config_key *key, const struct server_cfg *cfg,
		      config_show_fn fn, void *arg)
{
	config_show_bool(key, acl_is_open(cfg->acl), fn, arg);
}

/* ---- limits ---- */

static int set_client_bandwidth(struct server_cfg *cfg, const char *value,
				const char **ret_why)
{
	int r = config_parse_size(value, &cfg->client_caps.bytes_per_s, ret_why);

	return r < 0 ? r : config_check_caps(&cfg->client_caps, ret_why);
}

static void show_client_bandwidth(const struct config_key *key,
				  const struct server_cfg *cfg, config_show_fn fn,
				  void *arg)
{
	config_show_size(key, cfg->client_caps.bytes_per_s, fn, arg);
}

static int set_client_iops(struct server_cfg *cfg, const char *value,
			   const char **ret_why)
{
	int r = config_parse_count(value, &cfg->client_caps.ops_per_s, ret_why);

	return r < 0 ? r : config_check_caps(&cfg->client_caps, ret_why);
}

static void show_client_iops(const struct config_key *key, const struct server_cfg *cfg,
			     config_show_fn fn, void *arg)
{
	config_show_number(key, (unsigned int)cfg->client_caps.ops_per_s, fn, arg);
}

static int set_client_quota(struct server_cfg *cfg, const char *value,
			    const char **ret_why)
{
	return config_parse_size(value, &cfg->client_quota, ret_why);
}

static void show_client_quota(const struct config_key *key,
			      const struct server_cfg *cfg, config_show_fn fn,
			      void *arg)
{
	config_show_size(key, cfg->client_quota, fn, arg);
}

/* ---- pool and host ---- */

static int set_pool(struct server_cfg *cfg, const char *value, const char **ret_why)
{
	if (*value != '/')
		return config_refuse(ret_why, "not an absolute path");
	return config_set_string(&cfg->pool_dir, value, ret_why);
}

static void show_pool(const struct config_key *key, const struct server_cfg *cfg,
		      config_show_fn fn, void *arg)
{
	fn(key->name, cfg->pool_dir ? cfg->pool_dir : "(default)", arg);
}

static int set_pool_limit(struct server_cfg *cfg, const char *value,
			  const char **ret_why)
{
	return config_parse_size(value, &cfg->pool_limit, ret_why);
}

static void show_pool_limit(const struct config_key *key, const struct server_cfg *cfg,
			    config_show_fn fn, void *arg)
{
	config_show_size(key, cfg->pool_limit, fn, arg);
}

static int set_reserve(struct server_cfg *cfg, const char *value, const char **ret_why)
{
	return config_parse_size(value, &cfg->reserve_bytes, ret_why);
}

static void show_reserve(const struct config_key *key, const struct server_cfg *cfg,
			 config_show_fn fn, void *arg)
{
	config_show_size(key, cfg->reserve_bytes, fn, arg);
}

static int set_huge(struct server_cfg *cfg, const char *value, const char **ret_why)
{
	return config_parse_bool(value, &cfg->huge, ret_why);
}

static void show_huge(const struct config_key *key, const struct server_cfg *cfg,
		      config_show_fn fn, void *arg)
{
	config_show_bool(key, cfg->huge, fn, arg);
}

static int set_numa_node(struct server_cfg *cfg, const char *value,
			 const char **ret_why)
{
	unsigned int n;
	int r = config_parse_number(value, 1023, &n, ret_why);

	if (!r)
		cfg->numa_node = (int)n;
	return r;
}

static void show_numa_node(const struct config_key *key, const struct server_cfg *cfg,
			   config_show_fn fn, void *arg)
{
	if (cfg->numa_node >= 0)
		config_show_number(key, (unsigned int)cfg->numa_node, fn, arg);
}

static int set_user(struct server_cfg *cfg, const char *value, const char **ret_why)
{
	if (!*value || strlen(value) > 32)
		return config_refuse(ret_why, "a user's name has 1 to 32 characters");
	return config_set_string(&cfg->user, value, ret_why);
}

static void show_user(const struct config_key *key, const struct server_cfg *cfg,
		      config_show_fn fn, void *arg)
{
	fn(key->name, cfg->user ? cfg->user : "(default)", arg);
}

/* ---- engine ---- */

static int set_threads(struct server_cfg *cfg, const char *value, const char **ret_why)
{
	unsigned int n;
	int r = config_parse_number(value, EXPORT_MAX_WORKER, &n, ret_why);

	if (!r && !n)
		return config_refuse(ret_why, "nobody would serve");
	if (!r)
		cfg->threads = n;
	return r;
}

static void show_threads(const struct config_key *key, const struct server_cfg *cfg,
			 config_show_fn fn, void *arg)
{
	config_show_number(key, cfg->threads, fn, arg);
}

static int set_spin_us(struct server_cfg *cfg, const char *value, const char **ret_why)
{
	return config_parse_number(value, 1000000, &cfg->spin_us, ret_why);
}

static void show_spin_us(const struct config_key *key, const struct server_cfg *cfg,
			 config_show_fn fn, void *arg)
{
	config_show_number(key, cfg->spin_us, fn, arg);
}

static int set_no_spin(struct server_cfg *cfg, const char *value, const char **ret_why)
{
	bool no_spin;
	int r = config_parse_bool(value, &no_spin, ret_why);

	if (!r && no_spin)
		cfg->spin_us = 0;
	return r;
}

static int set_max_conns(struct server_cfg *cfg, const char *value,
			 const char **ret_why)
{
	unsigned int n;
	int r = config_parse_number(value, 65536, &n, ret_why);

	if (!r && !n)
		return config_refuse(ret_why, "nobody could connect");
	if (!r)
		cfg->max_conns = n;
	return r;
}

static void show_max_conns(const struct config_key *key, const struct server_cfg *cfg,
			   config_show_fn fn, void *arg)
{
	config_show_number(key, cfg->max_conns, fn, arg);
}

/* ---- administration ---- */

static int set_control(struct server_cfg *cfg, const char *value, const char **ret_why)
{
	if (strlen(value) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return config_refuse(ret_why,
				     "the path is longer than a socket's may be");
	return config_set_string(&cfg->control_path, value, ret_why);
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
		return config_refuse(ret_why, "no such level");
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
	  config_set_export, config_reset_export, config_show_export },
	{ "nvme", 0, CONFIG_VALUE, "ADDR:PORT or off",
	  "NVMe/TCP door (127.0.0.1:4420); repeats",
	  config_set_nvme, config_reset_nvme, config_show_nvme },
	{ "discovery", 0, CONFIG_VALUE, "ADDR:PORT or off",
	  "NVMe discovery door (127.0.0.1:8009); repeats",
	  config_set_discovery, config_reset_discovery, config_show_discovery },
	{ "nbd", 0, CONFIG_VALUE, "ADDR:PORT, unix:PATH or off",
	  "NBD door (127.0.0.1:10809); repeats",
	  config_set_nbd, config_reset_nbd, config_show_nbd },
	{ "nvme-auth", 0, CONFIG_VALUE, "FILE",
	  "NVMe hosts and their secrets (DH-HMAC-CHAP)",
	  config_set_nvme_auth, NULL, config_show_nvme_auth },
	{ "nvme-auth-hash", 0, CONFIG_VALUE, "LIST; of sha256,sha384,sha512",
	  "hashes for that, the preferred first (all)",
	  config_set_nvme_auth_hash, NULL, config_show_nvme_auth_hash },
	{ "nvme-auth-group", 0, CONFIG_VALUE,
	  "LIST; of ffdhe2048,ffdhe3072,ffdhe4096,ffdhe6144,ffdhe8192,null",
	  "DH groups for that, the preferred first (all)",
	  config_set_nvme_auth_group, NULL, config_show_nvme_auth_group },
	{ "nvme-tls", 0, CONFIG_VALUE, "off, offered or required",
	  "TLS 1.3 on the NVMe and discovery doors (required, with keys for it)",
	  config_set_nvme_tls, NULL, config_show_nvme_tls },
	{ "nvme-tls-keys", 0, CONFIG_VALUE, "FILE",
	  "NVMe hosts and their keys for that, mode 0600",
	  config_set_nvme_tls_keys, NULL, config_show_nvme_tls_keys },
	{ "nvme-concat", 0, CONFIG_VALUE, "off, offered or required",
	  "logins of --nvme-auth generate keys for that (offered, in the clear)",
	  config_set_nvme_concat, NULL, config_show_nvme_concat },
	{ "iscsi", 0, CONFIG_OPTIONAL, "ADDR:PORT or off",
	  "iSCSI by a tgtd (off; bare: 127.0.0.1:3260); repeats",
	  config_set_iscsi, config_reset_iscsi, config_show_iscsi },
	{ "iscsi-auth", 0, CONFIG_VALUE, "FILE",
	  "CHAP secrets; without it initiators aren't asked",
	  config_set_iscsi_auth, NULL, config_show_iscsi_auth },
	{ "iser", 0, CONFIG_BOOL, "no",
	  "iSCSI over RDMA: not offered, says why",
	  config_set_iser, NULL, NULL },
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
	{ "client-quota", 0, CONFIG_VALUE, "SIZE; 0 for none",
	  "the memory one client may hold, over all exports",
	  set_client_quota, NULL, show_client_quota },
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
	{ "audit", 0, CONFIG_VALUE, "FILE or journal",
	  "record who administrated what, a line of JSON each",
	  config_set_audit, NULL, config_show_audit },
	{ "metrics", 0, CONFIG_VALUE, "ADDR:PORT or off",
	  "Prometheus metrics over HTTP (127.0.0.1:9402)",
	  config_set_metrics, NULL, config_show_metrics },
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
	{ "user", 0, CONFIG_VALUE, "NAME",
	  "whom root becomes after the start (memserver, if it exists)",
	  set_user, NULL, show_user },
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
