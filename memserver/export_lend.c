/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An export in, its whole file lent to another process and taken back. Lending is the
 * main thread's; taking back is done by whoever needs the export first, a worker whose
 * client attaches or the main thread.
 *
 * The pair that must not miss each other: an attacher counts itself, then looks at
 * `lent`; the lender sets `lent`, then looks at the count (both sequentially
 * consistent). Whoever finds the other goes through the lock.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lib/clock.h"
#include "memserver/export_priv.h"
#include "memserver/export_struct.h"
#include "memserver/pool.h"

/* Trims whose memory the kernel would not take back at the time: the borrower must
 * find holes there. */
static int punch_leftovers(struct export *e)
{
	uint64_t nr = atomic_load(&e->size) >> e->unit_shift;

	for (uint64_t u = 0; u < nr; u++) {
		if (!(u % 64) && !atomic_load(&e->pending[u / 64])) {
			u += 63;
			continue;
		}
		if (!bit_get(e->pending, u))
			continue;
		if (fallocate(e->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      (off_t)(u << e->unit_shift), (off_t)unit_bytes(e)) < 0)
			return -errno;
		atomic_fetch_and(&e->pending[u / 64], ~(UINT64_C(1) << (u % 64)));
		atomic_fetch_sub(
			&e->stripes[u >> (STRIPE_SHIFT - e->unit_shift)].pending, 1);
		export_uncharge(e, unit_bytes(e));
	}
	return 0;
}

int export_lend(struct export *e, const struct export_loan *loan)
{
	int r = 0;

	pthread_mutex_lock(&e->lend_lock);
	if (atomic_load(&e->lent))
		goto out;
	atomic_store(&e->lent, true);
	if (atomic_load(&e->users)) /* or shut */
		r = -EBUSY;
	if (r == 0)
		export_forget_owner(e); /* tgtd tells nobody's bytes from anybody's */
	if (r == 0)
		r = punch_leftovers(e);
	if (r == 0)
		r = loan->give(e, loan->arg);
	if (r == 0)
		e->loan = *loan;
	else
		atomic_store(&e->lent, false);
out:
	pthread_mutex_unlock(&e->lend_lock);
	return r;
}

int export_renew(struct export *e)
{
	int r = 0;

	pthread_mutex_lock(&e->lend_lock);
	if (atomic_load(&e->lent))
		r = e->loan.give(e, e->loan.arg);
	pthread_mutex_unlock(&e->lend_lock);
	return r;
}

/* What the account should say, from the file itself: st_blocks is exact on tmpfs. */
static void settle(struct export *e)
{
	uint64_t was = atomic_load(&e->resident), is;
	struct stat st;

	if (fstat(e->fd, &st) < 0)
		return;
	is = (uint64_t)st.st_blocks * 512;
	atomic_store(&e->resident, is);
	if (is > was)
		pool_charge_found(e->pool, is - was);
	else
		pool_uncharge(e->pool, was - is);
}

/* The bitmap anew, from the file: the borrower has stored and punched past it. */
static int reload(struct export *e)
{
	uint64_t words = (atomic_load(&e->size) >> e->unit_shift) / 64 + 1;

	for (uint64_t i = 0; i < words; i++)
		if (atomic_load(&e->present[i]))
			atomic_store(&e->present[i], 0);
	pool_uncharge(e->pool, atomic_exchange(&e->resident, 0));
	return export_find_present(e);
}

/* What the borrower has refused it refuses for ten times as long as that took, unasked: a
 * peer that asks again and again has a tenth of its worker's time. */
#define REST 10

static int take(struct export *e, bool force)
{
	uint64_t begun = clock_ns(), now;
	int r;

	if (!force && begun < e->rest_until_ns)
		return e->rest_error;
	r = e->loan.take(e, e->loan.arg, force);
	now = clock_ns();
	e->rest_error = r;
	e->rest_until_ns = r < 0 ? now + REST * (now - begun) : 0;
	return r;
}

int export_reclaim(struct export *e, bool force)
{
	int r = 0;

	if (!atomic_load(&e->lent))
		return 0;
	pthread_mutex_lock(&e->lend_lock);
	if (atomic_load(&e->lent)) {
		r = take(e, force);
		if (r == 0)
			r = reload(e);
		if (r == 0)
			atomic_store(&e->lent, false);
	}
	pthread_mutex_unlock(&e->lend_lock);
	return r;
}

bool export_is_lent(const struct export *e)
{
	return atomic_load(&e->lent);
}

void export_settle(struct export *e)
{
	if (!atomic_load(&e->lent))
		return;
	/* Whoever holds it asks the borrower, which may take a second. */
	if (pthread_mutex_trylock(&e->lend_lock))
		return;
	if (atomic_load(&e->lent))
		settle(e);
	pthread_mutex_unlock(&e->lend_lock);
}
