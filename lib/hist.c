/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Samples in, percentiles out. Pure; the header says which thread may do what. */
#include "lib/hist.h"

#define HIST_SUB_BITS 3

_Static_assert(HIST_SUB == 1 << HIST_SUB_BITS, "sub-buckets are a power of two");

/* The single writer may not tear a counter under a reader's eyes. */
#define relaxed_add(var, n)                                                       \
	__atomic_store_n(&(var), __atomic_load_n(&(var), __ATOMIC_RELAXED) + (n), \
			 __ATOMIC_RELAXED)

unsigned int hist_bucket(uint64_t value)
{
	unsigned int octave, b;

	if (value < HIST_SUB)
		return (unsigned int)value;
	octave = 63 - (unsigned int)__builtin_clzll(value) - HIST_SUB_BITS;
	b = (octave + 1) * HIST_SUB + (unsigned int)((value >> octave) - HIST_SUB);
	return b < HIST_BUCKETS ? b : HIST_BUCKETS - 1;
}

uint64_t hist_bucket_floor(unsigned int bucket)
{
	unsigned int octave = bucket / HIST_SUB;

	if (!octave)
		return bucket;
	return (uint64_t)(HIST_SUB + bucket % HIST_SUB) << (octave - 1);
}

void hist_add(struct hist *h, uint64_t value, uint32_t n)
{
	relaxed_add(h->bucket[hist_bucket(value)], n);
	relaxed_add(h->count, n);
	relaxed_add(h->sum, value * n);
	if (value > __atomic_load_n(&h->max, __ATOMIC_RELAXED))
		__atomic_store_n(&h->max, value, __ATOMIC_RELAXED);
}

void hist_merge(struct hist *to, const struct hist *from)
{
	uint64_t max = __atomic_load_n(&from->max, __ATOMIC_RELAXED);

	for (unsigned int i = 0; i < HIST_BUCKETS; i++)
		to->bucket[i] += __atomic_load_n(&from->bucket[i], __ATOMIC_RELAXED);
	to->count += __atomic_load_n(&from->count, __ATOMIC_RELAXED);
	to->sum += __atomic_load_n(&from->sum, __ATOMIC_RELAXED);
	if (max > to->max)
		to->max = max;
}

uint64_t hist_percentile(const struct hist *h, double percent)
{
	uint64_t total = 0, seen = 0, want, mid;

	for (unsigned int i = 0; i < HIST_BUCKETS; i++)
		total += h->bucket[i];
	if (!total)
		return 0;
	want = (uint64_t)((double)total * percent / 100.0);
	if (want >= total)
		return h->max;
	for (unsigned int i = 0; i < HIST_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen <= want)
			continue;
		mid = i + 1 < HIST_BUCKETS
			      ? (hist_bucket_floor(i) + hist_bucket_floor(i + 1)) / 2
			      : h->max;
		return mid < h->max ? mid : h->max;
	}
	return h->max;
}
