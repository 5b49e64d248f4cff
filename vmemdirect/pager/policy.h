/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which pages leave. Three FIFO queues through the pages' links, after S3-FIFO (Yang
 * et al., SOSP'23), with the reference bit made by sampling:
 *
 *	newcomers -> small -.             .-> touched: main
 *	                     > probation -<
 *	             main  -'             '-> not: out
 *
 * A page of small or main that may have to go is unmapped and put on probation, a
 * queue a tenth of the resident pages long; at its end either it was touched again
 * (main, and its counter goes up) or it leaves. The longer the queue the rarer the use
 * that it still sees, and the more pages take a minor fault to show it: a third saves
 * 8 % of the misses of a Zipf walk, and on the recorded traces, with reading ahead,
 * from -1 % (Zipf, compiler) to +6 % (scan). A page that comes back soon after it left
 * (within as many evictions as main is long) goes straight to main. Probation reaches
 * its length step by step: somebody waits for the first room. Pages that were read
 * ahead for a walk (PAGE_WALKED) are not unmapped, and leave at probation's end in any
 * case: who walks does not come back before they would have to go, and to unmap what
 * he has written costs 7-12 us a page (stage.h). If he does come back, they go
 * straight to main like all others. Pages that were touched more than once are passed
 * over in main as often. So a scan goes through small and probation and leaves main
 * alone, and nothing is sampled while nothing is evicted.
 *
 * Evictor's thread only; pure but for `look` and `unmap`, which tests replace.
 */
#ifndef VMEMDIRECT_PAGER_POLICY_H
#define VMEMDIRECT_PAGER_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "vmemdirect/pager/page.h"

enum policy_kind {
	POLICY_S3FIFO,
	POLICY_FIFO, /* out in the order they came, no sampling */
};

struct policy_sampler {
	/* As sampler_unmap and sampler_mapped; NULL-safe not. */
	bool (*unmap)(void *arg, const uint32_t *pfn, unsigned int n);
	bool (*mapped)(void *arg, const uint32_t *pfn, unsigned int n, bool *mapped);
	void *arg;
};

struct policy_queue {
	uint32_t head, tail; /* POLICY_NONE: empty */
	uint64_t len;
};

#define POLICY_NONE UINT32_MAX

struct policy {
	struct page *page; /* borrowed */
	struct policy_sampler sampler;
	enum policy_kind kind;
	struct policy_queue small, main, probation;
	uint32_t evictions; /* wraps */
	uint64_t touched, untouched, ghost_hits;
	uint64_t probe_hits, probe_misses; /* pages with PAGE_PROBE; reader zeroes */
};

void policy_init(struct policy *y, struct page *page, enum policy_kind kind,
		 const struct policy_sampler *sampler);

/* "s3fifo", "fifo"; -EINVAL. */
int policy_parse(const char *text, enum policy_kind *ret);
const char *policy_name(enum policy_kind kind);

/* A page has become resident. Ignored if it is queued already. */
void policy_add(struct policy *y, uint32_t pfn);

/* A page was resident before the policy began and its aging byte is known: a hot one
 * has proved itself already, a cold one has to. */
void policy_adopt(struct policy *y, uint32_t pfn);

/* A chosen page stays after all (pinned, written meanwhile): it is hot. */
void policy_keep(struct policy *y, uint32_t pfn);

/* A chosen page has left. */
void policy_gone(struct policy *y, uint32_t pfn);

/* Takes up to `max` pages out of the queues, ascending. 0: there are none. */
unsigned int policy_choose(struct policy *y, uint32_t *pfn, unsigned int max);

uint64_t policy_queued(const struct policy *y);

#endif
