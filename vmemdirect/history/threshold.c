/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A byte for each page in, one number out; the caller's thread. */
#include "vmemdirect/history/threshold.h"

#include <string.h>

void threshold_spread(uint8_t *score, uint64_t nr, unsigned int chunk_pages)
{
	if (chunk_pages < 2)
		return;
	for (uint64_t at = 0; at < nr; at += chunk_pages) {
		uint64_t n = nr - at < chunk_pages ? nr - at : chunk_pages;
		uint8_t most = 0;

		for (uint64_t i = at; i < at + n; i++)
			most = score[i] > most ? score[i] : most;
		memset(score + at, most, n);
	}
}

void threshold_find(const uint8_t *score, uint64_t nr, uint64_t room,
		    struct threshold *ret)
{
	struct threshold t = { .score = 255 };

	for (uint64_t i = 0; i < nr; i++)
		t.histogram[score[i]]++;
	while (t.score && t.above + t.histogram[t.score] <= room)
		t.above += t.histogram[t.score--];
	t.equal_room = room - t.above;
	*ret = t;
}
