/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The register of exports in, a tgtd with a target for each out. Main thread; only
 * target_take runs elsewhere.
 */
#include "memserver/iscsi/iscsi.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "memserver/acl.h"
#include "memserver/iscsi/target.h"
#include "memserver/iscsi/tgt_call.h"
#include "memserver/iscsi/tgtd.h"

#define ASK_MS       1000
#define SILENCES_MAX 10 /* then a tgtd that does not answer is killed */
#define SESSIONS_MAX 64 /* told of one target */
#define LOOKS_A_TICK 32 /* targets whose sessions are counted in one second */
#define ID_BASE      (UINT64_C(1) << 48)
#define SECOND_NS    UINT64_C(1000000000)
#define HOLD_USED_NS (120 * SECOND_NS) /* open-iscsi's replacement_timeout */
#define HOLD_NS      (10 * SECOND_NS)  /* a login may have been missed */

struct iscsi {
	struct target_surroundings around;
	struct exports *exports; /* borrowed */
	char *folder;            /* owned */
	char *auth_path;         /* owned; NULL: no CHAP */
	struct list targets;     /* in order of tid */
	int32_t next_tid;
	int next_look;         /* the first target of the next tick */
	uint64_t seen;         /* exports_generation of the last match */
	unsigned int silences; /* orders in a row it has not answered */
	_Atomic unsigned int restarts;
};

static struct target *find(struct iscsi *is, const struct export *e)
{
	struct target *t;

	list_for_each_entry(t, &is->targets, link)
		if (t->export == e)
			return t;
	return NULL;
}

/* ---- which exports there are ---- */

struct gather {
	struct export **list; /* references */
	size_t nr, room;
};

static int gather_one(struct export *e, void *arg)
{
	struct gather *g = arg;

	if (g->nr == g->room) {
		size_t room = g->room ? g->room * 2 : 16;
		struct export **list = reallocarray(g->list, room, sizeof(*list));

		if (!list)
			return -ENOMEM;
		g->list = list;
		g->room = room;
	}
	g->list[g->nr++] = export_get(e);
	return 0;
}

static void add_target(struct iscsi *is, struct export *e)
{
	struct target *t = calloc(1, sizeof(*t));

	if (!t)
		return;
	t->around = &is->around;
	t->export = export_get(e);
	for (int i = 0; i < TARGET_NAMES; i++)
		t->tid[i] = is->next_tid++;
	list_add_tail(&is->targets, &t->link);
}

static void free_target(struct target *t)
{
	list_del(&t->link);
	export_put(t->export);
	free(t);
}

/* Targets of exports that are gone go; new exports get one. */
static void match_exports(struct iscsi *is)
{
	uint64_t generation = exports_generation(is->exports);
	struct gather g = { 0 };
	struct target *t, *tmp;
	bool all = true;

	if (generation == is->seen)
		return;
	if (exports_each(is->exports, gather_one, &g) == 0) {
		list_for_each_entry_safe(t, tmp, &is->targets, link) {
			size_t i = 0;

			while (i < g.nr && g.list[i] != t->export)
				i++;
			if (i < g.nr)
				continue;
			if (export_reclaim(t->export, true) == 0)
				free_target(t);
			else
				all = false;
		}
		if (all)
			is->seen = generation;
		for (size_t i = 0; i < g.nr; i++)
			if (!find(is, g.list[i]))
				add_target(is, g.list[i]);
	}
	for (size_t i = 0; i < g.nr; i++)
		export_put(g.list[i]);
	free(g.list);
}

/* tgtd stores what it is sent, as fast as it can: it could keep neither a quota below the
 * size nor a limit; nor does it encrypt. */
static bool is_offered(struct target *t)
{
	bool quota = export_quota(t->export) < export_size(t->export);
	bool tls = export_needs_tls(t->export);

	if (!tls && !quota && !caps_any(export_caps(t->export)))
		return true;
	if (!t->told && tls)
		log_note("iscsi: export %s is not offered: it is served with TLS only",
			 export_name(t->export));
	else if (!t->told)
		log_note("iscsi: export %s is not offered: it has a %s, which tgtd "
			 "cannot keep",
			 export_name(t->export), quota ? "quota" : "limit");
	t->told = true;
	return false;
}

static void offer(struct target *t)
{
	struct export_loan loan = { target_give, target_take, t };

	if (!tgtd_is_up(t->around->tgtd) || !is_offered(t))
		return;
	if (!export_is_lent(t->export))
		export_lend(t->export, &loan);
	else if (!atomic_load(&t->made))
		export_renew(t->export);
}

/* ---- sessions ---- */

/* What tgtd says of one name; how many, at most `max` of them in `ret`. */
static int ask_sessions(const struct target *t, int32_t tid, struct tgt_session *ret,
			size_t max)
{
	struct tgt_request req = TGT_REQUEST(TGT_CONNECTION, TGT_SHOW, tid);
	_cleanup_free_ char *text = NULL;
	int r = tgt_call(tgtd_socket(t->around->tgtd), &req, ASK_MS, &text);

	if (r == 0)
		r = tgt_text_sessions(text, ret, max);
	if (r == -EPROTO)
		log_debug("iscsi: target %d: tgtd's list of sessions is not one", tid);
	return r;
}

static int count_sessions(struct target *t)
{
	int nr[TARGET_NAMES];

	if (!atomic_load(&t->made) || !export_is_lent(t->export)) {
		t->sessions = 0;
		return 0;
	}
	for (int i = 0; i < TARGET_NAMES; i++) {
		nr[i] = ask_sessions(t, t->tid[i], NULL, 0);
		if (nr[i] < 0)
			return nr[i]; /* what we knew stays */
	}
	t->sessions = (unsigned int)(nr[0] + nr[1]);
	if (t->sessions)
		atomic_store(&t->held_until_ns, 0);
	return 0;
}

/* Counts the sessions of targets [first, first + nr); stops at a tgtd that is stuck. */
static void count_some(struct iscsi *is, int first, int nr)
{
	struct target *t;
	int i = 0;

	list_for_each_entry(t, &is->targets, link) {
		if (i >= first && i - first < nr) {
			if (count_sessions(t) == -ETIMEDOUT) {
				is->silences++;
				break;
			}
			is->silences = 0;
		}
		i++;
	}
	if (is->silences < SILENCES_MAX)
		return;
	log_err("iscsi: tgtd has not answered for %u orders; it is killed",
		is->silences);
	is->silences = 0;
	tgtd_kill(is->around.tgtd);
}

void iscsi_look(struct iscsi *is)
{
	if (is && tgtd_is_up(is->around.tgtd))
		count_some(is, 0, INT_MAX);
}

void iscsi_sync(struct iscsi *is)
{
	struct target *t;
	int nr = 0;

	if (!is)
		return;
	match_exports(is);
	list_for_each_entry(t, &is->targets, link) {
		nr++;
		offer(t);
		export_settle(t->export);
	}
	if (!tgtd_is_up(is->around.tgtd))
		return;
	if (is->next_look >= nr)
		is->next_look = 0;
	count_some(is, is->next_look, LOOKS_A_TICK);
	is->next_look += LOOKS_A_TICK;
}

/* ---- tgtd comes and goes ---- */

static int add_account(struct iscsi *is, const struct chap_account *a)
{
	struct tgt_request req = TGT_REQUEST(TGT_ACCOUNT, TGT_NEW, -1);
	char text[CHAP_NAME_MAX + CHAP_SECRET_MAX + 20];
	int r;

	snprintf(text, sizeof(text), "user=%s,password=%s", a->user, a->secret);
	req.text = text;
	r = tgt_call(tgtd_socket(is->around.tgtd), &req, ASK_MS, NULL);
	explicit_bzero(text, sizeof(text));
	return r;
}

static int add_accounts(struct iscsi *is)
{
	const struct chap *chap = &is->around.chap;
	int r = 0;

	for (size_t i = 0; i < chap->nr && r == 0; i++)
		r = add_account(is, &chap->list[i]);
	if (r < 0)
		log_err("iscsi: giving tgtd its CHAP accounts: %s", strerror(-r));
	return r;
}

static int on_up(void *arg)
{
	struct iscsi *is = arg;
	int r = add_accounts(is);

	if (r == 0)
		iscsi_sync(is);
	return r;
}

/*
 * Its targets are gone with it. What was in use is kept for a while for those who were
 * using it: they reconnect to the next tgtd, and nobody else may attach between.
 */
static void on_down(void *arg)
{
	struct iscsi *is = arg;
	struct target *t;

	is->restarts++;
	list_for_each_entry(t, &is->targets, link) {
		if (!export_is_lent(t->export))
			continue;
		atomic_store(&t->held_until_ns,
			     clock_ns() + (t->sessions ? HOLD_USED_NS : HOLD_NS));
		t->sessions = 0;
		atomic_store(&t->made, false);
	}
}

/* ---- other secrets ---- */

/* Unbinds it everywhere, too; sessions that logged in with it stay. */
static int delete_account(struct iscsi *is, const struct chap_account *a)
{
	struct tgt_request req = TGT_REQUEST(TGT_ACCOUNT, TGT_DELETE, -1);
	char text[CHAP_NAME_MAX + 8];

	snprintf(text, sizeof(text), "user=%s", a->user);
	req.text = text;
	return tgt_call(tgtd_socket(is->around.tgtd), &req, ASK_MS, NULL);
}

static bool is_made(struct target *t)
{
	return atomic_load(&t->made) && export_is_lent(t->export);
}

/* A name and a secret that nobody knows. */
static int make_guard(struct chap_account *ret)
{
	uint8_t random[24];

	memset(ret, 0, sizeof(*ret));
	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	for (int i = 0; i < 8; i++)
		sprintf(ret->user + 2 * i, "%02x", random[i]);
	for (int i = 0; i < 16; i++)
		sprintf(ret->secret + 2 * i, "%02x", random[8 + i]);
	explicit_bzero(random, sizeof(random));
	return 0;
}

/*
 * tgtd (1.0.85, tried) keeps a target's accounts in slots and looks into as many of them as
 * there are accounts, from the first: the slot that the guard leaves free may hide the
 * last one, which therefore moves. Never the only one.
 */
static int close_gap(struct iscsi *is)
{
	const struct chap *chap = &is->around.chap;
	const struct chap_account *last = NULL;
	struct target *t;
	size_t nr = 0;
	int r = 0;

	for (size_t i = 0; i < chap->nr; i++)
		if (!chap->list[i].outgoing) {
			last = &chap->list[i];
			nr++;
		}
	list_for_each_entry(t, &is->targets, link)
		if (r == 0 && nr > 1 && is_made(t))
			r = target_rebind_account(t, last);
	return r;
}

/*
 * tgtd lets everybody in to a target that has no account, and knows no change of one: so
 * one that nobody can use is bound while the old ones go and the new ones come. The chap
 * lock is held.
 */
static int replace_accounts(struct iscsi *is, const struct chap *fresh)
{
	struct chap_account guard;
	struct target *t;
	int r = make_guard(&guard);

	if (r == 0)
		r = add_account(is, &guard);
	list_for_each_entry(t, &is->targets, link)
		if (r == 0 && is_made(t))
			r = target_bind_account(t, &guard);
	for (size_t i = 0; i < is->around.chap.nr && r == 0; i++)
		r = delete_account(is, &is->around.chap.list[i]);
	is->around.chap = *fresh;
	if (r == 0)
		r = add_accounts(is);
	list_for_each_entry(t, &is->targets, link)
		if (r == 0 && is_made(t))
			r = target_bind_accounts(t);
	if (r == 0)
		r = delete_account(is, &guard);
	if (r == 0)
		r = close_gap(is);
	explicit_bzero(&guard, sizeof(guard));
	return r;
}

int iscsi_reload(struct iscsi *is, char *why, size_t len)
{
	struct chap fresh;
	int r;

	if (!is || !is->auth_path)
		return 0;
	r = chap_load(is->auth_path, &fresh, why, len);
	if (r < 0)
		return r;
	pthread_mutex_lock(&is->around.chap_lock);
	if (tgtd_is_up(is->around.tgtd))
		r = replace_accounts(is, &fresh);
	else
		is->around.chap = fresh; /* the next one is told of them */
	pthread_mutex_unlock(&is->around.chap_lock);
	chap_wipe(&fresh);
	if (r < 0) {
		log_err("iscsi: telling tgtd of other secrets: %s; it is ended and "
			"started with them",
			strerror(-r));
		tgtd_kill(is->around.tgtd);
	}
	return 1;
}

/* ---- for administrators ---- */

int iscsi_release(struct iscsi *is, struct export *e, bool force)
{
	int r;

	if (!is)
		return 0;
	r = export_reclaim(e, force);
	if (r == 0 && find(is, e)) {
		find(is, e)->sessions = 0;
		find(is, e)->told = false;
	}
	return r;
}

static int by_sid(const void *a, const void *b)
{
	const struct tgt_session *x = a, *y = b;

	return x->sid < y->sid ? -1 : x->sid > y->sid;
}

static void ask_counters(const struct target *t, int32_t tid, uint32_t sid,
			 struct tgt_counters *ret)
{
	struct tgt_request req = TGT_REQUEST(TGT_TARGET, TGT_STAT, tid);
	_cleanup_free_ char *text = NULL;

	memset(ret, 0, sizeof(*ret));
	if (tgt_call(tgtd_socket(t->around->tgtd), &req, ASK_MS, &text) == 0)
		tgt_text_counters(text, 1, sid, ret);
}

static int each_of_name(const struct target *t, int32_t tid,
			int (*fn)(const struct iscsi_session_info *, void *), void *arg)
{
	struct tgt_session list[SESSIONS_MAX];
	int nr = ask_sessions(t, tid, list, SESSIONS_MAX), r = 0;

	if (nr > SESSIONS_MAX)
		nr = SESSIONS_MAX;
	if (nr > 0)
		qsort(list, (size_t)nr, sizeof(list[0]), by_sid);
	for (int i = 0; i < nr && r == 0; i++) {
		struct iscsi_session_info info = { .export = export_name(t->export),
						   .session = list[i] };

		info.id = ID_BASE + ((uint64_t)tid << 32) + list[i].sid;
		ask_counters(t, tid, list[i].sid, &info.counters);
		r = fn(&info, arg);
	}
	return r;
}

int iscsi_each(struct iscsi *is, int (*fn)(const struct iscsi_session_info *, void *),
	       void *arg)
{
	struct target *t;
	int r = 0;

	if (!is || !tgtd_is_up(is->around.tgtd))
		return 0;
	list_for_each_entry(t, &is->targets, link) {
		if (!atomic_load(&t->made) || !export_is_lent(t->export))
			continue;
		for (int i = 0; i < TARGET_NAMES && r == 0; i++)
			r = each_of_name(t, t->tid[i], fn, arg);
		if (r)
			break;
	}
	return r;
}

unsigned int iscsi_sessions(struct iscsi *is, const struct export *e)
{
	struct target *t = is ? find(is, e) : NULL;

	return t ? t->sessions : 0;
}

static int kick_one(const struct iscsi_session_info *info, void *arg)
{
	struct tgt_request *req = arg;

	if (info->id != req->lun)
		return 0;
	req->sid = info->session.sid;
	req->cid = info->session.cid;
	return 1;
}

int iscsi_kick(struct iscsi *is, uint64_t id)
{
	struct tgt_request req = TGT_REQUEST(TGT_CONNECTION, TGT_DELETE, 0);

	if (!is || id < ID_BASE)
		return -ENOENT;
	req.lun = id; /* what kick_one looks for */
	if (iscsi_each(is, kick_one, &req) != 1)
		return -ENOENT;
	req.tid = (int32_t)((id - ID_BASE) >> 32);
	req.lun = UINT64_MAX;
	return tgt_call(tgtd_socket(is->around.tgtd), &req, ASK_MS, NULL);
}

int iscsi_pid(const struct iscsi *is)
{
	return is ? tgtd_pid(is->around.tgtd) : 0;
}

unsigned int iscsi_restarts(const struct iscsi *is)
{
	return is->restarts;
}

uint64_t iscsi_refused(const struct iscsi *is)
{
	return tgtd_refused(is->around.tgtd);
}

/* ---- up and down ---- */

static int load_secrets(struct iscsi *is, const char *path)
{
	char err[400];
	int r = chap_load(path, &is->around.chap, err, sizeof(err));

	if (r < 0)
		log_err("--iscsi-auth %s", err);
	return r;
}

int iscsi_start(const struct iscsi_cfg *cfg, struct iscsi **ret)
{
	struct iscsi *is = calloc(1, sizeof(*is));
	struct tgtd_cfg d = { .loop = cfg->loop,
			      .folder = cfg->folder,
			      .portals = cfg->portals,
			      .nr_portals = cfg->nr_portals,
			      .up = on_up,
			      .down = on_down,
			      .arg = is,
			      .run = cfg->run,
			      .run_arg = cfg->run_arg };
	int r = -ENOMEM;

	if (!is)
		return r;
	list_init(&is->targets);
	pthread_mutex_init(&is->around.chap_lock, NULL);
	is->next_tid = 1;
	is->seen = UINT64_MAX;
	is->exports = cfg->exports;
	is->around.acl = cfg->acl;
	is->folder = strdup(cfg->folder);
	is->around.folder = is->folder;
	is->auth_path = cfg->auth_path ? strdup(cfg->auth_path) : NULL;
	if (!is->folder || (cfg->auth_path && !is->auth_path))
		goto fail;
	r = -EINVAL;
	if (strpbrk(cfg->folder, ",= \n")) {
		log_err("iscsi: tgtd can't be told of a pool whose path has a comma, a "
			"blank or '=' in it: %s",
			cfg->folder);
		goto fail;
	}
	r = cfg->auth_path ? load_secrets(is, cfg->auth_path) : 0;
	if (r == 0)
		r = tgtd_start(&d, &is->around.tgtd);
	if (r < 0)
		goto fail;
	*ret = is;
	return 0;
fail:
	iscsi_stop(is);
	return r;
}

void iscsi_stop(struct iscsi *is)
{
	struct target *t, *tmp;

	if (!is)
		return;
	tgtd_stop(is->around.tgtd);
	list_for_each_entry_safe(t, tmp, &is->targets, link)
		free_target(t);
	chap_wipe(&is->around.chap);
	pthread_mutex_destroy(&is->around.chap_lock);
	free(is->auth_path);
	free(is->folder);
	free(is);
}
