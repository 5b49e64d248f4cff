/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file of hosts in, answers to "may it" out; tasks in, computed tasks out. The table
 * is exchanged as a whole under the lock; the thread only holds it to take and give
 * back a task.
 */
#include "memserver/nvme/auth.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "lib/log.h"
#include "lib/secret.h"
#include "memserver/conn.h"

/* Below the workers, above batch jobs. */
#define NICENESS 5

struct nvme_auth {
	char *path; /* owned; NULL: from text */
	struct nvme_auth_prefs prefs;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct nvme_auth_keys *keys; /* a reference; under the lock */
	struct list waiting;         /* tasks; under the lock */
	char served[64];             /* whose task was the last; the thread's */
	bool stop;                   /* under the lock */
	bool started;
	pthread_t thread;
	struct log_limit limit;
	_Atomic uint64_t accepted, refused, failed[NVME_AUTH_EXPLANATION_NR];
};

/* ---- the table ---- */

/* What the file asks for that the flags have switched off. */
static int check(const char *path, const struct nvme_auth_keys *keys,
		 const struct nvme_auth_prefs *prefs)
{
	for (size_t i = 0; i < keys->nr && !prefs->concat; i++)
		if (keys->hosts[i].needs_concat) {
			log_err("--nvme-auth %s: host %s has concat=required, which "
				"needs --nvme-concat offered",
				path, keys->hosts[i].nqn);
			return -EINVAL;
		}
	return 0;
}

static int load(const char *path, const struct nvme_auth_prefs *prefs,
		struct nvme_auth_keys **ret)
{
	char error[SECRET_ERROR_MAX], *text = NULL;
	const char *why = "";
	unsigned int line;
	size_t len = 0;
	int r = secret_read(path, false, &text, &len, error);

	if (r < 0) {
		log_err("--nvme-auth %s", error);
		return r;
	}
	r = nvme_auth_keys_parse(text, len, ret, &line, &why);
	secret_free(text, len);
	if (r < 0)
		log_err("--nvme-auth %s:%u: %s", path, line, why);
	if (r == 0 && (r = check(path, *ret, prefs)) < 0)
		nvme_auth_keys_put(*ret);
	return r;
}

static struct nvme_auth *new_auth(struct nvme_auth_keys *keys,
				  const struct nvme_auth_prefs *prefs)
{
	struct nvme_auth *a = calloc(1, sizeof(*a));

	if (!a) {
		nvme_auth_keys_put(keys);
		return NULL;
	}
	a->keys = keys;
	a->prefs = *prefs;
	a->limit = (struct log_limit)LOG_LIMIT_INIT;
	list_init(&a->waiting);
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->more, NULL);
	return a;
}

int nvme_auth_new(const char *path, const struct nvme_auth_prefs *prefs,
		  struct nvme_auth **ret)
{
	struct nvme_auth_keys *keys = NULL;
	struct nvme_auth *a;
	int r = load(path, prefs, &keys);

	if (r < 0)
		return r;
	a = new_auth(keys, prefs);
	if (a)
		a->path = strdup(path);
	if (!a || !a->path) {
		nvme_auth_free(a);
		return -ENOMEM;
	}
	log_note("--nvme-auth %s: %zu hosts", path, keys->nr);
	*ret = a;
	return 0;
}

int nvme_auth_new_text(const char *text, size_t len,
		       const struct nvme_auth_prefs *prefs, struct nvme_auth **ret)
{
	struct nvme_auth_keys *keys;
	unsigned int line;
	const char *why;
	int r = nvme_auth_keys_parse(text, len, &keys, &line, &why);

	if (r < 0)
		return r;
	*ret = new_auth(keys, prefs);
	return *ret ? 0 : -ENOMEM;
}

int nvme_auth_reload(struct nvme_auth *a)
{
	struct nvme_auth_keys *keys = NULL, *old;
	size_t nr;
	int r = load(a->path, &a->prefs, &keys);

	if (r < 0) {
		log_warn("--nvme-auth %s: kept as it was", a->path);
		return r;
	}
	nr = keys->nr;
	pthread_mutex_lock(&a->lock);
	old = a->keys;
	a->keys = keys;
	pthread_mutex_unlock(&a->lock);
	nvme_auth_keys_put(old);
	log_note("--nvme-auth %s: read again, %zu hosts", a->path, nr);
	return 0;
}

struct nvme_auth_keys *nvme_auth_keys(struct nvme_auth *a)
{
	struct nvme_auth_keys *k;

	pthread_mutex_lock(&a->lock);
	k = nvme_auth_keys_get(a->keys);
	pthread_mutex_unlock(&a->lock);
	return k;
}

const struct nvme_auth_prefs *nvme_auth_prefs(const struct nvme_auth *a)
{
	return &a->prefs;
}

bool nvme_auth_allows(struct nvme_auth *a, const char *nqn, const char *export)
{
	struct nvme_auth_keys *k = nvme_auth_keys(a);
	bool allows = nvme_auth_keys_find(k, NULL, nqn, export) != NULL;

	nvme_auth_keys_put(k);
	return allows;
}

bool nvme_auth_needs_concat(struct nvme_auth *a, const char *nqn, const char *export)
{
	const struct nvme_auth_host *h = NULL;
	struct nvme_auth_keys *k;
	bool needs = a->prefs.concat_required;

	if (needs)
		return true;
	k = nvme_auth_keys(a);
	while (!needs && (h = nvme_auth_keys_find(k, h, nqn, export)) != NULL)
		needs = h->needs_concat;
	nvme_auth_keys_put(k);
	return needs;
}

/* ---- counters ---- */

struct log_limit *nvme_auth_log_limit(struct nvme_auth *a)
{
	return &a->limit;
}

void nvme_auth_count_accepted(struct nvme_auth *a)
{
	atomic_fetch_add_explicit(&a->accepted, 1, memory_order_relaxed);
}

void nvme_auth_count_refused(struct nvme_auth *a)
{
	atomic_fetch_add_explicit(&a->refused, 1, memory_order_relaxed);
}

void nvme_auth_count_failed(struct nvme_auth *a, uint8_t explanation)
{
	if (explanation >= NVME_AUTH_EXPLANATION_NR)
		explanation = 0;
	atomic_fetch_add_explicit(&a->failed[explanation], 1, memory_order_relaxed);
}

void nvme_auth_counters(struct nvme_auth *a, struct nvme_auth_counters *ret)
{
	ret->accepted = atomic_load_explicit(&a->accepted, memory_order_relaxed);
	ret->refused = atomic_load_explicit(&a->refused, memory_order_relaxed);
	for (unsigned int i = 0; i < NVME_AUTH_EXPLANATION_NR; i++)
		ret->failed[i] =
			atomic_load_explicit(&a->failed[i], memory_order_relaxed);
}

/* ---- tasks ---- */

void nvme_auth_task_init(struct nvme_auth_task *t, struct conn *c)
{
	char *port;

	list_init(&t->link);
	t->c = c;
	atomic_store(&t->state, NVME_TASK_IDLE);
	snprintf(t->address, sizeof(t->address), "%s", conn_peer(c));
	port = strrchr(t->address, ':');
	if (port)
		*port = '\0';
}

void nvme_auth_give(struct nvme_auth *a, struct nvme_auth_task *t)
{
	if (!a->started) {
		t->run(t);
		conn_poke(t->c);
		return;
	}
	pthread_mutex_lock(&a->lock);
	atomic_store(&t->state, NVME_TASK_WAITING);
	list_add_tail(&a->waiting, &t->link);
	pthread_cond_signal(&a->more);
	pthread_mutex_unlock(&a->lock);
}

bool nvme_auth_done(struct nvme_auth_task *t)
{
	return atomic_load(&t->state) == NVME_TASK_IDLE;
}

void nvme_auth_drop(struct nvme_auth *a, struct nvme_auth_task *t)
{
	bool runs;

	pthread_mutex_lock(&a->lock);
	runs = atomic_load(&t->state) == NVME_TASK_RUNNING;
	if (runs)
		t->c = NULL;
	else
		list_del(&t->link);
	pthread_mutex_unlock(&a->lock);
	if (!runs)
		t->free(t);
}

/* The first task of another peer than the last one's, else the first. */
static struct nvme_auth_task *next_task(struct nvme_auth *a)
{
	struct nvme_auth_task *t;

	list_for_each_entry(t, &a->waiting, link)
		if (strcmp(t->address, a->served))
			return t;
	return container_of(a->waiting.next, struct nvme_auth_task, link);
}

static void take_and_run(struct nvme_auth *a)
{
	struct nvme_auth_task *t = next_task(a);
	bool dropped;

	list_del(&t->link);
	atomic_store(&t->state, NVME_TASK_RUNNING);
	memcpy(a->served, t->address, sizeof(a->served));
	pthread_mutex_unlock(&a->lock);
	t->run(t);
	pthread_mutex_lock(&a->lock);
	dropped = !t->c;
	if (!dropped) {
		/* The connection lives: to go it needs the lock, in nvme_auth_drop. */
		atomic_store(&t->state, NVME_TASK_IDLE);
		conn_poke(t->c);
	}
	if (dropped)
		t->free(t);
}

static void *compute(void *arg)
{
	struct nvme_auth *a = arg;

	pthread_setname_np(pthread_self(), "nvme-auth");
	setpriority(PRIO_PROCESS, 0, NICENESS); /* of this thread only, on Linux */
	pthread_mutex_lock(&a->lock);
	while (!a->stop) {
		if (list_empty(&a->waiting))
			pthread_cond_wait(&a->more, &a->lock);
		else
			take_and_run(a);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

int nvme_auth_start(struct nvme_auth *a)
{
	int r = pthread_create(&a->thread, NULL, compute, a);

	if (r)
		return -r;
	a->started = true;
	return 0;
}

void nvme_auth_free(struct nvme_auth *a)
{
	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	a->stop = true;
	pthread_cond_signal(&a->more);
	pthread_mutex_unlock(&a->lock);
	if (a->started)
		pthread_join(a->thread, NULL);
	nvme_auth_keys_put(a->keys);
	pthread_mutex_destroy(&a->lock);
	pthread_cond_destroy(&a->more);
	free(a->path);
	free(a);
}
