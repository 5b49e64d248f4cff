/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A latency histogram of fixed size: log-linear, 8 sub-buckets to each power of
 * two, so a value is known to 12.5 %. Values are in ns (any unit does); the last
 * bucket takes all above 2^36 ns (68 s).
 *
 * One writer; readers on other threads see each counter whole (relaxed atomics),
 * the set of them approximately. No allocation.
 */
#ifndef LIB_HIST_H
#define LIB_HIST_H

#include <stdint.h>

#define HIST_SUB     8
#define HIST_BUCKETS (HIST_SUB * 34)

struct hist {
	uint64_t count, sum, max;
	uint64_t bucket[HIST_BUCKETS];
};

/* Adds `n` samples of `value`. */
void hist_add(struct hist *h, uint64_t value, uint32_t n);

/* Adds all of `from` to `to`. */
void hist_merge(struct hist *to, const struct hist *from);

/* The value below which `percent` (0-100) of the samples lie; 0 when empty. */
uint64_t hist_percentile(const struct hist *h, double percent);

/* Which bucket a value falls in, and the lowest value of a bucket. */
unsigned int hist_bucket(uint64_t value);
uint64_t hist_bucket_floor(unsigned int bucket);

#endif
