/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Offsets in, memory out: which pages are there, who may touch them, when they go. On
 * the workers; making and ending an export is export_life.c's.
 *
 * The unit of coming and going is the pool's granule. Every change of a unit's bit
 * is made under the lock of its stripe; looking is lock-free. The pair that must not
 * miss each other: a gripper counts itself, then looks at the bit; a trimmer clears
 * the bit, then looks at the count (both sequentially consistent).
 */
#include "memserver/export.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/fault.h"
#include "lib/log.h"
#include "memserver/export_struct.h"
#include "memserver/pool.h"

const char *const io_op_names[IO_OP_NR] = { "read", "write", "trim",
					    "zero", "flush", "other" };

/* ---- bits ---- */

static void bit_clear(_Atomic uint64_t *bits, uint64_t i)
{
	atomic_fetch_and(&bits[i / 64], ~(UINT64_C(1) << (i % 64)));
}

/* The first index in [i, end) whose bit is not `value`, or end. */
static uint64_t bit_run_end(_Atomic uint64_t *bits, uint64_t i, uint64_t end,
			    bool value)
{
	while (i < end) {
		uint64_t w = atomic_load(&bits[i / 64]);

		w = (value ? ~w : w) >> (i % 64);
		if (w) {
			i += (unsigned int)__builtin_ctzll(w);
			return i < end ? i : end;
		}
		i = (i / 64 + 1) * 64;
	}
	return end;
}

/* ---- units and stripes ---- */

static pthread_mutex_t *stripe_lock(struct export *e, uint64_t stripe)
{
	return &e->locks[stripe % NR_LOCKS];
}

/* Gives the memory of units [first, end) back; stripe locked, nobody grips it. */
static int punch(struct export *e, uint64_t first, uint64_t end)
{
	uint64_t len = (end - first) << e->unit_shift;

	if (fault_errno("export.punch") ||
	    fallocate(e->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (off_t)(first << e->unit_shift), (off_t)len) < 0) {
		int r = -errno;

		log_err("export %s: giving %llu bytes back failed: %s", e->name,
			(unsigned long long)len, strerror(-r));
		return r;
	}
	export_uncharge(e, len);
	return 0;
}

/* Punches what trims had to leave; stripe locked. Does nothing under a grip. */
static void punch_pending(struct export *e, uint64_t stripe)
{
	uint64_t per = UINT64_C(1) << (STRIPE_SHIFT - e->unit_shift);
	uint64_t u = stripe * per, end = u + per, run;
	struct stripe *s = &e->stripes[stripe];

	if (!atomic_load(&s->pending) || atomic_load(&s->grips))
		return;
	for (; u < end; u = run) {
		bool waiting = bit_get(e->pending, u);

		run = bit_run_end(e->pending, u, end, waiting);
		if (!waiting || punch(e, u, run) < 0)
			continue;
		for (uint64_t i = u; i < run; i++)
			bit_clear(e->pending, i);
		atomic_fetch_sub(&s->pending, (uint32_t)(run - u));
	}
}

/* ---- grips ---- */

void export_grip(struct export *e, uint64_t offset, uint64_t len)
{
	uint64_t s = offset >> STRIPE_SHIFT, last = (offset + len - 1) >> STRIPE_SHIFT;

	for (; s <= last; s++)
		atomic_fetch_add(&e->stripes[s].grips, 1);
}

void export_release(struct export *e, uint64_t offset, uint64_t len)
{
	uint64_t s = offset >> STRIPE_SHIFT, last = (offset + len - 1) >> STRIPE_SHIFT;

	for (; s <= last; s++) {
		if (atomic_fetch_sub(&e->stripes[s].grips, 1) != 1 ||
		    !atomic_load(&e->stripes[s].pending))
			continue;
		pthread_mutex_lock(stripe_lock(e, s));
		punch_pending(e, s);
		pthread_mutex_unlock(stripe_lock(e, s));
	}
}

/* ---- reading ---- */

bool export_contains(const struct export *e, uint64_t offset, uint64_t len)
{
	uint64_t size = atomic_load_explicit(&e->size, memory_order_relaxed);

	return offset <= size && len <= size - offset;
}

uint64_t export_extent(struct export *e, uint64_t offset, uint64_t len, bool *ret_hole)
{
	uint64_t u = offset >> e->unit_shift;
	uint64_t end = ((offset + len - 1) >> e->unit_shift) + 1;
	bool there = bit_get(e->present, u);
	uint64_t run = bit_run_end(e->present, u + 1, end, there);
	uint64_t n = (run << e->unit_shift) - offset;

	*ret_hole = !there;
	return n < len ? n : len;
}

size_t export_run(struct export *e, uint64_t offset, size_t len,
		  const uint8_t **ret_data, bool *ret_hole)
{
	bool hole;
	size_t n = export_extent(e, offset, len, &hole);

	if (hole && n > ZEROS_LEN)
		n = ZEROS_LEN;
	*ret_data = hole ? e->zeros : e->map + offset;
	if (ret_hole)
		*ret_hole = hole;
	return n;
}

/* ---- pages come ---- */

/*
 * Charged pages are made present by one call that fails instead of raising SIGBUS
 * (MADV_POPULATE_WRITE, Linux 5.14), for the case that somebody else fills our tmpfs.
 */
static int make_present(struct export *e, uint64_t first, uint64_t end)
{
	int r = madvise(e->map + (first << e->unit_shift),
			(end - first) << e->unit_shift, MADV_POPULATE_WRITE);

	return r < 0 || fault_point("export.populate") ? -ENOSPC : 0;
}

/* Units [u, end) of one stripe stay charged, and are punched when that can be done. */
static void leave_pending(struct export *e, uint64_t u, uint64_t end)
{
	struct stripe *s = &e->stripes[u >> (STRIPE_SHIFT - e->unit_shift)];

	for (uint64_t i = u; i < end; i++)
		bit_set(e->pending, i);
	atomic_fetch_add(&s->pending, (uint32_t)(end - u));
}

static int populate(struct export *e, uint64_t first, uint64_t end)
{
	int r = export_charge(e, (end - first) << e->unit_shift);

	if (r < 0)
		return r;
	r = make_present(e, first, end);
	/* Some of the range may have been allocated: return it with its charge. */
	if (r < 0 && punch(e, first, end) < 0)
		leave_pending(e, first, end);
	return r;
}

/* A unit that waits for its punch is charged and may hold what a late writer stored. */
static int revive(struct export *e, uint64_t u)
{
	int r = make_present(e, u, u + 1);

	if (r < 0)
		return r;
	memset(e->map + (u << e->unit_shift), 0, unit_bytes(e));
	bit_clear(e->pending, u);
	atomic_fetch_sub(&e->stripes[u >> (STRIPE_SHIFT - e->unit_shift)].pending, 1);
	return 0;
}

/* Makes units [u, end) of one stripe present; stripe locked. */
static int fill_stripe(struct export *e, uint64_t u, uint64_t end)
{
	while (u < end) {
		bool there = bit_get(e->present, u), waiting = bit_get(e->pending, u);
		uint64_t run = bit_run_end(e->present, u, end, there);
		int r = 0;

		if (!there && waiting) {
			run = u + 1;
			r = revive(e, u);
		} else if (!there) {
			run = bit_run_end(e->pending, u, run, false);
			r = populate(e, u, run);
		}
		if (r < 0)
			return r;
		if (!there)
			for (uint64_t i = u; i < run; i++)
				bit_set(e->present, i);
		u = run;
	}
	return 0;
}

int export_prepare(struct export *e, uint64_t offset, uint64_t len, uint8_t **ret_data)
{
	uint64_t u = offset >> e->unit_shift;
	uint64_t end = ((offset + len - 1) >> e->unit_shift) + 1;
	unsigned int per_stripe = STRIPE_SHIFT - e->unit_shift;
	int r = 0;

	u = bit_run_end(e->present, u, end, true);
	while (u < end && r == 0) {
		uint64_t stripe = u >> per_stripe, stop = (stripe + 1) << per_stripe;

		if (stop > end)
			stop = end;
		pthread_mutex_lock(stripe_lock(e, stripe));
		r = fill_stripe(e, u, stop);
		pthread_mutex_unlock(stripe_lock(e, stripe));
		u = stop;
	}
	if (r == 0)
		*ret_data = e->map + offset;
	return r;
}

/* ---- pages go ---- */

/*
 * Whoever grips the stripe, or an error of the kernel's, keeps the memory for now. It
 * is cleared all the same: a memserver killed before the punch is followed by one that
 * takes what the file holds for the bytes, and zeros were promised.
 */
static void leave_cleared(struct export *e, uint64_t u, uint64_t end)
{
	memset(e->map + (u << e->unit_shift), 0, (end - u) << e->unit_shift);
	leave_pending(e, u, end);
}

/* Units [u, end) of one stripe become holes; stripe locked. */
static void trim_stripe(struct export *e, uint64_t stripe, uint64_t u, uint64_t end)
{
	struct stripe *s = &e->stripes[stripe];

	while (u < end) {
		bool there = bit_get(e->present, u);
		uint64_t run = bit_run_end(e->present, u, end, there);

		for (uint64_t i = u; there && i < run; i++)
			bit_clear(e->present, i);
		if (there && (atomic_load(&s->grips) || punch(e, u, run) < 0))
			leave_cleared(e, u, run);
		u = run;
	}
	/* A releaser may have passed between our look at the count and the mark. */
	punch_pending(e, stripe);
}

/* Clears part of one unit, if it is there at all. */
static void clear_part(struct export *e, uint64_t offset, uint64_t len)
{
	if (!len)
		return;
	export_grip(e, offset, len);
	if (bit_get(e->present, offset >> e->unit_shift))
		memset(e->map + offset, 0, len);
	export_release(e, offset, len);
}

void export_trim(struct export *e, uint64_t offset, uint64_t len, bool must_zero)
{
	uint64_t mask = unit_bytes(e) - 1, end = offset + len;
	uint64_t first = (offset + mask) & ~mask, last = end & ~mask;
	unsigned int per_stripe = STRIPE_SHIFT - e->unit_shift;

	if (first > last) { /* inside one unit */
		if (must_zero)
			clear_part(e, offset, len);
		return;
	}
	if (must_zero) {
		clear_part(e, offset, first - offset);
		clear_part(e, last, end - last);
	}
	first >>= e->unit_shift;
	last >>= e->unit_shift;
	while (first < last) {
		uint64_t stripe = first >> per_stripe;
		uint64_t stop = (stripe + 1) << per_stripe;

		if (stop > last)
			stop = last;
		pthread_mutex_lock(stripe_lock(e, stripe));
		trim_stripe(e, stripe, first, stop);
		pthread_mutex_unlock(stripe_lock(e, stripe));
		first = stop;
	}
}

int export_zero(struct export *e, uint64_t offset, uint64_t len)
{
	uint8_t *data;
	int r;

	if (!len)
		return 0;
	export_grip(e, offset, len);
	r = export_prepare(e, offset, len, &data);
	if (r == 0)
		memset(data, 0, len);
	export_release(e, offset, len);
	return r;
}

/* ---- what it is ---- */

const char *export_name(const struct export *e)
{
	return e->name;
}

const struct export_id *export_id(const struct export *e)
{
	return &e->id;
}

uint64_t export_size(const struct export *e)
{
	return atomic_load_explicit(&e->size, memory_order_relaxed);
}

struct caps *export_caps(struct export *e)
{
	return &e->caps;
}

bool export_needs_tls(const struct export *e)
{
	return atomic_load(&e->needs_tls);
}

uint64_t export_quota(const struct export *e)
{
	return atomic_load(&e->quota);
}

uint64_t export_resident(const struct export *e)
{
	return atomic_load(&e->resident);
}

struct io_stats *export_stats(struct export *e, unsigned int worker)
{
	return &e->stats[worker];
}

unsigned int export_users(const struct export *e)
{
	return atomic_load(&e->users) & ~EXPORT_SHUT;
}

int export_attach(struct export *e)
{
	uint32_t users = atomic_load(&e->users);
	int r = 0;

	do {
		if (users & EXPORT_SHUT)
			return -ESHUTDOWN;
	} while (!atomic_compare_exchange_weak(&e->users, &users, users + 1));
	if (atomic_load(&e->lent))
		r = export_reclaim(e, false);
	if (r < 0)
		export_detach(e);
	return r;
}

void export_detach(struct export *e)
{
	atomic_fetch_sub(&e->users, 1);
}

bool export_is_shut(const struct export *e)
{
	return atomic_load(&e->users) & EXPORT_SHUT;
}
