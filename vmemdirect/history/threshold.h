/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From aging bytes to what belongs in RAM, after Muraoka and Kourai (2019): a 256-bin
 * histogram of scores is summed from 255 down until the pages exceed the room; that bin
 * is the threshold. Scores above it go to RAM, below it to the tier, equal ones to RAM
 * in address order until the room is spent. Pure; does not allocate.
 *
 * An aging byte: each look sets bit 7 if the page was touched since the last one, and
 * every second look shifts right first.
 */
#ifndef VMEMDIRECT_HISTORY_THRESHOLD_H
#define VMEMDIRECT_HISTORY_THRESHOLD_H

#include <stdbool.h>
#include <stdint.h>

struct threshold {
	uint64_t histogram[256]; /* pages by score */
	unsigned int score;      /* the threshold */
	uint64_t above;          /* pages with a higher one */
	uint64_t equal_room;     /* how many of the equal ones find room */
};

/* The aging byte after one more look, the `sample`th from 0. */
static inline uint8_t threshold_age(uint8_t age, bool touched, uint32_t sample)
{
	if (sample % 2)
		age >>= 1;
	return touched ? age | 0x80 : age;
}

/* Turns ages into scores, in place: a chunk's pages all get the highest of it. Chunks
 * are counted from the beginning of each call's array. 0 or 1: each page its own. */
void threshold_spread(uint8_t *score, uint64_t nr, unsigned int chunk_pages);

void threshold_find(const uint8_t *score, uint64_t nr, uint64_t room,
		    struct threshold *ret);

#endif
