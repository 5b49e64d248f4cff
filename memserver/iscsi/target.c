/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An export in, two targets in tgtd out, and back. Giving is the main thread's; taking
 * is done by whoever needs the export. The export's lend lock keeps them apart.
 *
 * Taking is one order, "delete the target": tgtd does it only if no session is on it,
 * and as it has one thread for such things a login comes either before (we are refused)
 * or after (the initiator is). Without the target tgtd has closed the file.
 */
#include "memserver/iscsi/target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "memserver/iscsi/tgt_call.h"
#include "memserver/iscsi/tgt_text.h"
#include "memserver/iscsi/tgtd.h"

#define GIVE_MS 2000 /* the main thread's patience */
#define TAKE_MS 1000 /* a worker's */

/* 1 ms between looks at a unit whose last commands are under way. */
#define DRAIN_LOOKS 200

static int order(const struct target *t, struct tgt_request req, const char *text,
		 int timeout_ms)
{
	req.text = text;
	return tgt_call(tgtd_socket(t->around->tgtd), &req, timeout_ms, NULL);
}

/* ---- giving ---- */

/*
 * What helps: a swap-out of up to 256 KiB goes as one unsolicited burst. tgtd pings a
 * silent initiator every 10 s and ends its session after two minutes, or a host that
 * lost its power would keep the export for ever.
 */
static const char *const parameters[] = {
	"MaxRecvDataSegmentLength=262144",
	"MaxXmitDataSegmentLength=262144",
	"FirstBurstLength=262144",
	"MaxBurstLength=1048576",
	"InitialR2T=No",
	"ImmediateData=Yes",
	"MaxOutstandingR2T=8",
	"nop_interval=10",
	"nop_count=12",
};

static int set_parameters(const struct target *t, int32_t tid)
{
	int r = 0;

	for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]) && !r; i++)
		r = order(t,
			  (struct tgt_request)TGT_REQUEST(TGT_TARGET, TGT_UPDATE, tid),
			  parameters[i], GIVE_MS);
	return r;
}

/* 4096: the pool's page, so each block an initiator discards can come back. */
static int add_unit(const struct target *t, int32_t tid)
{
	struct tgt_request make = TGT_REQUEST(TGT_UNIT, TGT_NEW, tid);
	struct tgt_request set = TGT_REQUEST(TGT_UNIT, TGT_UPDATE, tid);
	const struct export_id *id = export_id(t->export);
	char text[TGT_TEXT_MAX + 1];
	int r;

	make.lun = set.lun = 1;
	if (snprintf(text, sizeof(text), "path=%s/%s.mem,bstype=rdwr,blocksize=4096",
		     t->around->folder, export_name(t->export)) >= (int)sizeof(text))
		return -ENAMETOOLONG;
	r = order(t, make, text, GIVE_MS);
	if (r < 0)
		return r;
	snprintf(text, sizeof(text),
		 "targetOps thin_provisioning=1,vendor_id=remem,product_id=export,"
		 "product_rev=1,scsi_sn=%s,scsi_id=remem-%s,",
		 id->generation, id->generation);
	return order(t, set, text, GIVE_MS);
}

static int account_order(const struct target *t, enum tgt_op op, int32_t tid,
			 const struct chap_account *a)
{
	struct tgt_request req = TGT_REQUEST(TGT_ACCOUNT, op, tid);
	char text[CHAP_NAME_MAX + 8];

	req.outgoing = a->outgoing;
	snprintf(text, sizeof(text), "user=%s", a->user);
	return order(t, req, text, GIVE_MS);
}

static int bind_account(const struct target *t, int32_t tid,
			const struct chap_account *a)
{
	return account_order(t, TGT_BIND, tid, a);
}

static int bind_accounts(const struct target *t, int32_t tid)
{
	const struct chap *chap = &t->around->chap;
	int r = 0;

	for (size_t i = 0; i < chap->nr && r == 0; i++)
		r = bind_account(t, tid, &chap->list[i]);
	return r;
}

/* A name that a worker has just taken away (-ENODEV) gets them when it is made again. */
int target_bind_account(const struct target *t, const struct chap_account *a)
{
	int r = 0;

	for (int i = 0; i < TARGET_NAMES && r == 0; i++) {
		r = bind_account(t, t->tid[i], a);
		if (r == -ENODEV || r == -EEXIST)
			r = 0;
	}
	return r;
}

int target_rebind_account(const struct target *t, const struct chap_account *a)
{
	for (int i = 0; i < TARGET_NAMES; i++)
		account_order(t, TGT_UNBIND, t->tid[i], a);
	return target_bind_account(t, a);
}

int target_bind_accounts(const struct target *t)
{
	const struct chap *chap = &t->around->chap;
	int r = 0;

	for (size_t i = 0; i < chap->nr && r == 0; i++)
		r = target_bind_account(t, &chap->list[i]);
	return r;
}

struct binding {
	const struct target *target;
	int32_t tid;
};

static int bind_rule(const char *text, void *arg)
{
	struct binding *b = arg;

	return order(b->target,
		     (struct tgt_request)TGT_REQUEST(TGT_TARGET, TGT_BIND, b->tid),
		     text, GIVE_MS);
}

/* Nobody gets in before the last step: a target without a bound address is closed. */
static int make_name(const struct target *t, int32_t tid, const char *suffix)
{
	struct binding b = { t, tid };
	char text[TGT_TEXT_MAX + 1];
	int r;

	snprintf(text, sizeof(text), "targetname=" TARGET_PREFIX "%s%s%s",
		 export_name(t->export), *suffix ? ":" : "", suffix);
	r = order(t, (struct tgt_request)TGT_REQUEST(TGT_TARGET, TGT_NEW, tid), text,
		  GIVE_MS);
	if (r == 0)
		r = set_parameters(t, tid);
	if (r == 0)
		r = add_unit(t, tid);
	if (r == 0) {
		pthread_mutex_lock(&t->around->chap_lock);
		r = bind_accounts(t, tid);
		pthread_mutex_unlock(&t->around->chap_lock);
	}
	if (r == 0)
		r = target_each_rule(t->around->acl, bind_rule, &b);
	return r;
}

static int unbind_rule(const char *text, void *arg)
{
	struct binding *b = arg;

	order(b->target,
	      (struct tgt_request)TGT_REQUEST(TGT_TARGET, TGT_UNBIND, b->tid), text,
	      TAKE_MS);
	return 0;
}

/* Nobody gets in any more, and who is in is thrown out. tgtd's own "force" fails for a
 * target with commands under way. */
static void empty_name(const struct target *t, int32_t tid)
{
	struct tgt_request show = TGT_REQUEST(TGT_CONNECTION, TGT_SHOW, tid);
	struct tgt_request end = TGT_REQUEST(TGT_CONNECTION, TGT_DELETE, tid);
	struct binding b = { t, tid };
	struct tgt_session list[64];
	char *text = NULL;
	int nr;

	target_each_rule(t->around->acl, unbind_rule, &b);
	if (tgt_call(tgtd_socket(t->around->tgtd), &show, TAKE_MS, &text) < 0)
		return;
	nr = tgt_text_sessions(text, list, 64);
	free(text);
	for (int i = 0; i < nr && i < 64; i++) {
		end.sid = list[i].sid;
		end.cid = list[i].cid;
		order(t, end, NULL, TAKE_MS);
	}
}

/* Deletes one name; waits for commands of a session that has just ended. */
static int delete_name(const struct target *t, int32_t tid, bool force)
{
	static const struct timespec ms = { 0, 1000000 };
	struct tgt_request req = TGT_REQUEST(TGT_TARGET, TGT_DELETE, tid);
	struct binding b = { t, tid };
	int r = -EINPROGRESS;

	if (force)
		empty_name(t, tid);
	req.force = force;
	for (int i = 0; i < DRAIN_LOOKS && r == -EINPROGRESS; i++) {
		if (i)
			nanosleep(&ms, NULL);
		r = order(t, req, NULL, TAKE_MS);
	}
	if (force && r < 0 && r != -ENODEV)
		target_each_rule(t->around->acl, bind_rule, &b);
	return r == -ENODEV ? 0 : r;
}

static int make_names(struct target *t)
{
	int r = make_name(t, t->tid[0], "");

	if (r == 0)
		r = make_name(t, t->tid[1], export_id(t->export)->generation);
	return r;
}

int target_give(struct export *e, void *arg)
{
	struct target *t = arg;
	int r;

	if (!tgtd_is_up(t->around->tgtd))
		return -EAGAIN;
	if (atomic_load(&t->made)) /* what a failed take has left */
		for (int i = 0; i < TARGET_NAMES; i++)
			delete_name(t, t->tid[i], true);
	atomic_store(&t->made, true);
	r = make_names(t);
	if (r == 0)
		return 0;
	log_err("iscsi: export %s: making its target: %s", export_name(e),
		strerror(-r));
	for (int i = 0; i < TARGET_NAMES; i++)
		if (delete_name(t, t->tid[i], true) < 0)
			return r; /* `made` stays: it is tried again */
	atomic_store(&t->made, false);
	return r;
}

/* ---- taking ---- */

static int refuse(int r)
{
	return r == -EBUSY || r == -EINPROGRESS ? -EBUSY : -EAGAIN;
}

int target_take(struct export *e, void *arg, bool force)
{
	struct target *t = arg;
	int r;

	if (!force && clock_ns() < atomic_load(&t->held_until_ns))
		return -EBUSY;
	atomic_store(&t->held_until_ns, 0);
	if (!atomic_load(&t->made))
		return 0;
	r = delete_name(t, t->tid[1], force);
	if (r < 0)
		return refuse(r);
	r = delete_name(t, t->tid[0], force);
	if (r < 0) {
		/* Somebody is on the other name: this one comes back. */
		make_name(t, t->tid[1], export_id(e)->generation);
		return refuse(r);
	}
	atomic_store(&t->made, false);
	return 0;
}
