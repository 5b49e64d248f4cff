// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * In come an index and a generation, out go the words of a cell, or the verdict on
 * one. The first word is a full mix of both (splitmix64's finalizer); the others
 * follow by an odd step that depends on it, which costs one addition a word: under
 * TCG the check must stay small beside a page fault. Any thread.
 */
#include "bench/lib/pattern.h"

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static uint64_t first_word(uint64_t index, uint64_t generation)
{
	return mix(mix(index + 0x9e3779b97f4a7c15ULL) ^ generation);
}

static uint64_t step_of(uint64_t first)
{
	return (first << 1) | 1;
}

uint64_t pattern_word(uint64_t index, uint64_t generation, size_t at)
{
	uint64_t first = first_word(index, generation);

	return first + at / 8 * step_of(first);
}

void pattern_fill(void *buf, size_t len_bytes, uint64_t index, uint64_t generation)
{
	uint64_t word = first_word(index, generation), step = step_of(word);
	uint64_t *p = buf;

	for (size_t i = 0; i < len_bytes / 8; i++, word += step)
		p[i] = word;
}

_Bool pattern_check(const void *buf, size_t len_bytes, uint64_t index,
		    uint64_t generation, size_t *ret_at)
{
	uint64_t first = first_word(index, generation), step = step_of(first);
	uint64_t word = first, wrong = 0;
	const uint64_t *p = buf;
	size_t n = len_bytes / 8;

	/* No branch in the loop; where it was is looked for only when something was. */
	for (size_t i = 0; i < n; i++, word += step)
		wrong |= p[i] ^ word;
	if (!wrong)
		return 1;
	for (size_t i = 0; i < n; i++)
		if (p[i] != first + i * step) {
			*ret_at = i * 8;
			break;
		}
	return 0;
}
