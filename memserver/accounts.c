/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names in, accounts out; bytes come and go. Charging takes no lock. */
#include "memserver/accounts.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/list.h"

struct account {
	struct list link;
	struct accounts *all; /* borrowed: outlives its accounts */
	unsigned int refs;    /* under the lock */
	_Atomic uint64_t held;
	char name[ACCOUNT_NAME_MAX + 1];
};

struct accounts {
	pthread_mutex_t lock; /* guards the list and the counts */
	struct list list;     /* no longer than there are exports */
	_Atomic uint64_t quota;
};

int accounts_new(struct accounts **ret)
{
	struct accounts *as = calloc(1, sizeof(*as));

	if (!as)
		return -ENOMEM;
	pthread_mutex_init(&as->lock, NULL);
	list_init(&as->list);
	*ret = as;
	return 0;
}

void accounts_free(struct accounts *as)
{
	if (!as)
		return;
	pthread_mutex_destroy(&as->lock);
	free(as);
}

void accounts_set_quota(struct accounts *as, uint64_t bytes)
{
	atomic_store(&as->quota, bytes);
}

uint64_t accounts_quota(struct accounts *as)
{
	return atomic_load(&as->quota);
}

static struct account *find(struct accounts *as, const char *name)
{
	struct account *a;

	list_for_each_entry(a, &as->list, link)
		if (!strcmp(a->name, name))
			return a;
	return NULL;
}

struct account *accounts_get(struct accounts *as, const char *name)
{
	struct account *a;

	pthread_mutex_lock(&as->lock);
	a = find(as, name);
	if (!a) {
		a = calloc(1, sizeof(*a));
		if (a) {
			a->all = as;
			snprintf(a->name, sizeof(a->name), "%s", name);
			list_add_tail(&as->list, &a->link);
		}
	}
	if (a)
		a->refs++;
	pthread_mutex_unlock(&as->lock);
	return a;
}

void account_put(struct account *a)
{
	struct accounts *as;

	if (!a)
		return;
	as = a->all;
	pthread_mutex_lock(&as->lock);
	if (!--a->refs) {
		list_del(&a->link);
		free(a);
	}
	pthread_mutex_unlock(&as->lock);
}

const char *account_name(const struct account *a)
{
	return a->name;
}

uint64_t account_held(const struct account *a)
{
	return atomic_load(&a->held);
}

bool account_charge(struct account *a, uint64_t bytes)
{
	uint64_t quota = atomic_load(&a->all->quota);

	if (atomic_fetch_add(&a->held, bytes) + bytes <= quota || !quota)
		return true;
	atomic_fetch_sub(&a->held, bytes);
	return false;
}

void account_move_in(struct account *a, uint64_t bytes)
{
	atomic_fetch_add(&a->held, bytes);
}

void account_uncharge(struct account *a, uint64_t bytes)
{
	atomic_fetch_sub(&a->held, bytes);
}

int accounts_each(struct accounts *as,
		  int (*fn)(const char *name, uint64_t held, void *arg), void *arg)
{
	struct account *a;
	int r = 0;

	pthread_mutex_lock(&as->lock);
	list_for_each_entry(a, &as->list, link) {
		r = fn(a->name, atomic_load(&a->held), arg);
		if (r)
			break;
	}
	pthread_mutex_unlock(&as->lock);
	return r;
}
