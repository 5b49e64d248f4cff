/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memserver: a configuration in, a serving host out. The main thread sets everything
 * up in the order of dependence, then sits in its loop: accepting, signals, control,
 * one look a second at the host's memory; and takes it down in the reverse order.
 */
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "lib/size.h"
#include "memserver/acl.h"
#include "memserver/confine.h"
#include "memserver/conn_priv.h"
#include "memserver/ctl.h"
#include "memserver/helper.h"
#include "memserver/iscsi/iscsi.h"
#include "memserver/login.h"
#include "memserver/memory.h"
#include "memserver/metrics.h"
#include "memserver/nvme/auth.h"
#include "memserver/nvme/tls.h"
#include "memserver/secure.h"
#include "memserver/server.h"
#include "memserver/trail.h"

#define SECOND_NS UINT64_C(1000000000)

static const struct front *const fronts[DOOR_KIND_NR] = {
	[DOOR_NVME] = &front_nvme,
	[DOOR_DISCOVERY] = &front_nvme_discovery,
	[DOOR_NBD] = &front_nbd,
};

/* A thousand clients need more descriptors than the usual soft limit. */
static void raise_descriptors(unsigned int max_conns)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0)
		return;
	r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);
	if (r.rlim_max != RLIM_INFINITY && r.rlim_max < max_conns + 64)
		log_warn("the limit of open files is %llu, %u connections need more: "
			 "raise "
			 "LimitNOFILE (ulimit -n) or lower --max-conns",
			 (unsigned long long)r.rlim_max, max_conns);
}

/* ---- exports ---- */

/*
 * An export that is found again is never made smaller, nor is that an error: it may have
 * been resized since the flag was written, and its clients are waiting.
 */
static int grow_export(struct server *s, const struct export_cfg *cfg, uint64_t size,
		       uint64_t quota)
{
	char have[SIZE_FORMAT_MAX], want[SIZE_FORMAT_MAX];
	const char *why = "";
	int r;

	if (size > cfg->size_bytes)
		log_warn("--export %s=%s: it is there with %s and keeps that; 'memctl "
			 "resize' makes it smaller",
			 cfg->name, size_format(cfg->size_bytes, want, sizeof(want)),
			 size_format(size, have, sizeof(have)));
	if (size < cfg->size_bytes)
		size = cfg->size_bytes;
	if (cfg->quota_bytes)
		quota = cfg->quota_bytes;
	if (cfg->caps.bytes_per_s || cfg->caps.ops_per_s)
		exports_limit(s->exports, cfg->name, &cfg->caps);
	if (cfg->needs_tls) {
		r = exports_set_tls(s->exports, cfg->name, true);
		if (r < 0) {
			log_err("--export %s: %s", cfg->name, strerror(-r));
			return r;
		}
	}
	r = exports_resize(s->exports, cfg->name, size, quota < size ? quota : 0, &why);
	if (r < 0)
		log_err("--export %s: growing it: %s", cfg->name, why);
	return r;
}

/* An export of the command line is made once; found again it is taken as it is. */
static int ensure_export(struct server *s, const struct export_cfg *cfg)
{
	struct export *e = exports_find(s->exports, cfg->name, strlen(cfg->name));
	const char *why = "";
	uint64_t size, quota;
	int r;

	if (!e) {
		r = exports_create(s->exports, cfg, &why);
		if (r < 0)
			log_err("--export %s: %s", cfg->name, why);
		return r;
	}
	size = export_size(e);
	quota = export_quota(e);
	export_put(e);
	return grow_export(s, cfg, size, quota);
}

static int ensure_exports(struct server *s)
{
	int r = 0;

	for (size_t i = 0; i < s->cfg.nr_exports && r == 0; i++)
		r = ensure_export(s, &s->cfg.exports[i]);
	return r;
}

static int tell_export(struct export *e, void *arg)
{
	char size[SIZE_FORMAT_MAX], used[SIZE_FORMAT_MAX];

	size_format(export_size(e), size, sizeof(size));
	size_format(export_resident(e), used, sizeof(used));
	log_note("export %s: %s, %s stored, generation %s", export_name(e), size, used,
		 export_id(e)->generation);
	return 0;
}

/* ---- doors ---- */

static int open_doors(struct server *s)
{
	int r = 0;

	s->doors = calloc(s->cfg.nr_doors ? s->cfg.nr_doors : 1, sizeof(*s->doors));
	if (!s->doors)
		return -ENOMEM;
	for (size_t i = 0; i < s->cfg.nr_doors && r == 0; i++) {
		const struct door_cfg *d = &s->cfg.doors[i];
		struct door *door = &s->doors[s->nr_doors];
		unsigned int *nr = &s->engine.nr_nvme_doors;

		if (!fronts[d->kind]) /* iSCSI: another process serves it */
			continue;
		r = door_open(door, fronts[d->kind], &d->addr, &s->engine);
		s->nr_doors++;
		if (r == 0 && d->kind == DOOR_NVME &&
		    *nr < sizeof(s->engine.nvme_doors) /
				    sizeof(s->engine.nvme_doors[0]))
			s->engine.nvme_doors[(*nr)++] = door->addr.storage;
	}
	return r;
}

static int serve_doors(struct server *s)
{
	char text[ADDR_TEXT_MAX];
	int r = 0;

	for (size_t i = 0; i < s->nr_doors && r == 0; i++) {
		if (!s->doors[i].front)
			continue;
		r = door_serve(&s->doors[i], s->loop);
		log_note("ready: %s on %s", s->doors[i].front->name,
			 addr_format(&s->doors[i].addr.sa, text, sizeof(text)));
	}
	for (size_t i = 0; i < s->cfg.nr_doors && r == 0; i++)
		if (s->cfg.doors[i].kind == DOOR_ISCSI)
			log_note("ready: iscsi on %s",
				 addr_format(&s->cfg.doors[i].addr.sa, text,
					     sizeof(text)));
	return r;
}

/* ---- the loop ---- */

/* SIGHUP and memctl reload: the files of keys and lists are read again. */
static void reload(struct server *s)
{
	char why[TLS_ERROR_MAX] = "";

	if (ctl_reload(s, "SIGHUP", why) < 0)
		log_err("SIGHUP: %s", why);
}

static void on_signal(void *arg, int signo)
{
	struct server *s = arg;

	if (signo == SIGHUP) {
		reload(s);
		return;
	}
	log_note("%s: ending", signo == SIGINT ? "SIGINT" : "SIGTERM");
	loop_stop(s->loop);
}

static void every_second(void *arg)
{
	struct server *s = arg;

	pool_watch_host(s->pool);
	iscsi_sync(s->iscsi);
	if (s->nvme_tls)
		nvme_tls_tick(s->nvme_tls);
	for (size_t i = 0; i < s->nr_doors; i++)
		door_tick(&s->doors[i]);
	sd_notify(0, "WATCHDOG=1");
}

static int run(struct server *s)
{
	struct loop_timer second = { 0 };
	int r = loop_timer_init(s->loop, &second, every_second, s);

	if (r < 0)
		return r;
	loop_timer_set(&second, SECOND_NS, SECOND_NS);
	r = serve_doors(s);
	if (r == 0) {
		sd_notifyf(0, "READY=1\nSTATUS=serving\nMAINPID=%d", (int)getpid());
		r = loop_run(s->loop);
	}
	sd_notify(0, "STOPPING=1");
	loop_timer_fini(&second);
	return r;
}

/* ---- up and down ---- */

static struct pool_cfg pool_of(const struct server *s)
{
	const struct server_cfg *c = &s->cfg;

	return (struct pool_cfg){ .dir = c->pool_dir,
				  .limit_bytes = c->pool_limit,
				  .reserve_bytes = c->reserve_bytes,
				  .huge = c->huge,
				  .numa_node = c->numa_node,
				  .owner = &s->drop };
}

static int size_pool(void *arg, uint64_t bytes)
{
	return helper_pool_size(arg, bytes);
}

/* With the rights that serving will have. */
static int open_pool(struct server *s)
{
	const struct pool_cfg p = pool_of(s);
	int r = pool_attach(&p, &s->pool);

	if (r < 0)
		return r;
	if (s->helper)
		pool_size_by(s->pool, size_pool, s->helper);
	s->locked = memory_lock(pool_is_noswap(s->pool));
	r = exports_open(s->pool, &s->exports);
	if (r < 0) {
		log_err("pool %s: reading what is stored there: %s", pool_path(s->pool),
			strerror(-r));
		return r;
	}
	r = ensure_exports(s);
	if (r == 0)
		exports_each(s->exports, tell_export, NULL);
	return r;
}

static int load_nvme_auth(struct server *s)
{
	int r = 0;

	if (!s->cfg.nvme_auth)
		return 0;
	r = nvme_auth_new(s->cfg.nvme_auth, &s->cfg.nvme_auth_prefs, &s->nvme_auth);
	s->engine.nvme_auth = s->nvme_auth;
	return r;
}

static int start_nvme_tls(struct server *s)
{
	const struct server_cfg *c = &s->cfg;
	const struct nvme_tls_cfg cfg = {
		.path = c->nvme_tls == TLS_OFF ? NULL : c->nvme_tls_keys,
		.required = c->nvme_tls == TLS_REQUIRED,
		.concat = c->nvme_concat != TLS_OFF,
	};
	int r;

	if (!cfg.path && !cfg.concat)
		return 0;
	r = nvme_tls_new(&cfg, &s->nvme_tls);
	s->engine.nvme_tls = s->nvme_tls;
	return r;
}

/* All but its threads. */
static int prepare_engine(struct server *s)
{
	struct engine *g = &s->engine;
	int r = conns_new(&s->conns);

	if (r == 0)
		r = clients_new(&s->clients);
	if (r == 0)
		r = accounts_new(&s->accounts);
	if (r == 0 && (s->cfg.tls.files.cert || s->cfg.tls.files.psk))
		r = secure_new(&s->cfg.tls, &s->secure);
	if (r < 0)
		return r;
	g->secure = s->secure;
	clients_limit(s->clients, &s->cfg.client_caps);
	accounts_set_quota(s->accounts, s->cfg.client_quota);
	g->clients = s->clients;
	g->accounts = s->accounts;
	g->exports = s->exports;
	g->conns = s->conns;
	g->acl = s->cfg.acl;
	g->nr_workers = s->cfg.threads;
	g->spin_ns = (uint64_t)s->cfg.spin_us * 1000;
	g->max_conns = s->cfg.max_conns;
	r = load_nvme_auth(s);
	if (r == 0)
		r = start_nvme_tls(s);
	if (r == 0)
		r = open_doors(s);
	return r;
}

static int start_threads(struct server *s)
{
	int r = s->nvme_auth ? nvme_auth_start(s->nvme_auth) : 0;

	if (r == 0)
		r = engine_start(&s->engine);
	if (r == 0)
		r = metrics_start(s);
	return r;
}

static int run_tgtd(void *arg, int output, pid_t *ret_pid)
{
	return helper_tgtd(arg, output, ret_pid);
}

/* Its portals are doors of the configuration that tgtd serves. */
static int start_iscsi(struct server *s)
{
	struct addr *portals = calloc(s->cfg.nr_doors + 1, sizeof(*portals));
	struct iscsi_cfg cfg = { .loop = s->loop,
				 .exports = s->exports,
				 .acl = s->cfg.acl,
				 .folder = pool_path(s->pool),
				 .portals = portals,
				 .auth_path = s->cfg.iscsi_auth,
				 .run = run_tgtd,
				 .run_arg = s->helper };
	int r = 0;

	if (!portals)
		return -ENOMEM;
	for (size_t i = 0; i < s->cfg.nr_doors; i++)
		if (s->cfg.doors[i].kind == DOOR_ISCSI)
			portals[cfg.nr_portals++] = s->cfg.doors[i].addr;
	if (cfg.nr_portals && getuid() != 0 && !s->drop.wanted) {
		log_err("iscsi: tgtd takes orders from root only: run memserver as "
			"root, or without --iscsi");
		r = -EPERM;
	}
	if (cfg.nr_portals && r == 0)
		r = pool_share(s->pool);
	if (cfg.nr_portals && r == 0)
		r = iscsi_start(&cfg, &s->iscsi);
	free(portals);
	return r;
}

/* Processes to start and files to open that we shall not have the right to. */
static int start_helper(struct server *s)
{
	bool needed = s->drop.wanted || s->cfg.remote_on;

	for (size_t i = 0; i < s->cfg.nr_doors; i++)
		needed |= s->cfg.doors[i].kind == DOOR_ISCSI;
	return needed ? helper_start(&s->cfg, &s->drop, &s->helper) : 0;
}

static int open_secret(void *arg, const char *path)
{
	int fd = -1, r = helper_open(arg, path, &fd);

	return r < 0 ? r : fd;
}

static int give_up_rights(struct server *s)
{
	int r = drop_rights(&s->drop);

	if (r == 0 && s->drop.wanted)
		secret_open_by(open_secret, s->helper);
	return r;
}

#define FOLDERS_MAX 24

static void may_open(struct confine_folder *list, size_t *nr, const char *path,
		     enum confine_access access)
{
	if (path && *nr < FOLDERS_MAX)
		list[(*nr)++] = (struct confine_folder){ path, access };
}

/* Of keys the helper opens what we may not; who has not dropped rights opens them itself. */
static size_t list_folders(const struct server *s, struct confine_folder *list)
{
	const struct server_cfg *c = &s->cfg;
	size_t nr = 0;

	may_open(list, &nr, pool_path(s->pool), CONFINE_WRITE);
	may_open(list, &nr, c->control_path, CONFINE_WRITE);
	may_open(list, &nr, "/proc", CONFINE_READ);
	may_open(list, &nr, "/etc", CONFINE_READ);
	may_open(list, &nr, "/usr/share/zoneinfo/", CONFINE_READ);
	may_open(list, &nr, "/dev/null", CONFINE_DEVICE);
	for (size_t i = 0; i < c->nr_doors && i < 4; i++)
		if (c->doors[i].addr.sa.sa_family == AF_UNIX)
			may_open(list, &nr, c->doors[i].addr.un.sun_path,
				 CONFINE_WRITE);
	if (s->drop.wanted)
		return nr;
	if (c->audit && strcmp(c->audit, TRAIL_JOURNAL) != 0)
		may_open(list, &nr, c->audit, CONFINE_WRITE);
	may_open(list, &nr, c->iscsi_auth, CONFINE_READ);
	may_open(list, &nr, c->nvme_auth, CONFINE_READ);
	may_open(list, &nr, c->nvme_tls_keys, CONFINE_READ);
	may_open(list, &nr, c->tls.files.cert, CONFINE_READ);
	may_open(list, &nr, c->tls.files.key, CONFINE_READ);
	may_open(list, &nr, c->tls.files.ca, CONFINE_READ);
	may_open(list, &nr, c->tls.files.psk, CONFINE_READ);
	may_open(list, &nr, c->tls.clients, CONFINE_READ);
	return nr;
}

/* What can't be put in force is said, and is no reason not to serve. */
static void confine(struct server *s)
{
	struct confine_folder list[FOLDERS_MAX];
	const struct passwd *pw = s->drop.wanted ? NULL : getpwuid(geteuid());
	int files = confine_files(list, list_folders(s, list));
	int calls = confine_calls(s->iscsi != NULL);
	char landlock[40] = "Landlock: not in this kernel", seccomp[60] = "seccomp";

	if (files > 0)
		snprintf(landlock, sizeof(landlock), "Landlock (ABI %d)", files);
	else if (files < 0)
		snprintf(landlock, sizeof(landlock), "Landlock: %.20s",
			 strerror(-files));
	if (calls == -EOPNOTSUPP)
		snprintf(seccomp, sizeof(seccomp), "seccomp: not in this build");
	else if (calls < 0)
		snprintf(seccomp, sizeof(seccomp), "seccomp: %.40s", strerror(-calls));
	snprintf(s->confined, sizeof(s->confined), "%.32s, %s, %s",
		 s->drop.wanted ? s->drop.name
		 : pw           ? pw->pw_name
				: "a user without a name",
		 seccomp, landlock);
	log_note("runs as %s", s->confined);
}

/* What needs rights. The pool is opened as who will serve it. */
static int take(struct server *s)
{
	const struct pool_cfg p = pool_of(s);
	int r = start_helper(s);

	raise_descriptors(s->cfg.max_conns);
	drop_memory_limit(&s->drop);
	if (r == 0)
		r = pool_prepare(&p);
	if (r == 0)
		memory_flusher();
	if (r == 0)
		r = drop_pause(&s->drop);
	if (r == 0)
		r = open_pool(s);
	if (r == 0)
		r = drop_resume(&s->drop);
	if (r == 0)
		r = prepare_engine(s);
	if (r == 0)
		r = ctl_start(s);
	if (r == 0)
		r = metrics_listen(s);
	return r;
}

static int start(struct server *s)
{
	int r = loop_new(&s->loop);

	s->started_ns = clock_ns();
	if (r == 0)
		r = loop_signals(s->loop, on_signal, s);
	if (r == 0)
		r = fault_init();
	if (r == 0)
		r = drop_choose(s->cfg.user, &s->drop);
	if (r == 0)
		r = take(s);
	if (r == 0)
		r = give_up_rights(s);
	if (r == 0)
		r = start_iscsi(s);
	if (r == 0)
		confine(s);
	if (r == 0)
		r = start_threads(s);
	if (r == 0)
		memory_trim(s->secure || s->nvme_tls);
	return r;
}

static void stop(struct server *s)
{
	for (size_t i = 0; i < s->nr_doors; i++)
		door_close(&s->doors[i]);
	metrics_stop(s);
	ctl_stop(s);
	engine_stop(&s->engine);
	nvme_auth_free(s->nvme_auth);
	nvme_tls_free(s->nvme_tls);
	iscsi_stop(s->iscsi);
	exports_close(s->exports);
	clients_free(s->clients);
	accounts_free(s->accounts);
	conns_free(s->conns);
	secure_free(s->secure);
	pool_close(s->pool);
	helper_stop(s->helper);
	loop_free(s->loop);
	free(s->doors);
	config_fini(&s->cfg);
}

/*
 * --prepare-pool: a service manager runs this with all rights and in the host's own mount
 * namespace, so that the mount outlives the service, which may then have few rights.
 */
static int prepare(struct server *s)
{
	const struct pool_cfg p = pool_of(s);
	int r = drop_choose(s->cfg.user, &s->drop);

	if (r == 0)
		r = pool_prepare(&p);
	config_fini(&s->cfg);
	return r;
}

int main(int argc, char **argv)
{
	struct server s = { 0 };
	int r;

	if (argc == 2 && !strcmp(argv[1], LOGIN_CHILD_ARG))
		return login_child();
	log_init("memserver");
	r = config_parse(argc, argv, &s.cfg);
	if (r)
		return r < 0 ? 2 : 0;
	log_set_level(s.cfg.log_level);
	if (s.cfg.prepare_pool)
		return prepare(&s) < 0 ? 1 : 0;
	r = start(&s);
	if (r == 0)
		r = run(&s);
	stop(&s);
	return r < 0 ? 1 : 0;
}
