/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How fast the migration stream's parser is on one core: a stream in memory, over and
 * over, GB/s out: once the parser alone, which looks at no page's bytes, once with a
 * copy of each page to a place of its own, as a receiver makes at least one.
 *
 *	parse [SECONDS]
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vmemdirect/migrate/stream.h"

#define BLOCK_PAGES 65536
#define SECTION     4096 /* pages in a section */

static uint8_t *put(uint8_t *p, uint64_t v, unsigned int bytes)
{
	while (bytes--)
		*p++ = (uint8_t)(v >> 8 * bytes);
	return p;
}

static uint8_t *put_text(uint8_t *p, const char *s)
{
	memcpy(p, s, strlen(s));
	return p + strlen(s);
}

static uint8_t *begin(uint8_t *p)
{
	p = put(put_text(p, "QEVM"), 3, 4);
	p = put_text(put(put(p, 7, 1), 6, 4), "pc-7.2");
	p = put(p, UINT64_C(0x0800010000), 5);
	p = put(put_text(put(put(put(p, 1, 1), 2, 4), 3, 1), "ram"), 4, 8);
	p = put(p, (uint64_t)BLOCK_PAGES << 12 | 4, 8);
	p = put(put_text(put(p, 4, 1), "mem0"), (uint64_t)BLOCK_PAGES << 12, 8);
	return put(put(put(p, 0x10, 8), 0x7e, 1), 2, 4);
}

static uint8_t *section(uint8_t *p, uint64_t first)
{
	p = put(put(p, 2, 1), 2, 4);
	for (uint64_t i = first; i < first + SECTION; i++) {
		p = put(p, i << 12 | (i == first ? 0x08 : 0x28), 8);
		if (i == first)
			p = put_text(put(p, 4, 1), "mem0");
		p += STREAM_PAGE_SIZE;
	}
	return put(put(put(p, 0x10, 8), 0x7e, 1), 2, 4);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool run(const uint8_t *stream, size_t len, double seconds, uint8_t *copies)
{
	static struct stream s;
	uint64_t bytes = 0, pages = 0;
	double began = now(), took;
	struct stream_event e;

	do {
		size_t at = 0, used;

		stream_init(&s);
		while (at < len) {
			/* As a receiver has them: 1 MiB at a time. */
			size_t stop = len - at < (1 << 20) ? len : at + (1 << 20);
			int r;

			while ((r = stream_next(&s, stream + at, stop - at, &e,
						&used)) == 1) {
				at += used;
				if (e.type != STREAM_PAGE)
					continue;
				pages++;
				if (copies)
					memcpy(copies + e.addr, e.page,
					       STREAM_PAGE_SIZE);
			}
			if (r < 0) {
				fprintf(stderr, "parse: %s\n", s.why);
				return false;
			}
		}
		bytes += at;
		took = now() - began;
	} while (took < seconds);
	printf("{\"bench\": \"migration/parse\", \"copy\": %s, "
	       "\"gigabytes_per_second\": %.2f, \"ns_per_page\": %.1f}\n",
	       copies ? "true" : "false", (double)bytes / took / 1e9,
	       took * 1e9 / (double)pages);
	return true;
}

int main(int argc, char **argv)
{
	size_t size = ((size_t)BLOCK_PAGES + 16) * 4200;
	uint8_t *stream = malloc(size), *copies = malloc(size), *end;
	double seconds = argc > 1 ? atof(argv[1]) : 2;

	if (!stream || !copies)
		return 1;
	memset(stream, 0x5a, size);
	memset(copies, 0, size);
	end = begin(stream);
	for (uint64_t i = 0; i < BLOCK_PAGES; i += SECTION)
		end = section(end, i);
	return !run(stream, (size_t)(end - stream), seconds, NULL) ||
	       !run(stream, (size_t)(end - stream), seconds, copies);
}
