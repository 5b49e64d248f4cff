/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Latencies of a burst, known to 0.8 %: log-linear, 128 sub-buckets to each power
 * of two. lib/hist.h's 12.5 % is right for a server's statistics and too coarse for
 * a ratio that is promised to 8 %. Values in ns; the last bucket takes all above
 * 2^36 ns (68 s). One thread, no allocation.
 */
#ifndef BENCH_LIB_LAT_H
#define BENCH_LIB_LAT_H

#include <stdint.h>

#define LAT_SUB_BITS 7
#define LAT_SUB      (1 << LAT_SUB_BITS)
#define LAT_BUCKETS  (LAT_SUB * 30)

struct lat {
	uint64_t count, sum_ns, max_ns;
	uint32_t bucket[LAT_BUCKETS];
};

void lat_reset(struct lat *l);
void lat_add(struct lat *l, uint64_t ns);

/* The value below which `percent` (0-100) of the samples lie, in µs; 0 when empty. */
double lat_percentile_us(const struct lat *l, double percent);

#endif
