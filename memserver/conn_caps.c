/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests taken in, connections that wait out. Who has taken more than a limit of its
 * export or its client allows is not read from until that is paid: its bytes stay in the
 * socket, TCP slows it down, and nobody else notices. On the worker.
 */
#include "memserver/conn_priv.h"

#define relaxed_add(var, n)                                                       \
	__atomic_store_n(&(var), __atomic_load_n(&(var), __ATOMIC_RELAXED) + (n), \
			 __ATOMIC_RELAXED)

void conn_limit(struct conn *c)
{
	c->limited = true;
}

void conn_charge(struct conn *c, uint64_t bytes)
{
	struct caps *of_export;

	if (!c->limited)
		return; /* a stranger's command, refused: there is no export yet */
	of_export = export_caps(c->export);
	if (caps_any(of_export))
		caps_take(of_export, bytes, c->worker->now);
	if (caps_any(&c->who->caps))
		caps_take(&c->who->caps, bytes, c->worker->now);
}

/* ns from now; 0: none. */
static uint64_t wait_of(struct conn *c)
{
	uint64_t a, b;

	if (!c->limited || c->phase != CONN_OPEN)
		return 0;
	a = caps_wait(export_caps(c->export), c->worker->now);
	b = caps_wait(&c->who->caps, c->worker->now);
	return a > b ? a : b;
}

static void pause_for(struct conn *c, uint64_t wait_ns)
{
	struct worker *w = c->worker;

	c->resume_ns = w->now + wait_ns;
	if (c->resume_ns < w->next_resume)
		w->next_resume = c->resume_ns;
	if (!list_empty(&c->paused))
		return; /* it keeps its place */
	c->paused_ns = w->now;
	list_add_tail(&w->paused, &c->paused);
	relaxed_add(c->stats.pauses, 1);
	relaxed_add(export_stats(c->export, w->id)->pauses, 1);
}

void conn_unpause(struct conn *c)
{
	struct worker *w = c->worker;
	uint64_t waited = w->now - c->paused_ns;

	if (list_empty(&c->paused))
		return;
	list_del(&c->paused);
	relaxed_add(c->stats.paused_ns, waited);
	if (c->export)
		relaxed_add(export_stats(c->export, w->id)->paused_ns, waited);
}

bool conn_is_held(struct conn *c)
{
	uint64_t wait_ns = wait_of(c);

	if (wait_ns)
		pause_for(c, wait_ns);
	else
		conn_unpause(c);
	return wait_ns != 0;
}

void conn_resume_due(struct worker *w)
{
	struct conn *c, *tmp;
	uint64_t next = UINT64_MAX;

	if (w->now < w->next_resume)
		return;
	w->next_resume = UINT64_MAX;
	/* Who must wait again is at the end, or keeps its place if it got nothing. */
	list_for_each_entry_safe(c, tmp, &w->paused, paused) {
		if (c->resume_ns <= w->now && !conn_is_held(c)) {
			conn_settle(c);
			conn_reap(c);
		}
	}
	list_for_each_entry(c, &w->paused, paused)
		if (c->resume_ns < next)
			next = c->resume_ns;
	w->next_resume = next;
}
