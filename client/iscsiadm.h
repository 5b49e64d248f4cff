/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * open-iscsi's tools, as far as memswap needs them: the kernel's iSCSI initiator can't
 * log in by itself, iscsid does it, also after an outage. Main thread; failures have
 * been said unless noted.
 */
#ifndef CLIENT_ISCSIADM_H
#define CLIENT_ISCSIADM_H

#include <stddef.h>
#include <stdint.h>

struct chap;

#define ISCSIADM_NAME_MAX 223 /* of a target */

/* Loads the module, finds iscsiadm, starts iscsid unless it runs. 0 or -errno. */
int iscsiadm_ready(void);

/* Where a target is: what iscsiadm and its records call it. */
struct iscsi_place {
	char target[ISCSIADM_NAME_MAX + 1];
	char portal[80]; /* "10.0.0.1:3260", "[fd00::1]:3260" */
};

/* Calls `fn` with the name of every target that the portal shows this host. */
int iscsiadm_discover(const char *portal, void (*fn)(void *arg, const char *target),
		      void *arg);

/*
 * Makes the record of the target, with what swap needs, and logs in. `chap` NULL: no
 * authentication. Secrets go into the record's file (root only), never on a command
 * line.
 */
int iscsiadm_login(const struct iscsi_place *p, const struct chap *chap);

/* Logs out and forgets the record. 0 also when there is neither. */
int iscsiadm_logout(const struct iscsi_place *p);

#endif
