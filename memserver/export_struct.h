/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an export is made of, shared by export.c (the data path), export_life.c (making,
 * growing, freeing) and export_lend.c (lending it away). Nobody else includes this.
 */
#ifndef MEMSERVER_EXPORT_STRUCT_H
#define MEMSERVER_EXPORT_STRUCT_H

#include <pthread.h>

#include "memserver/accounts.h"
#include "memserver/export.h"

#define STRIPE_SHIFT 21 /* 2 MiB: holds a huge page, and is the reach of a lock */
#define NR_LOCKS     64
#define ZEROS_LEN    (1u << 20)

#define EXPORT_SHUT UINT32_C(0x80000000)

struct stripe {
	_Atomic uint32_t grips;
	_Atomic uint32_t pending; /* units cleared under a grip, still to be punched */
};

struct export
{
	char name[EXPORT_NAME_MAX + 1];
	struct export_id id;
	_Atomic int refs;
	_Atomic uint32_t users; /* and EXPORT_SHUT: none may come */
	_Atomic uint64_t size, quota, resident;
	struct caps caps;
	_Atomic bool needs_tls;
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
	pthread_mutex_t own_lock;  /* guards the next two, and `resident` with them */
	struct account *owner;     /* counted; NULL: nobody has used it yet */
	uint32_t owner_users;      /* connections of the owner's */
	struct io_stats *stats;    /* EXPORT_MAX_WORKER of them, touched on use */
	pthread_mutex_t lend_lock; /* guards `lent` going down and the next three */
	struct export_loan loan;
	uint64_t rest_until_ns; /* the borrower is not asked again before */
	int rest_error;         /* it said */
	_Atomic bool lent;
	void (*freed)(void *arg);
	void *freed_arg;
};

/* export_own.c: memory comes and goes, on all accounts: the export's, the owner's and the
 * pool's. -ENOSPC: a quota or the pool's limit. */
int export_charge(struct export *e, uint64_t bytes);
void export_uncharge(struct export *e, uint64_t bytes);

/* Nobody's any more. No connection may be its owner's. */
void export_forget_owner(struct export *e);

static inline bool bit_get(_Atomic uint64_t *bits, uint64_t i)
{
	return atomic_load(&bits[i / 64]) >> (i % 64) & 1;
}

static inline void bit_set(_Atomic uint64_t *bits, uint64_t i)
{
	atomic_fetch_or(&bits[i / 64], UINT64_C(1) << (i % 64));
}

static inline uint64_t unit_bytes(const struct export *e)
{
	return UINT64_C(1) << e->unit_shift;
}

#endif
