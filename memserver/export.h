/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One lent range of memory: bounds, quota, identity, and the only door to its
 * bytes. Front ends see this, never the pool.
 *
 * The bytes are one contiguous mapping of a sparse tmpfs file. A page that was
 * never written, or was trimmed, is a hole: it costs nothing and reads as zeros,
 * and it must be read without touching the mapping (a touch would allocate it).
 * Which pages are there is kept in a bitmap.
 *
 * Grips. Whoever touches the mapping holds a grip on the range from before it
 * looks at the bitmap until the last byte is copied or sent. A trim clears the
 * bitmap at once but gives the memory back only when nobody grips that part, so a
 * page can't be re-allocated behind the account's back by a late reader.
 *
 * The data path (marked D) runs on any worker thread, does not allocate and takes
 * no lock but, where pages come or go, one for the 2 MiB stripe concerned and a short one
 * for the account.
 */
#ifndef MEMSERVER_EXPORT_H
#define MEMSERVER_EXPORT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/hist.h"
#include "lib/list.h"
#include "memserver/caps.h"

#define EXPORT_NAME_MAX   64 /* without the NUL; letters, digits, . _ - */
#define EXPORT_BLOCK      4096u
#define EXPORT_MAX_WORKER 64

struct accounts;
struct pool;

/* What a client did, as counted everywhere. */
enum io_op { IO_READ, IO_WRITE, IO_TRIM, IO_ZERO, IO_FLUSH, IO_OTHER, IO_OP_NR };
extern const char *const io_op_names[IO_OP_NR];

/* One writer (a worker), readers anywhere (relaxed). */
struct io_stats {
	uint64_t ops[IO_OP_NR];
	uint64_t bytes[IO_OP_NR];
	uint64_t errors;
	uint64_t no_space;
	uint64_t pauses, paused_ns;       /* connections made to wait for a limit */
	struct hist latency[IO_ZERO + 1]; /* ns, arrival to last byte handed to TCP */
};

struct export_cfg {
	const char *name;     /* borrowed during the call */
	uint64_t size_bytes;  /* multiple of EXPORT_BLOCK */
	uint64_t quota_bytes; /* memory it may really take; 0: its size */
	struct caps_cfg caps; /* what all its clients together may do */
	bool needs_tls;       /* no door serves it in the clear */
};

struct export; /* reference-counted; freed with its last reference */

/* Identity: new whenever the bytes are new, the same as long as they are. */
struct export_id {
	uint8_t uuid[16];    /* RFC 4122 random; NVMe UUID, and NGUID too */
	uint32_t nsid;       /* 1 .. 2^20, random: an old host's reads never match */
	char generation[13]; /* 12 hex digits of the UUID, for NAME@GENERATION */
};

const char *export_name(const struct export *e);
const struct export_id *export_id(const struct export *e);
uint64_t export_size(const struct export *e); /* D; changes only by resize */
uint64_t export_quota(const struct export *e);
struct caps *export_caps(struct export *e);        /* D */
bool export_needs_tls(const struct export *e);     /* no door serves it in the clear */
uint64_t export_resident(const struct export *e);  /* bytes of memory it takes now */
unsigned int export_users(const struct export *e); /* export_attach - detach */

struct export *export_get(struct export *e);
void export_put(struct export *e);

/*
 * A client's queue or connection in transmission: what "in use" means to drop and
 * shrink. -ESHUTDOWN: the export is being dropped or cut down; -EBUSY: it is lent and
 * its borrower uses it; -EAGAIN: its borrower did not answer. May wait for the borrower,
 * a second at most, when the export is lent.
 */
int export_attach(struct export *e);
void export_detach(struct export *e);
bool export_is_shut(
	const struct export *e); /* one that is attached: dropped by force */

/*
 * A connection of the client `name` (memserver/accounts.h) uses the export. If no connection of
 * its present owner does, the export becomes that client's, and its memory counts against
 * the client's quota. True: the connection is its owner's, and export_disown tells its
 * end; the owner stays for as long as nobody else comes. False: somebody else has it, or
 * there is no memory for an account (then the old owner stays). Workers, not D.
 */
bool export_own(struct export *e, struct accounts *as, const char *name);
void export_disown(struct export *e);

/* The owner's name; "" while there is none. `buf` takes ACCOUNT_NAME_MAX + 1 bytes. */
void export_owner(struct export *e, char *buf, size_t len);

/*
 * Lending the whole file to another process (tgtd), which stores and punches past the
 * bitmap: nobody may be attached meanwhile, so no client can read what the bitmap only
 * believes. `give` hands it out and is called once by export_lend; `take` gets it back
 * (any thread; 0 only when the borrower cannot touch the file any more; -EBUSY it is in
 * use, which `force` overrules; -EAGAIN it does not answer). Neither may call back.
 */
struct export_loan {
	int (*give)(struct export *e, void *arg);
	int (*take)(struct export *e, void *arg, bool force);
	void *arg; /* borrowed as long as the export is lent */
};

/* Main thread. -EBUSY: somebody is attached; or what `give` says. 0 if lent already. */
int export_lend(struct export *e, const struct export_loan *loan);

/* Main thread. The borrower was born again without the file: `give` is called once more
 * if it is still lent. */
int export_renew(struct export *e);

/* 0 (it is not lent any more, the bitmap is that of the file) or what `take` says. */
int export_reclaim(struct export *e, bool force);
bool export_is_lent(const struct export *e);

/* Brings the account of a lent export up to date with what the borrower stored. Never waits:
 * while it is being lent or reclaimed the account stays as it was. */
void export_settle(struct export *e);

/* D. True when [offset, offset + len) lies inside; safe for any values. */
bool export_contains(const struct export *e, uint64_t offset, uint64_t len);

/* D. Grip and release; the range must lie inside. Every grip has one release. */
void export_grip(struct export *e, uint64_t offset, uint64_t len);
void export_release(struct export *e, uint64_t offset, uint64_t len);

/*
 * D, gripped or not (then it may be over when it is told). How far from `offset`, at
 * most `len` > 0 bytes, all is stored or all is a hole. Costs a bit a page.
 */
uint64_t export_extent(struct export *e, uint64_t offset, uint64_t len, bool *ret_hole);

/*
 * D, gripped. The longest run from `offset`, at most `len` bytes, that can be read
 * at *ret_data: pool memory, or shared zeros for a hole (*ret_hole, may be NULL).
 * Returns its length, never 0 for len > 0.
 */
size_t export_run(struct export *e, uint64_t offset, size_t len,
		  const uint8_t **ret_data, bool *ret_hole);

/*
 * D, gripped. Makes every page of the range present and charged, so that a store
 * through *ret_data (the mapping at `offset`) neither faults on a full pool nor
 * goes unaccounted. -ENOSPC: a quota, its own or its owner's, or the pool's limit; nothing has changed then except
 * that pages of the range may be present and zero.
 */
int export_prepare(struct export *e, uint64_t offset, uint64_t len, uint8_t **ret_data);

/*
 * D, NOT gripped by the caller. Gives the range's memory back; whole pages become
 * holes, the ends of a ragged range are cleared if `must_zero` and left alone
 * otherwise. After it, whole pages read as zeros, and all of the range if
 * `must_zero`. Memory the kernel would not take back (logged) stays charged and is
 * offered to it again later.
 */
void export_trim(struct export *e, uint64_t offset, uint64_t len, bool must_zero);

/*
 * D, NOT gripped by the caller. Zeros that keep (or take) their memory: NBD's
 * NO_HOLE. -ENOSPC as export_prepare.
 */
int export_zero(struct export *e, uint64_t offset, uint64_t len);

/* D. This worker's counters of the export; `worker` < EXPORT_MAX_WORKER. */
struct io_stats *export_stats(struct export *e, unsigned int worker);

#endif
