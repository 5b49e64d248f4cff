/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One export as iSCSI targets of our tgtd: made in one go, taken away in one go. Two
 * names for the same bytes, each a target with LUN 1:
 *
 *	iqn.2026-11.io.remem:NAME		whatever is stored under NAME
 *	iqn.2026-11.io.remem:NAME:GENERATION	these bytes and no others: when the host
 *						has lost them the name is gone too, and an
 *						initiator that comes back gets an error
 *						instead of somebody's zeros
 */
#ifndef MEMSERVER_ISCSI_TARGET_H
#define MEMSERVER_ISCSI_TARGET_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/chap.h"
#include "lib/list.h"
#include "memserver/export.h"

struct acl;
struct tgtd;

#define TARGET_PREFIX "iqn.2026-11.io.remem:"
#define TARGET_NAMES  2

/* What all targets share. */
struct target_surroundings {
	struct tgtd *tgtd;     /* borrowed */
	const char *folder;    /* of the files; borrowed */
	const struct acl *acl; /* borrowed */
	/* Guards `chap` against its change; held by who tells tgtd of accounts. Inside the
	 * lend lock. */
	pthread_mutex_t chap_lock;
	struct chap chap; /* empty: nobody is asked who he is */
};

struct target {
	struct list link;
	struct target_surroundings *around; /* borrowed */
	struct export *export;              /* owned: one reference */
	int32_t tid[TARGET_NAMES];
	_Atomic bool made; /* tgtd may have it */
	_Atomic uint64_t
		held_until_ns; /* kept for those who come back; CLOCK_MONOTONIC */
	bool told;             /* why it is not offered has been logged */
	unsigned int sessions; /* at the last look; main thread */
};

/* An export's loan to tgtd; `arg` is the target. See export.h. */
extern int target_give(struct export *e, void *arg);
extern int target_take(struct export *e, void *arg, bool force);

/* Tells tgtd which accounts are for the target's names; the chap lock is held. */
int target_bind_accounts(const struct target *t);
int target_bind_account(const struct target *t, const struct chap_account *a);
int target_rebind_account(const struct target *t, const struct chap_account *a);

/* Calls `fn` with every initiator rule as tgtd wants it: "initiator-address=10.0.0.0/8",
 * "initiator-name=iqn…"; stops at an error and returns it. */
int target_each_rule(const struct acl *acl, int (*fn)(const char *text, void *arg),
		     void *arg);

#endif
