/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Offsets in, memory out: which pages are there, who may touch them, when they go.
 * The data path runs on the workers; making, growing and freeing on the main thread
 * (freeing a dropped one on a thread of its own, so that giving gigabytes back stops
 * nobody).
 *
 * The unit of coming and going is the pool's granule. Every change of a unit's bit
 * is made under the lock of its stripe; looking is lock-free. The pair that must not
 * miss each other: a gripper counts itself, then looks at the bit; a trimmer clears
 * the bit, then looks at the count (both sequentially consistent).
 */
#include "memserver/export.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "memserver/export_priv.h"
#include "memserver/pool.h"

#define STRIPE_SHIFT 21 /* 2 MiB: holds a huge page, and is the reach of a lock */
#define NR_LOCKS     64
#define ZEROS_LEN    (1u << 20)
#define RESERVE_MIN  (UINT64_C(64) << 30) /* room to grow in place */

const char *const io_op_names[IO_OP_NR] = { "read", "write", "trim",
					    "zero", "flush", "other" };

struct stripe {
	_Atomic uint32_t grips;
	_Atomic uint32_t pending; /* units cleared under a grip, still to be punched */
};

struct export
{
	char name[EXPORT_NAME_MAX + 1];
	struct export_id id;
	_Atomic int refs;
	_Atomic unsigned int users;
	_Atomic bool dropping;
	_Atomic uint64_t size, quota, resident;
	struct pool *pool; /* borrowed: outlives every export */
	int fd;            /* owned */
	unsigned int unit_shift;
	uint8_t *map; /* reserve bytes of addresses, the first `size` are the file */
	uint64_t reserve; /* how far it can grow in place */
	/* One bit a unit: it is there; it is unaccounted garbage waiting to be punched. */
	_Atomic uint64_t *present, *pending;
	struct stripe *stripes;
	const uint8_t *zeros; /* ZEROS_LEN bytes backed by the one zero page */
	pthread_mutex_t locks[NR_LOCKS];
	struct io_stats *stats; /* EXPORT_MAX_WORKER of them, touched on use */
	void (*freed)(void *arg);
	void *freed_arg;
};

/* ---- bits ---- */

static bool bit_get(_Atomic uint64_t *bits, uint64_t i)
{
	return atomic_load(&bits[i / 64]) >> (i % 64) & 1;
}

static void bit_set(_Atomic uint64_t *bits, uint64_t i)
{
	atomic_fetch_or(&bits[i / 64], UINT64_C(1) << (i % 64));
}

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

static uint64_t unit_bytes(const struct export *e)
{
	return UINT64_C(1) << e->unit_shift;
}

static pthread_mutex_t *stripe_lock(struct export *e, uint64_t stripe)
{
	return &e->locks[stripe % NR_LOCKS];
}

/* Gives the memory of units [first, end) back; stripe locked, nobody grips it. */
static int punch(struct export *e, uint64_t first, uint64_t end)
{
	uint64_t len = (end - first) << e->unit_shift;

	if (fallocate(e->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (off_t)(first << e->unit_shift), (off_t)len) < 0) {
		int r = -errno;

		log_err("export %s: giving %llu bytes back failed: %s", e->name,
			(unsigned long long)len, strerror(-r));
		return r;
	}
	atomic_fetch_sub(&e->resident, len);
	pool_uncharge(e->pool, len);
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

size_t export_run(struct export *e, uint64_t offset, size_t len,
		  const uint8_t **ret_data, bool *ret_hole)
{
	uint64_t u = offset >> e->unit_shift;
	uint64_t end = ((offset + len - 1) >> e->unit_shift) + 1;
	bool there = bit_get(e->present, u);
	uint64_t run = bit_run_end(e->present, u + 1, end, there);
	uint64_t n = (run << e->unit_shift) - offset;

	if (n > len)
		n = len;
	if (!there && n > ZEROS_LEN)
		n = ZEROS_LEN;
	*ret_data = there ? e->map + offset : e->zeros;
	if (ret_hole)
		*ret_hole = !there;
	return n;
}

/* ---- pages come ---- */

static int charge(struct export *e, uint64_t bytes)
{
	int r;

	if (atomic_fetch_add(&e->resident, bytes) + bytes > atomic_load(&e->quota)) {
		atomic_fetch_sub(&e->resident, bytes);
		return -ENOSPC;
	}
	r = pool_charge(e->pool, bytes);
	if (r < 0)
		atomic_fetch_sub(&e->resident, bytes);
	return r;
}

/*
 * Charged pages are made present by one call that fails instead of raising SIGBUS
 * (MADV_POPULATE_WRITE, Linux 5.14), for the case that somebody else fills our tmpfs.
 */
static int populate(struct export *e, uint64_t first, uint64_t end)
{
	uint64_t bytes = (end - first) << e->unit_shift;
	int r = charge(e, bytes);

	if (r < 0)
		return r;
	if (!madvise(e->map + (first << e->unit_shift), bytes, MADV_POPULATE_WRITE))
		return 0;
	/* Some of the range may have been allocated: return it with its charge. */
	if (punch(e, first, end) < 0)
		return -EIO;
	return -ENOSPC;
}

/* A unit trimmed under somebody's grip is still there, charged, and holds garbage. */
static void revive(struct export *e, uint64_t u)
{
	memset(e->map + (u << e->unit_shift), 0, unit_bytes(e));
	bit_clear(e->pending, u);
	atomic_fetch_sub(&e->stripes[u >> (STRIPE_SHIFT - e->unit_shift)].pending, 1);
}

/* Makes units [u, end) of one stripe present; stripe locked. */
static int fill_stripe(struct export *e, uint64_t u, uint64_t end)
{
	while (u < end) {
		bool there = bit_get(e->present, u), waiting = bit_get(e->pending, u);
		uint64_t run = bit_run_end(e->present, u, end, there);
		int r;

		if (!there && waiting) {
			run = u + 1;
			revive(e, u);
		} else if (!there) {
			run = bit_run_end(e->pending, u, run, false);
			r = populate(e, u, run);
			if (r < 0)
				return r;
		}
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

/* Units [u, end) of one stripe become holes; stripe locked. */
static int trim_stripe(struct export *e, uint64_t stripe, uint64_t u, uint64_t end)
{
	struct stripe *s = &e->stripes[stripe];
	int r = 0;

	while (u < end && r == 0) {
		bool there = bit_get(e->present, u);
		uint64_t run = bit_run_end(e->present, u, end, there);

		for (uint64_t i = u; there && i < run; i++)
			bit_clear(e->present, i);
		if (there && !atomic_load(&s->grips)) {
			r = punch(e, u, run);
		} else if (there) {
			for (uint64_t i = u; i < run; i++)
				bit_set(e->pending, i);
			atomic_fetch_add(&s->pending, (uint32_t)(run - u));
		}
		u = run;
	}
	/* A releaser may have passed between our look at the count and the mark. */
	punch_pending(e, stripe);
	return r;
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

int export_trim(struct export *e, uint64_t offset, uint64_t len, bool must_zero)
{
	uint64_t mask = unit_bytes(e) - 1, end = offset + len;
	uint64_t first = (offset + mask) & ~mask, last = end & ~mask;
	unsigned int per_stripe = STRIPE_SHIFT - e->unit_shift;
	int r = 0;

	if (first > last) { /* inside one unit */
		if (must_zero)
			clear_part(e, offset, len);
		return 0;
	}
	if (must_zero) {
		clear_part(e, offset, first - offset);
		clear_part(e, last, end - last);
	}
	first >>= e->unit_shift;
	last >>= e->unit_shift;
	while (first < last && r == 0) {
		uint64_t stripe = first >> per_stripe;
		uint64_t stop = (stripe + 1) << per_stripe;

		if (stop > last)
			stop = last;
		pthread_mutex_lock(stripe_lock(e, stripe));
		r = trim_stripe(e, stripe, first, stop);
		pthread_mutex_unlock(stripe_lock(e, stripe));
		first = stop;
	}
	return r < 0 ? -EIO : 0;
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
	return atomic_load(&e->users);
}

int export_attach(struct export *e)
{
	atomic_fetch_add(&e->users, 1);
	if (!atomic_load(&e->dropping))
		return 0;
	atomic_fetch_sub(&e->users, 1);
	return -ESHUTDOWN;
}

void export_detach(struct export *e)
{
	atomic_fetch_sub(&e->users, 1);
}

void export_set_dropping(struct export *e, bool dropping)
{
	atomic_store(&e->dropping, dropping);
}

/* ---- making, growing, freeing ---- */

static void *reserve_memory(uint64_t bytes, int prot)
{
	void *p = mmap(NULL, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		       -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static uint64_t bitmap_bytes(const struct export *e)
{
	return (e->reserve >> e->unit_shift) / 8 + 8;
}

static uint64_t stripes_bytes(const struct export *e)
{
	return ((e->reserve >> STRIPE_SHIFT) + 1) * sizeof(struct stripe);
}

static uint64_t stats_bytes(void)
{
	return EXPORT_MAX_WORKER * sizeof(struct io_stats);
}

/* Maps the file over the first `size` bytes of the reserved addresses. */
static int map_file(struct export *e, uint64_t from, uint64_t size)
{
	void *at = e->map + from;
	void *p = mmap(at, size - from, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED | MAP_NORESERVE, e->fd, (off_t)from);

	return p == MAP_FAILED ? -errno : 0;
}

/* After a restart: what is stored is what the file has data for. */
static int find_present(struct export *e)
{
	uint64_t size = atomic_load(&e->size), unit = unit_bytes(e), found = 0;
	off_t at = 0;

	while ((at = lseek(e->fd, at, SEEK_DATA)) >= 0 && (uint64_t)at < size) {
		off_t hole = lseek(e->fd, at, SEEK_HOLE);

		if (hole < 0)
			return -errno;
		for (uint64_t u = (uint64_t)at / unit;
		     u < ((uint64_t)hole + unit - 1) / unit; u++) {
			found += !bit_get(e->present, u);
			bit_set(e->present, u);
		}
		at = hole;
	}
	if (at < 0 && errno != ENXIO)
		return -errno;
	atomic_store(&e->resident, found * unit);
	pool_charge_found(e->pool, found * unit);
	return 0;
}

int export_new(struct pool *pool, const struct export_cfg *cfg,
	       const struct export_id *id, int fd, struct export **ret)
{
	struct export *e = calloc(1, sizeof(*e));
	uint64_t roundup = (UINT64_C(1) << STRIPE_SHIFT) - 1;
	int r = -ENOMEM;

	if (!e)
		return r;
	e->fd = -1;
	e->pool = pool;
	e->id = *id;
	atomic_store(&e->refs, 1);
	strncpy(e->name, cfg->name, EXPORT_NAME_MAX);
	e->unit_shift = (unsigned int)__builtin_ctz(pool_granule(pool));
	atomic_store(&e->size, cfg->size_bytes);
	atomic_store(&e->quota, cfg->quota_bytes ? cfg->quota_bytes : UINT64_MAX);
	e->reserve =
		cfg->size_bytes > RESERVE_MIN / 4 ? cfg->size_bytes * 4 : RESERVE_MIN;
	e->reserve = (e->reserve + roundup) & ~roundup;
	for (int i = 0; i < NR_LOCKS; i++)
		pthread_mutex_init(&e->locks[i], NULL);

	e->map = reserve_memory(e->reserve, PROT_NONE);
	e->present = reserve_memory(bitmap_bytes(e), PROT_READ | PROT_WRITE);
	e->pending = reserve_memory(bitmap_bytes(e), PROT_READ | PROT_WRITE);
	e->stripes = reserve_memory(stripes_bytes(e), PROT_READ | PROT_WRITE);
	e->stats = reserve_memory(stats_bytes(), PROT_READ | PROT_WRITE);
	e->zeros = reserve_memory(ZEROS_LEN, PROT_READ);
	if (!e->map || !e->present || !e->pending || !e->stripes || !e->stats ||
	    !e->zeros)
		goto fail;
	e->fd = fd;
	r = map_file(e, 0, cfg->size_bytes);
	if (r == 0)
		r = find_present(e);
	if (r < 0) {
		e->fd = -1; /* stays the caller's */
		goto fail;
	}
	*ret = e;
	return 0;
fail:
	export_free(e);
	return r;
}

int export_grow(struct export *e, uint64_t size)
{
	uint64_t old = atomic_load(&e->size);
	int r;

	if (size > e->reserve)
		return -EFBIG;
	if (ftruncate(e->fd, (off_t)size) < 0)
		return -errno;
	r = map_file(e, old, size);
	if (r == 0)
		atomic_store(&e->size, size);
	return r;
}

int export_shrink(struct export *e, uint64_t size)
{
	uint64_t old = atomic_load(&e->size);
	int r = export_trim(e, size, old - size, true);

	if (r < 0)
		return r;
	atomic_store(&e->size, size);
	if (mmap(e->map + size, old - size, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1,
		 0) == MAP_FAILED)
		return -errno;
	return ftruncate(e->fd, (off_t)size) < 0 ? -errno : 0;
}

void export_set_quota(struct export *e, uint64_t quota)
{
	atomic_store(&e->quota, quota ? quota : UINT64_MAX);
}

void export_on_free(struct export *e, void (*freed)(void *arg), void *arg)
{
	e->freed = freed;
	e->freed_arg = arg;
}

static void unmap(const void *p, uint64_t bytes)
{
	if (p)
		munmap((void *)(uintptr_t)p, bytes);
}

void export_free(struct export *e)
{
	void (*freed)(void *) = NULL;
	void *arg = NULL;

	if (!e)
		return;
	unmap(e->map, e->reserve);
	unmap((void *)e->present, bitmap_bytes(e));
	unmap((void *)e->pending, bitmap_bytes(e));
	unmap(e->stripes, stripes_bytes(e));
	unmap(e->stats, stats_bytes());
	unmap(e->zeros, ZEROS_LEN);
	cleanup_close(&e->fd);
	pool_uncharge(e->pool, atomic_load(&e->resident));
	for (int i = 0; i < NR_LOCKS; i++)
		pthread_mutex_destroy(&e->locks[i]);
	freed = e->freed;
	arg = e->freed_arg;
	free(e);
	if (freed)
		freed(arg);
}

struct export *export_get(struct export *e)
{
	atomic_fetch_add(&e->refs, 1);
	return e;
}

static void *free_on_thread(void *arg)
{
	export_free(arg);
	return NULL;
}

/* Unmapping and closing a dropped export frees its memory: seconds for hundreds of
 * gigabytes, which no worker has. */
void export_put(struct export *e)
{
	pthread_attr_t attr;
	pthread_t t;

	if (!e || atomic_fetch_sub(&e->refs, 1) != 1)
		return;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (!atomic_load(&e->dropping) || pthread_create(&t, &attr, free_on_thread, e))
		export_free(e);
	pthread_attr_destroy(&attr);
}
