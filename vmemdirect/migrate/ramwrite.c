/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs in, the guest's memory out. A ring of runs between two threads: the caller fills
 * and posts, the writer writes; each waits for the other on a condition.
 */
#include "vmemdirect/migrate/ramwrite.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fault.h"
#include "lib/log.h"

#define RUNS 32

_Static_assert(RAMWRITE_PAGES <= IOV_MAX, "one call takes a run");

struct ramwrite {
	const struct guest *g;
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows, but for the runs' contents: those */
	pthread_cond_t moved; /* are the writer's from posted on until written */
	uint64_t posted, written;
	int error;
	bool stop;
	struct ramwrite_run run[RUNS];
};

/* ---- the writer ---- */

static int write_run(const struct ramwrite *w, const struct ramwrite_run *r)
{
	const struct guest_block *b = guest_block_of(w->g, r->pfn);
	ssize_t len = (ssize_t)r->nr << GUEST_PAGE_SHIFT, n;
	int e = fault_point("place.ram");

	if (e < 0)
		return e;
	n = pwritev(b->fd, r->page, (int)r->nr, (off_t)guest_offset(b, r->pfn));
	return n == len ? 0 : n < 0 ? -errno : -ENOMEM;
}

static void *writer_main(void *arg)
{
	struct ramwrite *w = arg;
	int e;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		while (w->written == w->posted && !w->stop)
			pthread_cond_wait(&w->moved, &w->lock);
		if (w->written == w->posted)
			break;
		e = w->error;
		pthread_mutex_unlock(&w->lock);
		if (!e) {
			e = write_run(w, &w->run[w->written % RUNS]);
			if (e < 0)
				vm_err(w->g,
				       "no memory for the pages of the migration: %s",
				       strerror(-e));
		}
		pthread_mutex_lock(&w->lock);
		w->error = e;
		w->written++;
		pthread_cond_broadcast(&w->moved);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* ---- the caller ---- */

struct ramwrite_run *ramwrite_open(struct ramwrite *w)
{
	return &w->run[w->posted % RUNS]; /* (only the caller posts) */
}

uint64_t ramwrite_posted(const struct ramwrite *w)
{
	return w->posted;
}

int ramwrite_wait(struct ramwrite *w, uint64_t posted)
{
	int e;

	pthread_mutex_lock(&w->lock);
	while (w->written < posted)
		pthread_cond_wait(&w->moved, &w->lock);
	e = w->error;
	pthread_mutex_unlock(&w->lock);
	return e;
}

int ramwrite_post(struct ramwrite *w)
{
	int e;

	if (!ramwrite_open(w)->nr)
		return ramwrite_wait(w, 0);
	pthread_mutex_lock(&w->lock);
	w->posted++;
	pthread_cond_broadcast(&w->moved);
	while (w->posted - w->written == RUNS)
		pthread_cond_wait(&w->moved, &w->lock);
	e = w->error;
	pthread_mutex_unlock(&w->lock);
	ramwrite_open(w)->nr = 0;
	return e;
}

/* ---- life ---- */

int ramwrite_new(const struct guest *g, struct ramwrite **ret)
{
	struct ramwrite *w = calloc(1, sizeof(*w));
	sigset_t all, before;
	int r;

	if (!w)
		return -ENOMEM;
	w->g = g;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->moved, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	r = -pthread_create(&w->thread, NULL, writer_main, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r < 0) {
		pthread_cond_destroy(&w->moved);
		pthread_mutex_destroy(&w->lock);
		free(w);
		return r;
	}
	*ret = w;
	return 0;
}

void ramwrite_free(struct ramwrite *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_broadcast(&w->moved);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	pthread_cond_destroy(&w->moved);
	pthread_mutex_destroy(&w->lock);
	free(w);
}
