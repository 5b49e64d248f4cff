/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A wish in, "stop" and "cont" out. The last wish counts: it is looked at again after
 * everything that may have taken long, and the job runs once more for each new one.
 */
#include "vmemdirect/order.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "lib/log.h"
#include "vmemdirect/qmp.h"

#define CONT_TRIES 60

static void move(struct order *o, enum order_state s)
{
	atomic_store(&o->state, s);
}

static void complain(struct order *o, int r)
{
	if (!o->complained)
		vm_warn(o->g, "QEMU could not be told to stop: %s; tried again",
			strerror(-r));
	o->complained = true;
}

/*
 * QEMU answers "stop" when all processors stand. One that waits for the page that is lost
 * does so only when it has got it: then there is no answer now, but the order holds. Where
 * it does not even greet, nothing was said: it is tried again with the next wish.
 */
static void try_stop(struct order *o)
{
	struct qmp *q = NULL;
	int r;

	if (o->may_hold && order_state(o) != ORDER_CONT_ASKED)
		return;
	move(o, ORDER_STOP_ASKED);
	r = qmp_open(o->qmp, &q);
	if (r < 0) {
		complain(o, r);
		return;
	}
	if (atomic_load(&o->stop)) {
		o->may_hold = true;
		r = qmp_command(q, "stop", NULL, NULL);
		if (!r)
			move(o, ORDER_STOPPED);
		else if (r == -ETIMEDOUT)
			vm_note(o->g, "a processor waits for the page: QEMU stops when "
				      "it is there");
		else
			complain(o, r);
		o->may_hold = !r || r == -ETIMEDOUT;
	}
	qmp_close(q);
}

/* One attempt: 0: it runs; -EAGAIN: it was told to, and does not; -errno. */
static int try_continue(const char *path)
{
	const struct timespec nap = { .tv_nsec = 100 * 1000000 };
	json_object *o = NULL, *running;
	struct qmp *q = NULL;
	int r = qmp_open(path, &q);

	if (!r)
		r = qmp_command(q, "cont", NULL, NULL);
	if (!r)
		nanosleep(&nap, NULL);
	if (!r)
		r = qmp_command(q, "query-status", NULL, &o);
	if (!r && (!json_object_object_get_ex(o, "running", &running) ||
		   !json_object_get_boolean(running)))
		r = -EAGAIN;
	json_object_put(o);
	qmp_close(q);
	return r;
}

/* The stop may still be under way, and come after the order to go on: it is told until it
 * runs. */
static void go_on(struct order *o)
{
	int r = -EAGAIN;

	move(o, ORDER_CONT_ASKED);
	for (int i = 0; (r == -ETIMEDOUT || r == -EAGAIN) && i < CONT_TRIES; i++) {
		if (atomic_load(&o->stop) || aside_over(o->aside))
			return;
		r = try_continue(o->qmp);
	}
	o->may_hold = false;
	if (r < 0)
		vm_err(o->g, "QEMU could not be told to go on (cont): %s",
		       strerror(-r));
	else
		vm_note(o->g, "the VM goes on");
}

static void obey(void *arg)
{
	struct order *o = arg;

	if (atomic_load(&o->stop)) {
		try_stop(o);
		return;
	}
	if (o->may_hold)
		go_on(o);
	if (!o->may_hold)
		move(o, ORDER_NONE);
	o->complained = false;
}

void order_init(struct order *o, const struct guest *g, const char *qmp,
		struct aside *aside)
{
	*o = (struct order){ .g = g, .qmp = qmp, .aside = aside };
	o->job = (struct aside_job){ .work = obey, .arg = o };
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
