/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose memory an export's is. Charges in, on the export's, its owner's and the pool's
 * account together, so that an owner who changes meanwhile takes over what is there. On
 * the workers; the lock is held for a few instructions, or for a change of owner.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "memserver/export_struct.h"
#include "memserver/pool.h"

int export_charge(struct export *e, uint64_t bytes)
{
	int r = 0;

	pthread_mutex_lock(&e->own_lock);
	if (atomic_load(&e->resident) + bytes > atomic_load(&e->quota) ||
	    (e->owner && !account_charge(e->owner, bytes)))
		r = -ENOSPC;
	else
		atomic_fetch_add(&e->resident, bytes);
	pthread_mutex_unlock(&e->own_lock);
	if (r < 0)
		return r;
	r = pool_charge(e->pool, bytes);
	if (r == 0)
		return 0;
	pthread_mutex_lock(&e->own_lock);
	atomic_fetch_sub(&e->resident, bytes);
	if (e->owner)
		account_uncharge(e->owner, bytes);
	pthread_mutex_unlock(&e->own_lock);
	return r;
}

void export_uncharge(struct export *e, uint64_t bytes)
{
	pthread_mutex_lock(&e->own_lock);
	atomic_fetch_sub(&e->resident, bytes);
	if (e->owner)
		account_uncharge(e->owner, bytes);
	pthread_mutex_unlock(&e->own_lock);
	pool_uncharge(e->pool, bytes);
}

/* Under own_lock; takes over the reference `to`, returns the one to put. */
static struct account *change_owner(struct export *e, struct account *to)
{
	struct account *from = e->owner;
	uint64_t held = atomic_load(&e->resident);

	if (from)
		account_uncharge(from, held);
	if (to)
		account_move_in(to, held);
	e->owner = to;
	return from;
}

bool export_own(struct export *e, struct accounts *as, const char *name)
{
	struct account *a = accounts_get(as, name);
	bool owns;

	if (!a)
		return false;
	pthread_mutex_lock(&e->own_lock);
	if (e->owner != a && !e->owner_users)
		a = change_owner(e, a);
	owns = e->owner && !strcmp(account_name(e->owner), name);
	e->owner_users += owns;
	pthread_mutex_unlock(&e->own_lock);
	account_put(a);
	return owns;
}

void export_disown(struct export *e)
{
	pthread_mutex_lock(&e->own_lock);
	e->owner_users--;
	pthread_mutex_unlock(&e->own_lock);
}

void export_forget_owner(struct export *e)
{
	struct account *a;

	pthread_mutex_lock(&e->own_lock);
	a = change_owner(e, NULL);
	pthread_mutex_unlock(&e->own_lock);
	account_put(a);
}

void export_owner(struct export *e, char *buf, size_t len)
{
	pthread_mutex_lock(&e->own_lock);
	snprintf(buf, len, "%s", e->owner ? account_name(e->owner) : "");
	pthread_mutex_unlock(&e->own_lock);
}
