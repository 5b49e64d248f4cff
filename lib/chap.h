/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file of CHAP secrets, the same for a server and its initiators:
 *
 *	# who may log in; repeats
 *	initiator USER SECRET
 *	# how the target proves itself to the initiator; at most once
 *	target USER SECRET
 *
 * It must be a plain file of root's or ours that nobody else can read. No allocation, any
 * thread.
 */
#ifndef LIB_CHAP_H
#define LIB_CHAP_H

#include <stdbool.h>
#include <stddef.h>

#define CHAP_NAME_MAX   63
#define CHAP_SECRET_MIN 12 /* RFC 7143, 12.1.3: 96 bits */
#define CHAP_SECRET_MAX 63
#define CHAP_MAX        64 /* accounts */

struct chap_account {
	char user[CHAP_NAME_MAX + 1], secret[CHAP_SECRET_MAX + 1];
	bool outgoing;
};

struct chap {
	struct chap_account list[CHAP_MAX];
	size_t nr;
};

/* -EINVAL and *ret_line, *ret_why (static text): what is wrong where. Pure. */
int chap_parse(const char *text, size_t len, struct chap *ret, unsigned int *ret_line,
	       const char **ret_why);

/*
 * Reads and checks. -errno, and `err` says what is wrong, never with a secret:
 * "FILE:LINE: why".
 */
int chap_load(const char *path, struct chap *ret, char *err, size_t len);

/* Wipes it. */
void chap_wipe(struct chap *c);

#endif
