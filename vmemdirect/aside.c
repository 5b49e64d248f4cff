/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs in from any thread, done in turn by a thread of its own. */
#include "vmemdirect/aside.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct aside {
	pthread_t thread;
	pthread_mutex_t lock; /* innermost */
	pthread_cond_t changed;
	struct list jobs; /* under lock */
	_Atomic bool over;
};

static void *run(void *arg)
{
	struct aside *a = arg;

	pthread_mutex_lock(&a->lock);
	while (!a->over) {
		struct aside_job *j;

		if (list_empty(&a->jobs)) {
			pthread_cond_wait(&a->changed, &a->lock);
			continue;
		}
		j = container_of(a->jobs.next, struct aside_job, link);
		list_del(&j->link);
		j->waits = false;
		pthread_mutex_unlock(&a->lock);
		j->work(j->arg);
		pthread_mutex_lock(&a->lock);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

int aside_new(struct aside **ret)
{
	struct aside *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return -ENOMEM;
	list_init(&a->jobs);
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->changed, NULL);
	r = pthread_create(&a->thread, NULL, run, a);
	if (r) {
		free(a);
		return -r;
	}
	*ret = a;
	return 0;
}

void aside_put(struct aside *a, struct aside_job *j)
{
	pthread_mutex_lock(&a->lock);
	if (!j->waits) {
		j->waits = true;
		list_add_tail(&a->jobs, &j->link);
		pthread_cond_signal(&a->changed);
	}
	pthread_mutex_unlock(&a->lock);
}

bool aside_over(const struct aside *a)
{
	return atomic_load(&a->over);
}

void aside_free(struct aside *a)
{
	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	a->over = true;
	pthread_cond_signal(&a->changed);
	pthread_mutex_unlock(&a->lock);
	pthread_join(a->thread, NULL);
	pthread_cond_destroy(&a->changed);
	pthread_mutex_destroy(&a->lock);
	free(a);
}
