/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file and an identity in, an export out; and its growing and its end. On the main
 * thread; a dropped export is freed on a thread of its own, so that giving gigabytes
 * back stops nobody.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/tsan.h"
#include "memserver/export_priv.h"
#include "memserver/export_struct.h"
#include "memserver/pool.h"

#define RESERVE_MIN (UINT64_C(64) << 30) /* room to grow in place */

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

	if (p == MAP_FAILED)
		return -errno;
	tsan_no_order(p, size - from, "a client orders its requests by its answers");
	return 0;
}

/* After a restart or a loan: what is stored is what the file has data for. */
int export_find_present(struct export *e)
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
	caps_set(&e->caps, &cfg->caps);
	atomic_store(&e->needs_tls, cfg->needs_tls);
	e->reserve =
		cfg->size_bytes > RESERVE_MIN / 4 ? cfg->size_bytes * 4 : RESERVE_MIN;
	e->reserve = (e->reserve + roundup) & ~roundup;
	for (int i = 0; i < NR_LOCKS; i++)
		pthread_mutex_init(&e->locks[i], NULL);
	pthread_mutex_init(&e->lend_lock, NULL);
	pthread_mutex_init(&e->own_lock, NULL);

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
		r = export_find_present(e);
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
	if (size > e->reserve)
		return -EFBIG;
	if (ftruncate(e->fd, (off_t)size) < 0)
		return -errno;
	return map_file(e, atomic_load(&e->size), size);
}

void export_show_growth(struct export *e, uint64_t size)
{
	atomic_store(&e->size, size);
}

int export_shrink(struct export *e, uint64_t size)
{
	uint64_t old = atomic_load(&e->size);

	export_trim(e, size, old - size, true);
	atomic_store(&e->size, size);
	if (mmap(e->map + size, old - size, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1,
		 0) == MAP_FAILED)
		return -errno;
	return ftruncate(e->fd, (off_t)size) < 0 ? -errno : 0;
}

void export_set_tls(struct export *e, bool needs_tls)
{
	atomic_store(&e->needs_tls, needs_tls);
}

void export_set_quota(struct export *e, uint64_t quota)
{
	atomic_store(&e->quota, quota ? quota : UINT64_MAX);
}

int export_shut(struct export *e, bool force)
{
	uint32_t users = atomic_load(&e->users);

	do {
		if (users && !force)
			return -EBUSY;
	} while (!atomic_compare_exchange_weak(&e->users, &users, users | EXPORT_SHUT));
	return 0;
}

void export_reopen(struct export *e)
{
	atomic_fetch_and(&e->users, ~EXPORT_SHUT);
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
	export_forget_owner(e);
	pool_uncharge(e->pool, atomic_load(&e->resident));
	for (int i = 0; i < NR_LOCKS; i++)
		pthread_mutex_destroy(&e->locks[i]);
	pthread_mutex_destroy(&e->lend_lock);
	pthread_mutex_destroy(&e->own_lock);
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
	if (!export_is_shut(e) || pthread_create(&t, &attr, free_on_thread, e))
		export_free(e);
	pthread_attr_destroy(&attr);
}
