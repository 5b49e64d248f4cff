/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The thread that shakes hands: a handshake costs a millisecond of signing, which no
 * worker's other clients shall wait for. A connection gives its session and socket away
 * for that time and gets them back. So many at a time; the one that has taken longest
 * makes room, and none may take longer than HANDSHAKE_SECONDS.
 */
#ifndef MEMSERVER_HANDSHAKE_H
#define MEMSERVER_HANDSHAKE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/list.h"

#define HANDSHAKE_SECONDS 10
#define HANDSHAKES_MAX    256

struct handshakes;
struct tls_session;

/* Embedded in who waits; the fields are the thread's until `over`. */
struct handshake {
	struct list link;
	struct tls_session *session; /* borrowed */
	int fd;                      /* borrowed */
	uint64_t since_ns;
	bool watched;
	/*
	 * 0, or -errno: -ETIMEDOUT, -EBUSY (it made room), -ESHUTDOWN, or what
	 * tls_handshake says.
	 */
	int result;
	_Atomic bool over;

	/* On the thread, last: sets `over` (after which it may be gone) and wakes who
	 * waits. */
	void (*done)(struct handshake *h);
};

struct handshake_stats {
	_Atomic uint64_t good, failed, timed_out, crowded;
	_Atomic unsigned int under_way;
};

/* Starts the thread. Main thread. */
int handshakes_start(struct handshakes **ret);

/* Ends all that are under way, then the thread; what is added later ends at once. Main
 * thread. NULL is fine. */
void handshakes_stop(struct handshakes *hs);
void handshakes_free(
	struct handshakes *hs); /* after it, when nobody can add; NULL ok */

/* (any thread) */
void handshakes_add(struct handshakes *hs, struct handshake *h);
const struct handshake_stats *handshakes_stats(const struct handshakes *hs);

#endif
