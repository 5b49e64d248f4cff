/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who may come in: addresses (ADDR or ADDR/BITS, IPv4 and IPv6), NVMe host NQNs and
 * names of iSCSI initiators.
 * Built at start, read-only afterwards, any thread.
 */
#ifndef MEMSERVER_ACL_H
#define MEMSERVER_ACL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#define ACL_NQN_MAX 223 /* NVMe Base: without the NUL */

struct acl;

int acl_new(struct acl **ret);
void acl_free(struct acl *a);

/* Adds "10.0.0.0/8", "fd00::1", "nqn.…" or "iqn.…" (eui., naa.). -EINVAL: none of
 * them. */
int acl_add(struct acl *a, const char *text);

/* Forgets what was added. */
void acl_clear(struct acl *a);

/* True if nothing was added: loopback and unix peers only, unless `open`. */
bool acl_is_empty(const struct acl *a);
void acl_set_open(struct acl *a, bool open);
bool acl_is_open(const struct acl *a);

/*
 * May this address connect? Unix and loopback peers always; with no address rule
 * in the list, anybody (then an NQN rule decides later, on NVMe doors).
 */
bool acl_allows_address(const struct acl *a, const struct sockaddr *sa);

/* May this host NQN use NVMe? With no NQN rule in the list, any may. `len` without
 * the NUL. */
bool acl_allows_nqn(const struct acl *a, const char *nqn, size_t len);

/* An address list alone protects NBD; a list of names alone does not. */
bool acl_has_addresses(const struct acl *a);
bool acl_has_nqns(const struct acl *a);
bool acl_has_initiators(const struct acl *a);

/* Is this rule the name of an iSCSI initiator? */
bool acl_is_initiator(const char *text);

/* Calls `fn` with each rule as it was given. */
void acl_each(const struct acl *a, void (*fn)(const char *text, void *arg), void *arg);

#endif
