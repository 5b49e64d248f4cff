/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exports over iSCSI, by a tgtd of our own. Every export without a quota of its own is
 * lent to tgtd while nobody is attached through another door, and comes back when
 * somebody wants to attach and no initiator is logged in: an export is used over iSCSI
 * or over the other doors, never over both at a time. Main thread.
 */
#ifndef MEMSERVER_ISCSI_ISCSI_H
#define MEMSERVER_ISCSI_ISCSI_H

#include "lib/addr.h"
#include "lib/loop.h"
#include "memserver/exports.h"
#include "memserver/iscsi/tgt_text.h"

struct acl;
struct iscsi;

struct iscsi_cfg {
	struct loop *loop;          /* borrowed */
	struct exports *exports;    /* borrowed */
	const struct acl *acl;      /* borrowed */
	const char *folder;         /* of the pool; borrowed */
	const struct addr *portals; /* borrowed during the call */
	size_t nr_portals;          /* > 0 */
	const char *auth_path;      /* NULL: no CHAP */
	/* As of struct tgtd_cfg. */
	int (*run)(void *arg, int output, pid_t *ret_pid);
	void *run_arg;
};

/* Errors are logged with their remedy. */
int iscsi_start(const struct iscsi_cfg *cfg, struct iscsi **ret);
void iscsi_stop(struct iscsi *is); /* before exports_close; NULL is fine */

/* Once a second, and after exports have come or gone. NULL is fine. */
void iscsi_sync(struct iscsi *is);

/*
 * Before an export is changed: tgtd lets go of it, until the next iscsi_sync. -EBUSY an
 * initiator is logged in (`force` throws it out), -EAGAIN tgtd does not answer.
 */
int iscsi_release(struct iscsi *is, struct export *e, bool force);

/* One logged-in initiator. */
struct iscsi_session_info {
	uint64_t id;        /* above all ids of connections; for iscsi_kick */
	const char *export; /* name */
	struct tgt_session session;
	struct tgt_counters counters;
};

/* Calls `fn` for each, in order of id, as tgtd says now; stops at non-zero. */
int iscsi_each(struct iscsi *is, int (*fn)(const struct iscsi_session_info *, void *),
	       void *arg);

/* Asks tgtd who is logged in where. NULL is fine. */
void iscsi_look(struct iscsi *is);

/* Sessions of one export, at the last look. Does not ask. */
unsigned int iscsi_sessions(struct iscsi *is, const struct export *e);

/* Ends the session; it may come back. -ENOENT. */
int iscsi_kick(struct iscsi *is, uint64_t id);

/*
 * Reads the file of secrets again and tells tgtd, without ending a session: who logs in from
 * now on needs the new ones. 1 done, 0 there is no such file; -errno, and `why` says it:
 * all stays as it was. NULL is fine.
 */
int iscsi_reload(struct iscsi *is, char *why, size_t len);

int iscsi_pid(const struct iscsi *is);               /* tgtd's; 0: it is not running */
unsigned int iscsi_restarts(const struct iscsi *is); /* it has died so often */
uint64_t iscsi_refused(
	const struct iscsi *is); /* logins for CHAP, as far as tgtd tells */

#endif
