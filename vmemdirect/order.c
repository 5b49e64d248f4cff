/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A wish in, "stop" and "cont" out. The last wish counts: it is looked at again after
 * everything that may have taken long, and the job runs once more for each new one, and
 * for each attempt to let the VM go on.
 */
#include "vmemdirect/order.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/log.h"
#include "vmemdirect/migrate/handover.h"
#include "vmemdirect/qmp.h"

#define SETTLE_NS UINT64_C(100000000) /* a stop that is under way has come by then */
#define AGAIN_NS  UINT64_C(500000000)
#define END_TRIES 3

static void move(struct order *o, enum order_state s)
{
	atomic_store(&o->state, s);
}

static void nap(uint64_t ns)
{
	const struct timespec t = { .tv_nsec = (long)ns };

	nanosleep(&t, NULL);
}

/* ---- what it is about ---- */

static enum handover handed_over(const struct order *o)
{
	return (enum handover)atomic_load(&o->journal->handover);
}

/* As far as whose it is goes: in between it is stopped and started by the hand-over. */
static bool is_ours(const struct order *o)
{
	return handed_over(o) == HANDOVER_NONE || handed_over(o) == HANDOVER_DONE;
}

/* It was handed over, and nobody else starts it. */
static bool must_start(const struct order *o)
{
	return handed_over(o) == HANDOVER_COMMITTED &&
	       atomic_load(&o->journal->start_vm);
}

/* A stop that was sent may hold, whether it was answered or not. */
static bool may_hold(const struct order *o)
{
	return atomic_load(&o->journal->stopped);
}

static bool must_go_on(const struct order *o)
{
	return must_start(o) || (is_ours(o) && may_hold(o));
}

/* ---- QEMU ---- */

static int ask_status(struct qmp *q, char *ret, size_t len)
{
	json_object *o = NULL, *s;
	int r = qmp_command(q, "query-status", NULL, &o);

	if (!r && !json_object_object_get_ex(o, "status", &s))
		r = -EPROTO;
	if (!r)
		snprintf(ret, len, "%s", json_object_get_string(s));
	json_object_put(o);
	return r;
}

/* Once for each wish. `q`: who answered, or NULL. */
static void complain(struct order *o, const char *what, const struct qmp *q, int r)
{
	if (!o->complained)
		vm_warn(o->g, "QEMU could not be told to %s: %s; told again", what,
			r == -EREMOTEIO ? qmp_why(q)
			: r == -EAGAIN  ? "the VM neither runs nor is paused"
					: strerror(-r));
	o->complained = true;
}

/*
 * A VM that does not run is not stopped: whoever stopped it, or has not started it yet,
 * lets it go on, and nobody else. (Who pauses it after this look is not seen.)
 */
static void stop_if_runs(struct order *o, struct qmp *q)
{
	char was[32];
	int r = ask_status(q, was, sizeof(was));

	if (!r && strcmp(was, "running") != 0) {
		if (!may_hold(o) && !o->complained)
			vm_note(o->g, "the VM did not run (%s) and is left so", was);
		o->complained = true;
		move(o, may_hold(o) ? ORDER_STOPPED : ORDER_NONE);
		return;
	}
	if (!r) {
		move(o, ORDER_STOP_ASKED);
		atomic_store(&o->journal->stopped, 1);
		r = qmp_command(q, "stop", NULL, NULL);
		atomic_store(&o->journal->stopped, !r || r == -ETIMEDOUT);
	}
	if (!r)
		move(o, ORDER_STOPPED);
	else if (may_hold(o))
		vm_note(o->g,
			"a processor waits for the page: QEMU stops when it is there");
	else
		complain(o, "stop", q, r);
}

/*
 * QEMU answers "stop" when all processors stand. One that waits for the page that is lost
 * does so only when it has got it: then there is no answer now, but the order holds. Where
 * it does not even say whether it runs, nothing was said: it is tried again with the next
 * wish.
 */
static void try_stop(struct order *o)
{
	struct qmp *q = NULL;
	int r;

	if (!is_ours(o) || (may_hold(o) && order_state(o) != ORDER_CONT_ASKED))
		return;
	if (!may_hold(o))
		move(o, ORDER_STOP_ASKED);
	r = qmp_open(o->qmp, &q);
	if (r < 0)
		complain(o, "stop", q, r);
	else if (atomic_load(&o->stop))
		stop_if_runs(o, q);
	qmp_close(q);
}

/*
 * One attempt. 0: it runs. -EAGAIN: not yet. -errno. Our stop, and a hand-over, leave it
 * "paused"; what is anything else (it has migrated away, or failed) is not to be run.
 */
static int try_continue(struct order *o, struct qmp *q)
{
	char is[32];
	int r = ask_status(q, is, sizeof(is));

	if (!r && !strcmp(is, "paused"))
		r = qmp_command(q, "cont", NULL, NULL);
	if (!r && may_hold(o))
		nap(SETTLE_NS); /* the stop may come after the order to go on */
	if (!r)
		r = ask_status(q, is, sizeof(is));
	return r < 0 ? r : strcmp(is, "running") ? -EAGAIN : 0;
}

static int go_on(struct order *o)
{
	struct qmp *q = NULL;
	int r;

	move(o, ORDER_CONT_ASKED);
	r = qmp_open(o->qmp, &q);
	if (!r)
		r = try_continue(o, q);
	if (r < 0)
		complain(o, "go on (cont)", q, r);
	qmp_close(q);
	if (r < 0)
		return r;
	if (must_start(o))
		atomic_store(&o->journal->handover, HANDOVER_DONE);
	atomic_store(&o->journal->stopped, 0);
	o->complained = false;
	move(o, ORDER_NONE);
	vm_note(o->g, "the VM goes on");
	return 0;
}

/* ---- the wish ---- */

static void obey(void *arg)
{
	struct order *o = arg;

	if (atomic_load(&o->stop)) {
		try_stop(o);
		return;
	}
	if (!must_go_on(o)) {
		move(o, ORDER_NONE);
		o->complained = false;
	} else if (go_on(o) < 0 && !aside_over(o->aside)) {
		nap(AGAIN_NS);
		aside_put(o->aside, &o->job);
	}
}

void order_init(struct order *o, const struct guest *g, const char *qmp,
		struct page_header *journal, struct aside *aside)
{
	*o = (struct order){ .g = g, .qmp = qmp, .journal = journal, .aside = aside };
	o->job = (struct aside_job){ .work = obey, .arg = o };
	if (may_hold(o)) /* (of one that was killed: who knows whether it stands) */
		move(o, ORDER_CONT_ASKED);
}

static void wish(struct order *o, bool stop)
{
	if (!o->qmp[0])
		return;
	atomic_store(&o->stop, stop);
	aside_put(o->aside, &o->job);
}

void order_stop(struct order *o)
{
	wish(o, true);
}

void order_continue(struct order *o)
{
	wish(o, false);
}

void order_start(struct order *o)
{
	if (o->qmp[0])
		aside_put(o->aside, &o->job);
}

void order_end(struct order *o)
{
	int r = 0;

	if (!must_go_on(o))
		return;
	for (int i = 0; i < END_TRIES; i++) {
		if (r < 0)
			nap(AGAIN_NS);
		r = go_on(o);
		if (!r)
			return;
	}
	vm_err(o->g, "the VM is left without having been seen to run: if it is paused, "
		     "and nobody else has it, cont");
}

enum order_state order_state(const struct order *o)
{
	return (enum order_state)atomic_load(&o->state);
}

const char *order_text(const struct order *o)
{
	static const char *const texts[] = {
		[ORDER_NONE] = "",
		[ORDER_STOP_ASKED] = "VM stop asked, QEMU has not answered",
		[ORDER_STOPPED] = "VM stopped",
		[ORDER_CONT_ASKED] = "VM told to go on, QEMU has not answered",
	};

	return texts[order_state(o)];
}
