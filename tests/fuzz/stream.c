/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The migration stream's parser: first byte how the rest is cut, then a stream. */
#include <stdint.h>
#include <stdlib.h>

#include "vmemdirect/migrate/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const struct stream_event *e)
{
	if (e->type == STREAM_PAGE) { /* all of it is there: ASan would tell */
		(void)*(const volatile uint8_t *)e->page;
		(void)*(const volatile uint8_t *)(e->page + STREAM_PAGE_SIZE - 1);
	}
	if (e->type == STREAM_PAGE || e->type == STREAM_ZERO)
		if (e->addr > e->block->size_bytes - STREAM_PAGE_SIZE ||
		    e->addr % STREAM_PAGE_SIZE)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct stream s;
	size_t at = 0, seen, used, step;
	struct stream_event e;
	const char *state;
	int r = 0;

	if (size < 1)
		return 0;
	step = data[0] ? data[0] * (size_t)17 : size;
	data++;
	size--;
	stream_init(&s);
	for (seen = 0; seen < size && r >= 0;) {
		seen = size - seen < step ? size : seen + step;
		/* Only what has "come" may be looked at: ASan sees to it. */
		while ((r = stream_next(&s, data + at, seen - at, &e, &used)) == 1) {
			if (!used || used > seen - at)
				abort();
			if (e.type == STREAM_TAIL)
				stream_tail_complete(data + at, used, &state);
			look(&e);
			at += used;
		}
		if (r == 0 && seen - at >= STREAM_PIECE_MAX)
			abort(); /* a caller's buffer would be full for ever */
	}
	return 0;
}
