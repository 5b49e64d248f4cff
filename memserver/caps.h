/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How fast somebody may be served: bytes and operations a second, as a bucket that many
 * workers take from. Each limit is one atomic number, the time at which all that has been
 * taken is paid for at the rate (the virtual scheduling form of the generic cell rate
 * algorithm, ITU-T I.371), so taking needs no lock, no timer and no memory. What is asked
 * for is always given; who finds the bucket in debt waits before it asks again.
 *
 * Any thread; times are CLOCK_MONOTONIC, in ns.
 */
#ifndef MEMSERVER_CAPS_H
#define MEMSERVER_CAPS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define CAPS_BYTES_MIN (UINT64_C(1) << 20) /* less would exceed hosts' own time-outs */
#define CAPS_OPS_MIN   UINT64_C(10)
#define CAPS_MAX       (UINT64_C(1) << 40)

/* So much may be taken ahead of the rate before one waits: fewer, longer waits. */
#define CAPS_BURST_NS UINT64_C(10000000)
/* And what was not used lately counts for so long: a late wake-up costs nothing. */
#define CAPS_SLACK_NS UINT64_C(5000000)

/* A limit of 0 is none. */
struct caps_cfg {
	uint64_t bytes_per_s, ops_per_s;
};

/* Zeroed: no limits. */
struct caps {
	_Atomic uint64_t bytes_per_s, ops_per_s;
	_Atomic uint64_t bytes_paid_ns, ops_paid_ns;
};

static inline bool caps_any(const struct caps *c)
{
	return atomic_load_explicit(&c->bytes_per_s, memory_order_relaxed) ||
	       atomic_load_explicit(&c->ops_per_s, memory_order_relaxed);
}

/* -ERANGE: a limit is neither 0 nor within the bounds above. */
int caps_check(const struct caps_cfg *cfg);

/* Debts are forgiven. */
void caps_set(struct caps *c, const struct caps_cfg *cfg);
struct caps_cfg caps_get(const struct caps *c);

/* One operation that moves `bytes`. */
void caps_take(struct caps *c, uint64_t bytes, uint64_t now_ns);

/* How long to wait before the next one; 0: not at all. */
uint64_t caps_wait(const struct caps *c, uint64_t now_ns);

#endif
