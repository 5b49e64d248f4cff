/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Command line and file in, struct server_cfg or one line of complaint out. The file
 * is read first; the first flag of a repeated key forgets what the file said of it.
 */
#include "memserver/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/ctl.h"
#include "memserver/acl.h"
#include "memserver/config_keys.h"
#include "memserver/config_tls.h"
#include "memserver/worker.h"

#define FILE_MAX_BYTES (1u << 20)
#define ORIGIN_MAX     160
#define SHOWN_MAX      100 /* of a refused value */

enum { BY_NOBODY, BY_FILE, BY_FLAG };

/* One reading of a configuration. */
struct parse {
	struct server_cfg *cfg;
	char *err;                          /* CONFIG_ERROR_MAX bytes */
	const char *path;                   /* of the file, borrowed; NULL: none */
	uint8_t by[CONFIG_KEYS_MAX];        /* who set it last */
	unsigned int line[CONFIG_KEYS_MAX]; /* where in the file */
};

static int complain(struct parse *p, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static int complain(struct parse *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->err, CONFIG_ERROR_MAX, fmt, ap);
	va_end(ap);
	for (char *c = p->err; *c; c++) /* what was given may not be one line */
		if (iscntrl((unsigned char)*c))
			*c = '?';
	return -EINVAL;
}

/* "--nbd", or "/etc/memserver.conf:12: nbd". */
static const char *origin(const struct parse *p, const struct config_key *key,
			  char *buf)
{
	size_t i = (size_t)(key - config_keys);

	if (p->by[i] == BY_FILE)
		snprintf(buf, ORIGIN_MAX, "%.120s:%u: %s", p->path, p->line[i],
			 key->name);
	else
		snprintf(buf, ORIGIN_MAX, "--%s", key->name);
	return buf;
}

/* `value` NULL: a bare flag. */
static int apply(struct parse *p, const struct config_key *key, const char *value,
		 unsigned int line)
{
	size_t i = (size_t)(key - config_keys);
	const char *why = "out of memory";
	char from[ORIGIN_MAX];

	if (!line && p->by[i] == BY_FILE && key->reset)
		key->reset(p->cfg);
	p->by[i] = line ? BY_FILE : BY_FLAG;
	p->line[i] = line;
	if (!value && key->kind < CONFIG_OPTIONAL)
		return complain(p, "%s: it needs a value: %s", origin(p, key, from),
				key->allowed);
	if (!key->set(p->cfg, value ? value : "yes", &why))
		return 0;
	return complain(p, "%s: '%.*s': %s; allowed: %s", origin(p, key, from),
			SHOWN_MAX, value, why, key->allowed);
}

/* ---- the file ---- */

/* Cuts blanks at both ends of `text`, which has `*len` bytes. */
static const char *trim(const char *text, size_t *len)
{
	while (*len && strchr(" \t\r", *text)) {
		text++;
		--*len;
	}
	while (*len && strchr(" \t\r", text[*len - 1]))
		--*len;
	return text;
}

/* Without what follows a '#' at the start or after a blank. */
static size_t without_comment(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] == '#' && (!i || text[i - 1] == ' ' || text[i - 1] == '\t'))
			return i;
	return len;
}

static int parse_line(struct parse *p, const char *text, size_t len, unsigned int line)
{
	const struct config_key *key;
	const char *eq, *name, *value;
	size_t name_len, value_len;
	char copy[512];

	len = without_comment(text, len);
	text = trim(text, &len);
	if (!len)
		return 0;
	eq = memchr(text, '=', len);
	if (!eq)
		return complain(p, "%.120s:%u: '%.*s': no value; say KEY = VALUE",
				p->path, line, (int)(len < 60 ? len : 60), text);
	name_len = (size_t)(eq - text);
	name = trim(text, &name_len);
	key = config_key_find(name, name_len);
	if (!key || key->kind > CONFIG_BOOL)
		return complain(p,
				"%.120s:%u: '%.*s': no such key; the keys are the "
				"flags without --, see memserver --help",
				p->path, line, (int)(name_len < 60 ? name_len : 60),
				name);
	value_len = len - (size_t)(eq + 1 - text);
	value = trim(eq + 1, &value_len);
	if (value_len >= sizeof(copy) || memchr(value, '\0', value_len))
		return complain(p, "%.120s:%u: %s: the value is too long or no text",
				p->path, line, key->name);
	memcpy(copy, value, value_len);
	copy[value_len] = '\0';
	return apply(p, key, *copy ? copy : NULL, line);
}

static int parse_text(struct parse *p, const char *text, size_t len)
{
	unsigned int line = 0;

	while (len) {
		const char *end = memchr(text, '\n', len);
		size_t n = end ? (size_t)(end - text) : len;
		int r = parse_line(p, text, n, ++line);

		if (r < 0)
			return r;
		text += n + (end != NULL);
		len -= n + (end != NULL);
	}
	return 0;
}

/* All of the file, owned by the caller. -EFBIG: past 1 MiB. */
static int read_file(const char *path, char **ret_text, size_t *ret_len)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text;
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	text = malloc(FILE_MAX_BYTES + 1);
	if (!text)
		return -ENOMEM;
	do {
		n = read(fd, text + len, FILE_MAX_BYTES + 1 - len);
		len += n > 0 ? (size_t)n : 0;
	} while (n > 0 && len <= FILE_MAX_BYTES);
	if (n < 0 || len > FILE_MAX_BYTES) {
		int r = n < 0 ? -errno : -EFBIG;

		free(text);
		return r;
	}
	*ret_text = text;
	*ret_len = len;
	return 0;
}

static int parse_file(struct parse *p)
{
	size_t len = 0;
	char *text = NULL;
	int r = read_file(p->path, &text, &len);

	if (r < 0)
		return complain(p, "--config: %.120s: %s", p->path, strerror(-r));
	r = parse_text(p, text, len);
	free(text);
	return r;
}

/* ---- the command line ---- */

static const struct config_key *by_letter(char letter)
{
	for (size_t i = 0; i < config_nr_keys; i++)
		if (letter && config_keys[i].letter == letter)
			return &config_keys[i];
	return NULL;
}

/* The flag at argv[*at], and its value (NULL: none); moves *at past both. */
static int next_flag(struct parse *p, int argc, char **argv, int *at,
		     const struct config_key **ret_key, const char **ret_value)
{
	const char *word = argv[(*at)++];
	const struct config_key *key = NULL;
	const char *eq = NULL;

	if (!strncmp(word, "--", 2)) {
		size_t len = strcspn(word + 2, "=");

		key = config_key_find(word + 2, len);
		if (word[2 + len])
			eq = word + 2 + len + 1;
	} else if (word[0] == '-' && word[1] && !word[2]) {
		key = by_letter(word[1]);
	}
	if (!key)
		return complain(p, "'%.*s': no such flag; see memserver --help",
				SHOWN_MAX, word);
	if (eq && key->kind >= CONFIG_CHECK_KEY)
		return complain(p, "--%s: it takes no value", key->name);
	if (!eq && (key->kind == CONFIG_VALUE || key->kind == CONFIG_FILE_KEY) &&
	    *at < argc && strncmp(argv[*at], "--", 2))
		eq = argv[(*at)++];
	if (!eq && key->kind == CONFIG_OPTIONAL && *at < argc && argv[*at][0] != '-')
		eq = argv[(*at)++];
	*ret_key = key;
	*ret_value = eq;
	return 0;
}

/* What is to be done before the file can be read. CONFIG_* or -EINVAL. */
static int look_ahead(struct parse *p, int argc, char **argv)
{
	int todo = CONFIG_GO;

	for (int at = 1; at < argc;) {
		const struct config_key *key;
		const char *value;

		if (next_flag(p, argc, argv, &at, &key, &value) < 0)
			return -EINVAL;
		if (key->kind == CONFIG_HELP_KEY)
			return CONFIG_HELP;
		if (key->kind == CONFIG_VERSION_KEY)
			return CONFIG_VERSION;
		if (key->kind == CONFIG_CHECK_KEY)
			todo = CONFIG_CHECKED;
		if (key->kind != CONFIG_FILE_KEY)
			continue;
		if (!value || !*value)
			return complain(p, "--config: it needs a value: FILE");
		if (p->path)
			return complain(p, "--config: it is given twice");
		p->path = value;
	}
	return todo;
}

static int parse_flags(struct parse *p, int argc, char **argv)
{
	for (int at = 1; at < argc;) {
		const struct config_key *key;
		const char *value;
		int r = next_flag(p, argc, argv, &at, &key, &value);

		if (!r && key->kind <= CONFIG_BOOL)
			r = apply(p, key, value, 0);
		if (!r && key->kind == CONFIG_PREPARE_KEY)
			p->cfg->prepare_pool = true;
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- the whole ---- */

static uint64_t default_reserve(void)
{
	uint64_t ram =
		(uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t least = UINT64_C(256) << 20;

	ram = ram / 16 > least ? ram / 16 : least;
	return ram & ~((UINT64_C(1) << 20) - 1);
}

static int defaults(struct server_cfg *cfg)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	unsigned int cpus = engine_nr_cpus();

	*cfg = (struct server_cfg){
		.metrics_on = true,
		.reserve_bytes = default_reserve(),
		.numa_node = -1,
		.spin_us = 50,
		.max_conns = 4096,
		/* By cost; each is out of reach to whoever would guess. */
		.nvme_auth_prefs = { .hashes = { 1, 2, 3 },
				     .nr_hashes = 3,
				     .groups = { 1, 2, 3, 4, 5, 0 },
				     .nr_groups = 6 },
		.log_level = LOG_INFO_,
	};
	cfg->threads = cpus < EXPORT_MAX_WORKER ? cpus : EXPORT_MAX_WORKER;
	addr_parse("127.0.0.1", CONFIG_METRICS_PORT, &cfg->metrics);
	ctl_default_path("memserver", path, sizeof(path));
	cfg->control_path = strdup(path);
	if (!cfg->control_path || acl_new(&cfg->acl) < 0)
		return -ENOMEM;
	return 0;
}

static bool was_given(const struct parse *p, const char *name)
{
	const struct config_key *key = config_key_find(name, strlen(name));

	return p->by[key - config_keys] != BY_NOBODY;
}

static bool has_door(const struct server_cfg *cfg, enum door_kind kind)
{
	for (size_t i = 0; i < cfg->nr_doors; i++)
		if (cfg->doors[i].kind == kind)
			return true;
	return false;
}

/* A door that nobody spoke of is on loopback; discovery goes with NVMe; iSCSI needs
 * another program and is off. */
static int default_doors(struct parse *p)
{
	const char *why = "";

	for (int kind = 0; kind < DOOR_KIND_NR; kind++) {
		if (kind == DOOR_ISCSI || was_given(p, door_kind_names[kind]))
			continue;
		if (kind == DOOR_DISCOVERY && !has_door(p->cfg, DOOR_NVME))
			continue;
		if (config_add_door(p->cfg, (enum door_kind)kind, "127.0.0.1", &why) <
		    0)
			return complain(p, "--%s: out of memory",
					door_kind_names[kind]);
	}
	return 0;
}

/* Beyond this host only with a list of who may come, or openly. */
static int check_address(struct parse *p, const char *name, const struct addr *a)
{
	const struct config_key *key = config_key_find(name, strlen(name));
	const struct acl *acl = p->cfg->acl;
	bool is_nvme = !strcmp(name, "nvme") || !strcmp(name, "discovery");
	bool is_iscsi = !strcmp(name, "iscsi");
	char from[ORIGIN_MAX], text[ADDR_TEXT_MAX];

	if (addr_is_local(&a->sa) || acl_is_open(acl) || acl_has_addresses(acl) ||
	    (is_nvme && acl_has_nqns(acl)) || (is_iscsi && acl_has_initiators(acl)))
		return 0;
	addr_format(&a->sa, text, sizeof(text));
	if (!acl_is_empty(acl))
		return complain(p,
				"%s: %s is beyond loopback and its peers have no NQN: "
				"name their addresses with --allow ADDR[/BITS], or let "
				"anybody in with --open",
				origin(p, key, from), text);
	return complain(p,
			"%s: %s is beyond loopback: say who may connect with --allow "
			"ADDR[/BITS]%s, or let anybody in with --open",
			origin(p, key, from), text,
			is_nvme    ? " or a host NQN"
			: is_iscsi ? " or an initiator's name"
				   : "");
}

static int check_tls(struct parse *p)
{
	const struct config_tls_given given = {
		.nbd_tls = was_given(p, "nbd-tls"),
		.nvme_tls = was_given(p, "nvme-tls"),
		.nvme_concat = was_given(p, "nvme-concat"),
	};
	const char *name;
	const char *why = config_tls_check(p->cfg, &given, &name);
	const struct config_key *key = config_key_find(name, strlen(name));
	char from[ORIGIN_MAX];

	return why ? complain(p, "%s: %s", origin(p, key, from), why) : 0;
}

/* What concerns several keys. */
static int check_whole(struct parse *p)
{
	const struct server_cfg *cfg = p->cfg;
	char from[ORIGIN_MAX];
	int r = default_doors(p);

	if (!r)
		r = check_tls(p);
	if (!r && acl_is_open(cfg->acl) && !acl_is_empty(cfg->acl))
		return complain(p, "%s: with --allow it contradicts; give one of them",
				origin(p, config_key_find("open", 4), from));
	/* tgtd lets in whoever has one or the other; see iscsi/rules.c. */
	if (!r && has_door(cfg, DOOR_ISCSI) && acl_has_initiators(cfg->acl) &&
	    acl_has_addresses(cfg->acl))
		return complain(p,
				"%s: with iSCSI either addresses or names of "
				"initiators: tgtd can't ask for both; for a proof of "
				"who it is use --iscsi-auth",
				origin(p, config_key_find("allow", 5), from));
	if (!r && has_door(cfg, DOOR_ISCSI) &&
	    (cfg->client_caps.bytes_per_s || cfg->client_caps.ops_per_s ||
	     cfg->client_quota))
		return complain(
			p,
			"%s: with limits for clients it can't be on: tgtd knows "
			"none, so an initiator would have none; give exports "
			"limits or quotas, which are not offered over iSCSI then",
			origin(p, config_key_find("iscsi", 5), from));
	for (size_t i = 0; !r && i < cfg->nr_doors; i++)
		r = check_address(p, door_kind_names[cfg->doors[i].kind],
				  &cfg->doors[i].addr);
	if (!r && cfg->metrics_on)
		r = check_address(p, "metrics", &cfg->metrics);
	if (!r && cfg->remote_on)
		r = check_address(p, "remote", &cfg->remote);
	return r;
}

int config_read(int argc, char **argv, struct server_cfg *cfg, char *err)
{
	struct parse p = { .cfg = cfg, .err = err };
	int todo = look_ahead(&p, argc, argv);
	int r;

	if (todo < 0 || todo >= CONFIG_HELP)
		return todo;
	r = defaults(cfg);
	if (r < 0)
		complain(&p, "out of memory");
	if (!r && p.path) {
		cfg->config_path = strdup(p.path);
		r = parse_file(&p);
	}
	if (!r)
		r = parse_flags(&p, argc, argv);
	if (!r)
		r = check_whole(&p);
	if (!r)
		return todo;
	config_fini(cfg);
	return -EINVAL;
}

int config_read_text(const char *path, const char *text, size_t len,
		     struct server_cfg *cfg, char *err)
{
	struct parse p = { .cfg = cfg, .err = err, .path = path };
	int r = defaults(cfg);

	if (!r)
		r = parse_text(&p, text, len);
	if (!r)
		r = check_whole(&p);
	if (r < 0)
		config_fini(cfg);
	return r;
}

void config_help(FILE *to)
{
	fputs("Usage: memserver --export [NAME=]SIZE [FLAG...]\n"
	      "Lends this host's memory to others over NVMe/TCP, NBD and iSCSI.\n\n",
	      to);
	for (size_t i = 0; i < config_nr_keys; i++) {
		const struct config_key *key = &config_keys[i];
		char flag[64];
		int n = snprintf(flag, sizeof(flag), "--%s", key->name);

		if (key->letter)
			snprintf(flag + n, sizeof(flag) - (size_t)n, ", -%c",
				 key->letter);
		else if (key->kind == CONFIG_VALUE || key->kind == CONFIG_FILE_KEY)
			snprintf(flag + n, sizeof(flag) - (size_t)n, " %.*s",
				 (int)strcspn(key->allowed, ";"), key->allowed);
		else if (key->kind == CONFIG_OPTIONAL)
			snprintf(flag + n, sizeof(flag) - (size_t)n, " [%s]",
				 key->allowed);
		if (strlen(flag) > 30)
			fprintf(to, "  %s\n%34s%s\n", flag, "", key->help);
		else
			fprintf(to, "  %-32s%s\n", flag, key->help);
	}
	fputs("\nmemserver(8) tells more; memctl(1) administrates.\n", to);
}

int config_parse(int argc, char **argv, struct server_cfg *cfg)
{
	char err[CONFIG_ERROR_MAX];
	int r = config_read(argc, argv, cfg, err);

	switch (r) {
	case CONFIG_GO:
		return 0;
	case CONFIG_CHECKED:
		config_fini(cfg);
		puts("memserver: the configuration is good");
		return 1;
	case CONFIG_HELP:
		config_help(stdout);
		return 1;
	case CONFIG_VERSION:
		puts("memserver " REMEM_VERSION);
		return 1;
	default:
		fprintf(stderr, "memserver: %s\n", err);
		return -EINVAL;
	}
}

void config_fini(struct server_cfg *cfg)
{
	for (size_t i = 0; i < config_nr_keys; i++)
		if (config_keys[i].reset && cfg->acl)
			config_keys[i].reset(cfg);
	acl_free(cfg->acl);
	free(cfg->doors);
	free(cfg->iscsi_auth);
	free(cfg->nvme_auth);
	config_tls_fini(cfg);
	free(cfg->control_path);
	free(cfg->pool_dir);
	free(cfg->user);
	free(cfg->config_path);
	memset(cfg, 0, sizeof(*cfg));
}

void config_each(const struct server_cfg *cfg,
		 void (*fn)(const char *key, const char *value, void *arg), void *arg)
{
	for (size_t i = 0; i < config_nr_keys; i++)
		if (config_keys[i].show)
			config_keys[i].show(&config_keys[i], cfg, fn, arg);
}
