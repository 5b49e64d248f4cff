/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much memory each client holds, over all exports: one account a client, by the name
 * it has proved (TLS, NVMe authentication) or else by its address. An export's memory is
 * on the account of who uses it or used it last; see export_own. An account is there
 * while an export refers to it.
 *
 * accounts_get and account_put take a lock; the rest is for any thread, the serving ones
 * too: one atomic number.
 */
#ifndef MEMSERVER_ACCOUNTS_H
#define MEMSERVER_ACCOUNTS_H

#include <stdbool.h>
#include <stdint.h>

#define ACCOUNT_NAME_MAX 255

struct accounts;
struct account;

/* No quota: accounts are kept, and hold what they hold. -ENOMEM. */
int accounts_new(struct accounts **ret);
void accounts_free(struct accounts *as); /* NULL is fine; no account may be left */

/* Bytes each may hold; 0: any. Who holds more keeps it and gets no more. Any thread. */
void accounts_set_quota(struct accounts *as, uint64_t bytes);
uint64_t accounts_quota(struct accounts *as);

/* The account of that name, counted. NULL: -ENOMEM. */
struct account *accounts_get(struct accounts *as, const char *name);
void account_put(struct account *a); /* NULL is fine */

const char *account_name(const struct account *a);
uint64_t account_held(const struct account *a);

/* False, and nothing has changed: it may not hold so much more. */
bool account_charge(struct account *a, uint64_t bytes);

/* What is there already: no quota is asked. */
void account_move_in(struct account *a, uint64_t bytes);
void account_uncharge(struct account *a, uint64_t bytes);

/* What each holds, one after the other under the lock, until `fn` returns non-zero. */
int accounts_each(struct accounts *as,
		  int (*fn)(const char *name, uint64_t held, void *arg), void *arg);

#endif
