// SPDX-License-Identifier: GPL-2.0-or-later
/* Samples in, percentiles out. The thread that runs the burst. */
#include "bench/lib/lat.h"

#include <string.h>

static unsigned int bucket_of(uint64_t ns)
{
	unsigned int octave, b;

	if (ns < LAT_SUB)
		return (unsigned int)ns;
	octave = 63 - (unsigned int)__builtin_clzll(ns) - LAT_SUB_BITS;
	b = (octave + 1) * LAT_SUB + (unsigned int)((ns >> octave) - LAT_SUB);
	return b < LAT_BUCKETS ? b : LAT_BUCKETS - 1;
}

/* The middle of a bucket. */
static double value_of(unsigned int bucket)
{
	unsigned int octave = bucket / LAT_SUB;

	if (!octave)
		return bucket;
	return (LAT_SUB + bucket % LAT_SUB + 0.5) * (double)(1ULL << (octave - 1));
}

void lat_reset(struct lat *l)
{
	memset(l, 0, sizeof(*l));
}

void lat_add(struct lat *l, uint64_t ns)
{
	l->bucket[bucket_of(ns)]++;
	l->count++;
	l->sum_ns += ns;
	if (ns > l->max_ns)
		l->max_ns = ns;
}

double lat_percentile_us(const struct lat *l, double percent)
{
	uint64_t seen = 0, want = (uint64_t)((double)l->count * percent / 100.0);

	if (!l->count || want >= l->count)
		return (double)l->max_ns / 1e3;
	for (unsigned int i = 0; i < LAT_BUCKETS; i++) {
		seen += l->bucket[i];
		if (seen > want)
			return value_of(i) / 1e3;
	}
	return (double)l->max_ns / 1e3;
}
