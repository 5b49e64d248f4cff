/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests of administrators in, changes to the running server out; main thread.
 * The commands that only look are in ctl_stat.c.
 */
#include "memserver/ctl.h"

#include <errno.h>
#include <json-c/json.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/ctl_server.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "lib/size.h"
#include "memserver/ctl_remote.h"
#include "memserver/ctl_stat.h"
#include "memserver/helper.h"
#include "memserver/iscsi/iscsi.h"
#include "memserver/nvme/auth.h"
#include "memserver/nvme/tls.h"
#include "memserver/roles.h"
#include "memserver/secure.h"
#include "memserver/server.h"
#include "memserver/trail.h"

static int need_name(struct ctl_call *call, const char **ret)
{
	if (ctl_arg_string(call->req, "name", ret) < 0)
		return ctl_fail(call, EINVAL, "it needs a name");
	return 0;
}

/* A size that must be there, or (`needed` false) may. */
static int get_size(struct ctl_call *call, const char *key, bool needed, uint64_t *ret)
{
	int r = ctl_arg_size(call->req, key, ret);

	if (!r || (r == -ENOENT && !needed))
		return 0;
	return ctl_fail(call, EINVAL, "it needs a %s, as 4294967296 or 4G", key);
}

/* "bandwidth" and "iops": what is not named stays. */
static int get_caps(struct ctl_call *call, struct caps_cfg *caps)
{
	int r = get_size(call, "bandwidth", false, &caps->bytes_per_s);

	if (r == 0 && ctl_arg_u64(call->req, "iops", &caps->ops_per_s) == -EINVAL)
		r = ctl_fail(call, EINVAL, "iops must be a number");
	if (r == 0 && caps_check(caps) < 0)
		r = ctl_fail(call, EINVAL,
			     "a limit is 1M or more bytes, or 10 or more operations, a "
			     "second; 0 is none");
	return r;
}

/* What front ends tell their clients of: namespaces came, went or changed. */
static void exports_changed(struct server *s)
{
	conns_poke(s->conns);
	iscsi_sync(s->iscsi);
}

/* Takes the export away from tgtd before it changes; exports_changed gives it back. */
static int leave_iscsi(struct ctl_call *call, struct server *s, struct export *e,
		       bool force)
{
	int r = iscsi_release(s->iscsi, e, force);

	if (r == -EBUSY)
		return ctl_fail(call, EBUSY,
				"%s is in use over iSCSI (or kept for a client that is "
				"reconnecting); see memctl who",
				export_name(e));
	if (r < 0)
		return ctl_fail(call, -r, "%s: tgtd does not give it up: %s",
				export_name(e), strerror(-r));
	return 0;
}

static int do_create(struct ctl_call *call, void *arg)
{
	struct server *s = arg;
	struct export_cfg cfg = { 0 };
	char size[SIZE_FORMAT_MAX];
	const char *why = "";
	int r = need_name(call, &cfg.name);

	if (!r)
		r = get_size(call, "size", true, &cfg.size_bytes);
	if (!r)
		r = get_size(call, "quota", false, &cfg.quota_bytes);
	if (!r)
		r = get_caps(call, &cfg.caps);
	if (r < 0)
		return r;
	if (ctl_arg_bool(call->req, "tls", &cfg.needs_tls) == -EINVAL)
		return ctl_fail(call, EINVAL, "tls is true or false");
	if (cfg.quota_bytes > cfg.size_bytes)
		return ctl_fail(call, EINVAL, "the quota is above the size");
	r = exports_create(s->exports, &cfg, &why);
	if (r < 0)
		return ctl_fail(call, -r, "%s: %s", cfg.name, why);
	log_note("export %s: created with %s by %s", cfg.name,
		 size_format(cfg.size_bytes, size, sizeof(size)), call->peer->text);
	exports_changed(s);
	return 0;
}

/* The quota a resize leaves when it names none: the old one, as far as it fits. */
static uint64_t kept_quota(struct server *s, const char *name, uint64_t size)
{
	struct export *e = exports_find(s->exports, name, strlen(name));
	uint64_t quota = e ? export_quota(e) : UINT64_MAX;

	export_put(e);
	return quota < size ? quota : 0;
}

static int do_resize(struct ctl_call *call, void *arg)
{
	struct server *s = arg;
	char text[SIZE_FORMAT_MAX];
	const char *name, *why = "";
	uint64_t size, quota = UINT64_MAX;
	struct export *e;
	int r = need_name(call, &name);

	if (!r)
		r = get_size(call, "size", true, &size);
	if (!r)
		r = get_size(call, "quota", false, &quota);
	if (r < 0)
		return r;
	if (quota == UINT64_MAX)
		quota = kept_quota(s, name, size);
	else if (quota > size)
		return ctl_fail(call, EINVAL, "the quota is above the size");
	e = exports_find(s->exports, name, strlen(name));
	r = e ? leave_iscsi(call, s, e, false) : 0;
	export_put(e);
	if (r < 0)
		return r;
	r = exports_resize(s->exports, name, size, quota, &why);
	if (r < 0) {
		iscsi_sync(s->iscsi);
		return ctl_fail(call, -r, "%.80s: %s", name, why);
	}
	log_note("export %s: resized to %s by %s", name,
		 size_format(size, text, sizeof(text)), call->peer->text);
	exports_changed(s);
	return 0;
}

static void tell_limits(const char *what, const struct caps_cfg *caps, const char *who)
{
	char text[SIZE_FORMAT_MAX];

	log_note("%s: limits set by %s: %s/s, %llu requests/s (0: none)", what, who,
		 size_format(caps->bytes_per_s, text, sizeof(text)),
		 (unsigned long long)caps->ops_per_s);
}

/* Those that wait look again. */
static void limits_changed(struct server *s)
{
	conns_poke(s->conns);
	iscsi_sync(s->iscsi);
}

static int limit_clients(struct ctl_call *call, struct server *s)
{
	struct caps_cfg caps = clients_limits(s->clients);
	uint64_t quota = accounts_quota(s->accounts);
	char text[SIZE_FORMAT_MAX];
	int r = get_caps(call, &caps);

	if (r == 0)
		r = get_size(call, "quota", false, &quota);
	if (r < 0)
		return r;
	if (s->iscsi && (quota || caps.bytes_per_s || caps.ops_per_s))
		return ctl_fail(call, EOPNOTSUPP,
				"iSCSI is on, and tgtd knows no limits: an initiator "
				"would have none; limit exports, or serve without "
				"--iscsi");
	clients_limit(s->clients, &caps);
	s->cfg.client_caps = caps;
	if (quota != s->cfg.client_quota)
		log_note("clients: quota set by %s: %s (0: none)", call->peer->text,
			 size_format(quota, text, sizeof(text)));
	s->cfg.client_quota = quota;
	accounts_set_quota(s->accounts, quota);
	tell_limits("clients", &caps, call->peer->text);
	limits_changed(s);
	return 0;
}

static int limit_export(struct ctl_call *call, struct server *s, struct export *e)
{
	struct caps_cfg caps = caps_get(export_caps(e));
	int r = get_caps(call, &caps);

	if (r == 0 && (caps.bytes_per_s || caps.ops_per_s))
		r = leave_iscsi(call, s, e, false);
	if (r < 0)
		return r;
	r = exports_limit(s->exports, export_name(e), &caps);
	if (r < 0)
		return ctl_fail(call, -r, "%s: %s", export_name(e), strerror(-r));
	tell_limits(export_name(e), &caps, call->peer->text);
	limits_changed(s);
	return 0;
}

static int do_limit(struct ctl_call *call, void *arg)
{
	struct server *s = arg;
	bool clients = false;
	struct export *e;
	const char *name;
	int r;

	if (ctl_arg_bool(call->req, "clients", &clients) == -EINVAL)
		return ctl_fail(call, EINVAL, "clients is true or false");
	if (clients)
		return limit_clients(call, s);
	r = need_name(call, &name);
	if (r < 0)
		return r;
	e = exports_find(s->exports, name, strlen(name));
	if (!e)
		return ctl_fail(call, ENOENT, "no export '%.80s'", name);
	r = limit_export(call, s, e);
	export_put(e);
	return r;
}

static int do_drop(struct ctl_call *call, void *arg)
{
	struct server *s = arg;
	unsigned int kicked = 0, users;
	bool force = false;
	const char *name;
	struct export *e;
	int r = need_name(call, &name);

	if (r < 0)
		return r;
	if (ctl_arg_bool(call->req, "force", &force) == -EINVAL)
		return ctl_fail(call, EINVAL, "force is true or false");
	e = exports_find(s->exports, name, strlen(name));
	if (!e)
		return ctl_fail(call, ENOENT, "no export '%.80s'", name);
	users = export_users(e);
	r = leave_iscsi(call, s, e, force);
	if (r < 0) {
		export_put(e);
		return r;
	}
	r = exports_drop(s->exports, export_name(e), force);
	if (!r)
		kicked = conns_kick(s->conns, e, 0);
	if (r == -EBUSY)
		ctl_fail(call, EBUSY,
			 "%s is in use (%u times); see memctl who, or force", name,
			 users);
	else if (r < 0)
		ctl_fail(call, -r, "%s: %s", name, strerror(-r));
	else
		log_note("export %s: dropped by %s, %u connections ended", name,
			 call->peer->text, kicked);
	export_put(e);
	if (!r)
		exports_changed(s);
	else
		iscsi_sync(s->iscsi);
	return r;
}

static int do_kick(struct ctl_call *call, void *arg)
{
	struct server *s = arg;
	uint64_t id;

	if (ctl_arg_u64(call->req, "id", &id) < 0 || !id)
		return ctl_fail(call, EINVAL, "it needs a connection's id, see who");
	if (iscsi_kick(s->iscsi, id) != 0 && !conns_kick(s->conns, NULL, id))
		return ctl_fail(call, ENOENT, "no connection %llu",
				(unsigned long long)id);
	log_note("connection %llu: ended by %s", (unsigned long long)id,
		 call->peer->text);
	return 0;
}

static void add_setting(const char *key, const char *value, void *arg)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "key", json_object_new_string(key));
	json_object_object_add(o, "value", json_object_new_string(value));
	json_object_array_add(arg, o);
}

static int do_show_config(struct ctl_call *call, void *arg)
{
	struct server *s = arg;

	call->result = json_object_new_array();
	config_each(&s->cfg, add_setting, call->result);
	return 0;
}

static int reload_iscsi(struct server *s, char *why)
{
	char err[400];
	int r = iscsi_reload(s->iscsi, err, sizeof(err));

	if (r < 0)
		snprintf(why, TLS_ERROR_MAX, "%.300s; the secrets are as they were",
			 err);
	return r < 0 ? r : 0;
}

/* The helper may open it where we may not any more. */
static void reopen_audit(struct server *s)
{
	int fd = -1, r;

	if (!s->audit || !strcmp(s->cfg.audit, TRAIL_JOURNAL))
		return;
	r = s->helper ? helper_open(s->helper, s->cfg.audit, &fd) : 0;
	if (r < 0)
		log_err("--audit %s: %s; it goes on in the old file", s->cfg.audit,
			strerror(-r));
	else
		trail_reopen(s->audit, fd);
}

int ctl_reload(struct server *s, const char *who, char *why)
{
	int r = s->secure ? secure_reload(s->secure, why) : 0;
	size_t len = strlen(why);

	if (r < 0)
		snprintf(why + len, TLS_ERROR_MAX - len, "; all stays as it was");

	if (r == 0 && s->nvme_auth) {
		r = nvme_auth_reload(s->nvme_auth);
		if (r < 0)
			snprintf(
				why, TLS_ERROR_MAX,
				"%.80s is not as it should be, the secrets are as they "
				"were; the log says where",
				s->cfg.nvme_auth);
		else if (s->nvme_tls)
			nvme_tls_forget(s->nvme_tls); /* of secrets that are gone */
	}
	if (r == 0 && s->nvme_tls) {
		r = nvme_tls_reload(s->nvme_tls);
		if (r < 0)
			snprintf(why, TLS_ERROR_MAX,
				 "%.80s is not as it should be, the keys are as they "
				 "were; the log says where",
				 s->cfg.nvme_tls_keys);
	}
	reopen_audit(s);
	if (r == 0)
		r = ctl_remote_reload(s, why);
	if (r == 0)
		r = reload_iscsi(s, why);
	if (r == 0)
		log_note("%s: the files of secrets, certificates and clients were read "
			 "again",
			 who);
	return r;
}

static int do_reload(struct ctl_call *call, void *arg)
{
	struct server *s = arg;
	char why[TLS_ERROR_MAX] = "";
	int r;

	if (!s->nvme_auth && !s->nvme_tls && !s->secure && !s->remote &&
	    !s->cfg.iscsi_auth && !s->audit)
		return ctl_fail(call, ENOENT,
				"there are no secrets to read again: it runs without "
				"--nvme-auth, --iscsi-auth and TLS");
	r = ctl_reload(s, call->peer->text, why);
	return r < 0 ? ctl_fail(call, -r, "%.350s", why) : 0;
}

static int do_log_level(struct ctl_call *call, void *arg)
{
	struct server *s = arg;
	enum log_level level;
	const char *name;
	int r = ctl_arg_string(call->req, "level", &name);

	if (r == -EINVAL || (!r && log_level_parse(name, &level) < 0))
		return ctl_fail(call, EINVAL,
				"levels are err, warning, notice, info and debug");
	if (!r && ctl_need(call, CTL_ADMIN) < 0)
		return -EACCES;
	if (!r) {
		log_set_level(level);
		s->cfg.log_level = level;
		log_note("log level %s set by %s", log_level_name(level),
			 call->peer->text);
	}
	call->result = json_object_new_string(log_level_name(log_get_level()));
	return 0;
}

static void add_fault(const struct fault_info *info, void *arg)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "name", json_object_new_string(info->name));
	if (info->error) {
		json_object_object_add(
			o, "error",
			json_object_new_string(strerrorname_np(info->error)));
		json_object_object_add(o, "passes",
				       json_object_new_uint64(info->passes));
		json_object_object_add(o, "fired", json_object_new_uint64(info->fired));
	}
	json_object_array_add(arg, o);
}

static int do_fault(struct ctl_call *call, void *arg)
{
	const char *set, *why = "";
	int r = ctl_arg_string(call->req, "set", &set);

	if (r == -EINVAL)
		return ctl_fail(call, EINVAL, "set must be text");
	if (!r) {
		r = fault_set(set, &why);
		if (r < 0)
			return ctl_fail(call, -r, "'%.80s': %s", set, why);
		log_warn("faults set to '%s' by %s", set, call->peer->text);
	}
	call->result = json_object_new_array();
	fault_each(add_fault, call->result);
	return 0;
}

static int do_version(struct ctl_call *call, void *arg)
{
	struct server *s = arg;
	struct timespec now;
	uint64_t up_ns;

	clock_gettime(CLOCK_MONOTONIC, &now);
	up_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec -
		s->started_ns;
	call->result = json_object_new_object();
	json_object_object_add(call->result, "version",
			       json_object_new_string(REMEM_VERSION));
	json_object_object_add(call->result, "pid", json_object_new_int(getpid()));
	json_object_object_add(call->result, "uptime_s",
			       json_object_new_uint64(up_ns / 1000000000));
	return 0;
}

static const struct ctl_handler table[] = {
	{ "list", ctl_list, "the exports", CTL_VIEWER },
	{ "create", do_create, "name, size, [quota], [tls]: makes an export",
	  CTL_OPERATOR },
	{ "resize", do_resize, "name, size, [quota]: shrinks only when not in use",
	  CTL_OPERATOR },
	{ "limit", do_limit,
	  "name or clients, [bandwidth], [iops]: a second; 0 is none", CTL_OPERATOR },
	{ "drop", do_drop, "name, [force]: removes an export and its bytes",
	  CTL_OPERATOR },
	{ "stat", ctl_stat, "[name]: counters, latencies, memory; a name adds clients",
	  CTL_VIEWER },
	{ "who", ctl_who, "[after]: up to 1000 connections with ids above `after`",
	  CTL_VIEWER },
	{ "kick", do_kick, "id: ends a connection", CTL_OPERATOR },
	{ "show-config", do_show_config, "the configuration in effect", CTL_VIEWER },
	{ "reload", do_reload,
	  "reads the files of certificates, secrets and clients again", CTL_ADMIN },
	{ "log-level", do_log_level, "[level]: shows or sets what is logged",
	  CTL_VIEWER },
	{ "fault", do_fault, "[set]: shows or arms fault points, for tests",
	  CTL_ADMIN },
	{ "login", ctl_login, "user, password: for clients of --remote", CTL_NOBODY },
	{ "version", do_version, "version, process and uptime", CTL_VIEWER },
	{ NULL, NULL, NULL, CTL_NOBODY },
};

static const char *remedy(int error)
{
	switch (error) {
	case EADDRINUSE:
		return "a memserver listens there; stop it or give this one another "
		       "path with --control PATH";
	case EPERM:
		return "the folder belongs to another user; give another path with "
		       "--control PATH";
	default:
		return "give another path with --control PATH";
	}
}

static enum ctl_role role_of(int fd, const struct ctl_peer *peer, void *arg)
{
	const struct server *s = arg;

	return roles_of_peer(&s->roles, fd, peer);
}

static void tell_audit(const struct ctl_call *call, int r, void *arg)
{
	const struct server *s = arg;

	trail_call(s->audit, call, r);
}

static const struct ctl_policy policy = { role_of, tell_audit };

/* With roles everybody may connect, and is asked for a group. */
static int open_socket(struct server *s)
{
	int r = ctl_server_open(s->loop, s->cfg.control_path, table, s, &s->ctl);

	if (r < 0)
		return r;
	ctl_server_police(s->ctl, &policy, s);
	if (s->roles.by_group && chmod(s->cfg.control_path, 0666) < 0)
		return -errno;
	return 0;
}

int ctl_start(struct server *s)
{
	int r = roles_init(&s->roles, &s->cfg.roles);

	if (r == 0)
		r = trail_open(s->cfg.audit, &s->audit);
	if (r < 0)
		return r;
	r = open_socket(s);

	if (r < 0)
		log_err("control %s: cannot listen: %s; %s", s->cfg.control_path,
			strerror(-r), remedy(-r));
	else
		log_note("ready: control on %s", s->cfg.control_path);
	return r < 0 ? r : ctl_remote_start(s, table, &policy);
}

void ctl_stop(struct server *s)
{
	ctl_remote_stop(s);
	ctl_server_close(s->ctl);
	s->ctl = NULL;
	trail_close(s->audit);
	s->audit = NULL;
}
