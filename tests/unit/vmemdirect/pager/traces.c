/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Eviction policy and prefetcher on what real guests did: tests/traces/NAME, which
 * tests/traces/record made. The memory is simulated, its reference bits are exact; the
 * yardsticks (FIFO, LRU, and Belady's OPT, which knows the future) are computed here.
 * Bounds are a little above what was measured when the traces were recorded: a change
 * that makes a policy worse than that is meant to be seen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmemdirect/pager/policy.h"
#include "vmemdirect/pager/prefetch.h"

#define PAGES_MAX    65536
#define ACCESSES_MAX 32768
#define NEVER        UINT32_MAX

struct trace {
	uint64_t nr_pages;
	uint32_t nr, distinct;
	uint32_t page[ACCESSES_MAX];
	uint32_t next[ACCESSES_MAX]; /* when the same page comes again, or NEVER */
};

static struct trace trace;

static int64_t get_distance(FILE *f)
{
	uint64_t n = 0;
	unsigned int shift = 0;
	int c;

	do {
		c = getc(f);
		assert_true(c != EOF && shift < 63);
		n |= (uint64_t)(c & 127) << shift;
		shift += 7;
	} while (c & 128);
	return n & 1 ? -(int64_t)(n >> 1) - 1 : (int64_t)(n >> 1);
}

static void load(const char *name)
{
	static uint32_t last[PAGES_MAX];
	int64_t page = 0;
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "tests/traces/%s", name);
	f = fopen(path, "re");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "remem-trace 1 %" SCNu64 " %" SCNu32,
				&trace.nr_pages, &trace.nr),
			 2);
	assert_int_equal(getc(f), '\n');
	assert_true(trace.nr_pages <= PAGES_MAX && trace.nr <= ACCESSES_MAX);
	for (uint32_t i = 0; i < trace.nr; i++) {
		page += get_distance(f);
		assert_true(page >= 0 && (uint64_t)page < trace.nr_pages);
		trace.page[i] = (uint32_t)page;
	}
	assert_int_equal(getc(f), EOF);
	fclose(f);
	trace.distinct = 0;
	memset(last, 0xff, sizeof(last));
	for (uint32_t i = trace.nr; i-- > 0;) {
		trace.next[i] = last[trace.page[i]];
		trace.distinct += trace.next[i] == NEVER;
		last[trace.page[i]] = i;
	}
}

/* ---- the yardsticks ---- */

enum yardstick { FIFO, LRU, OPT };

/*
 * Misses with so many frames. Each resident page stands at one time: that of its
 * arrival (FIFO), of its last use (LRU), of its next (OPT); the first of the row goes,
 * for OPT the last, and before it any that is never used again.
 */
static uint64_t misses(enum yardstick by, uint32_t frames)
{
	static uint32_t stands_at[PAGES_MAX]; /* + 1; 0: not resident */
	static uint32_t who[ACCESSES_MAX];    /* page + 1 */
	static uint32_t idle[ACCESSES_MAX];   /* OPT: those with no next use */
	uint32_t resident = 0, nr_idle = 0, first = 0, last = 0;
	uint64_t faults = 0;

	memset(stands_at, 0, sizeof(stands_at));
	memset(who, 0, sizeof(who));
	for (uint32_t i = 0; i < trace.nr; i++) {
		uint32_t p = trace.page[i], victim;
		uint32_t at = by == OPT ? trace.next[i] : i;

		if (stands_at[p] && by == FIFO)
			continue;
		if (stands_at[p]) {
			who[stands_at[p] - 1] = 0;
		} else {
			faults++;
			if (resident == frames && nr_idle) {
				stands_at[idle[--nr_idle]] = 0;
			} else if (resident == frames) {
				while (by == OPT ? !who[last] : !who[first])
					by == OPT ? last-- : first++;
				victim = who[by == OPT ? last : first] - 1;
				who[by == OPT ? last : first] = 0;
				stands_at[victim] = 0;
			} else {
				resident++;
			}
		}
		if (at == NEVER) {
			idle[nr_idle++] = p;
			stands_at[p] = NEVER;
			continue;
		}
		who[at] = p + 1;
		stands_at[p] = at + 1;
		if (at > last)
			last = at;
	}
	return faults;
}

/* ---- the real policy and prefetcher on a simulated memory ---- */

static struct {
	struct page page[PAGES_MAX];
	bool mapped[PAGES_MAX], stored[PAGES_MAX], unused[PAGES_MAX];
	struct policy policy;
	struct prefetch prefetch;
	uint32_t resident, frames;
	bool forgets; /* who left: a policy without ghosts */
	uint64_t faults, fetched, hits;
} m;

static bool unmap(void *arg, const uint32_t *pfn, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		m.mapped[pfn[i]] = false;
	return true;
}

static bool mapped(void *arg, const uint32_t *pfn, unsigned int n, bool *ret)
{
	for (unsigned int i = 0; i < n; i++)
		ret[i] = m.mapped[pfn[i]];
	return true;
}

static void start(enum policy_kind kind, uint32_t frames, uint32_t window)
{
	memset(&m, 0, sizeof(m));
	m.frames = frames;
	policy_init(&m.policy, m.page, kind,
		    &(struct policy_sampler){ unmap, mapped, NULL });
	prefetch_init(&m.prefetch, trace.nr_pages, window);
}

static void make_room(void)
{
	uint32_t out[32];
	unsigned int n = policy_choose(&m.policy, out, 32);

	assert_true(n > 0);
	for (unsigned int i = 0; i < n; i++) {
		assert_true(page_move(&m.page[out[i]], PAGE_RESIDENT, PAGE_ABSENT, 0,
				      PAGE_PREFETCHED | PAGE_PROBE, NULL));
		m.unused[out[i]] = m.mapped[out[i]] = false;
		m.stored[out[i]] = true;
		policy_gone(&m.policy, out[i]);
		if (m.forgets)
			m.page[out[i]].link = 0;
	}
	m.resident -= n;
	prefetch_probed(&m.prefetch, m.policy.probe_hits, m.policy.probe_misses);
	m.policy.probe_hits = m.policy.probe_misses = 0;
}

static void bring(uint32_t p, uint32_t set)
{
	if (m.resident >= m.frames)
		make_room();
	assert_true(page_move(&m.page[p], PAGE_ABSENT, PAGE_RESIDENT, set, 0, NULL));
	policy_add(&m.policy, p);
	m.resident++;
}

/* As the fault thread does: pages that are out, and never the last room. */
static void fetch(const struct prefetch_plan *plan)
{
	for (uint32_t i = 0; i < plan->nr && i < m.frames / 4; i++) {
		uint64_t p = plan->pfn + (uint64_t)(plan->stride * (int64_t)i);

		assert_true(p < trace.nr_pages);
		if (!m.stored[p] || page_state(page_word(&m.page[p])) != PAGE_ABSENT)
			continue;
		bring((uint32_t)p, PAGE_PREFETCHED | (plan->probe ? PAGE_PROBE : 0));
		m.unused[p] = true;
		m.mapped[p] = false; /* they come by way of the stage */
		m.fetched++;
	}
}

static void touch(uint32_t p)
{
	struct prefetch_plan plan;
	bool was_stored = m.stored[p];

	m.hits += m.unused[p];
	m.unused[p] = false;
	if (page_state(page_word(&m.page[p])) == PAGE_ABSENT) {
		m.faults++;
		bring(p, 0);
		m.mapped[p] = true;
		if (was_stored && prefetch_on_fault(&m.prefetch, p, &plan))
			fetch(&plan);
	}
	m.mapped[p] = true;
}

static uint64_t run(void)
{
	for (uint32_t i = 0; i < trace.nr; i++)
		touch(trace.page[i]);
	return m.faults;
}

static uint64_t replay(enum policy_kind kind, uint32_t frames, uint32_t window)
{
	start(kind, frames, window);
	return run();
}

/* ---- what is asked of them ---- */

/* In per cent; frames are a half and a quarter of the pages that are touched. */
static const struct {
	const char *name;
	unsigned int lru[2];  /* S3-FIFO's misses of LRU's, at most */
	unsigned int fifo[2]; /* of FIFO's, at most */
	uint64_t ghosts[2];   /* came back soon and were known, at least */
} eviction[] = {
	{ "boot", { 106, 106 }, { 97, 98 }, { 400, 1500 } },
	{ "sequential", { 102, 102 }, { 100, 99 }, { 30, 30 } },
	{ "zipf", { 105, 104 }, { 98, 96 }, { 600, 1200 } },
	{ "scan", { 104, 102 }, { 98, 93 }, { 150, 200 } },
	{ "compile", { 106, 102 }, { 97, 89 }, { 80, 300 } },
};

static void misses_stay_near_lru_and_below_fifo(void **state)
{
	for (unsigned int k = 0; k < sizeof(eviction) / sizeof(eviction[0]); k++) {
		load(eviction[k].name);
		for (unsigned int i = 0; i < 2; i++) {
			uint32_t frames = trace.distinct / (i ? 4 : 2);
			uint64_t fifo = misses(FIFO, frames), lru = misses(LRU, frames),
				 opt = misses(OPT, frames),
				 s3 = replay(POLICY_S3FIFO, frames, 0);

			print_message("# %s, %u of %u pages: s3fifo %" PRIu64
				      " misses, lru %" PRIu64 ", fifo %" PRIu64
				      ", opt %" PRIu64 "; %" PRIu64 " ghosts\n",
				      eviction[k].name, frames, trace.distinct, s3, lru,
				      fifo, opt, m.policy.ghost_hits);
			assert_true(opt <= s3 && opt <= lru && opt <= fifo);
			assert_true(s3 * 100 <= lru * eviction[k].lru[i]);
			assert_true(s3 * 100 <= fifo * eviction[k].fifo[i]);
			assert_true(m.policy.ghost_hits >= eviction[k].ghosts[i]);
		}
	}
}

static void the_fifo_policy_is_a_fifo(void **state)
{
	for (unsigned int k = 0; k < sizeof(eviction) / sizeof(eviction[0]); k++) {
		uint64_t real, ideal;

		load(eviction[k].name);
		ideal = misses(FIFO, trace.distinct / 4);
		real = replay(POLICY_FIFO, trace.distinct / 4, 0);
		/* (It makes room for 32 pages at a time.) */
		assert_true(real >= ideal && real * 100 <= ideal * 101);
		assert_int_equal(m.policy.ghost_hits, 0);
	}
}

static void ghosts_save_misses(void **state)
{
	for (unsigned int k = 0; k < sizeof(eviction) / sizeof(eviction[0]); k++) {
		uint64_t with, without;

		load(eviction[k].name);
		with = replay(POLICY_S3FIFO, trace.distinct / 4, 0);
		start(POLICY_S3FIFO, trace.distinct / 4, 0);
		m.forgets = true;
		without = run();
		assert_true(with < without);
		if (!strcmp(eviction[k].name, "scan"))
			assert_true(with * 100 < without * 98);
	}
}

/* With a quarter of the pages; in per cent of the faults without reading ahead. */
static const struct {
	const char *name;
	unsigned int faults; /* that are left, at most */
	unsigned int unused; /* pages read for nothing, at most */
} ahead[] = {
	{ "boot", 88, 2 }, { "sequential", 40, 3 }, { "zipf", 102, 5 },
	{ "scan", 55, 7 }, { "compile", 102, 3 },
};

static void reading_ahead_finds_walks_and_leaves_the_rest_alone(void **state)
{
	for (unsigned int k = 0; k < sizeof(ahead) / sizeof(ahead[0]); k++) {
		uint64_t before;

		load(ahead[k].name);
		before = replay(POLICY_S3FIFO, trace.distinct / 4, 0);
		replay(POLICY_S3FIFO, trace.distinct / 4, 256);
		print_message("# %s: faults %" PRIu64 " without, %" PRIu64
			      " with; %" PRIu64 " pages read ahead, %" PRIu64
			      " of them used\n",
			      ahead[k].name, before, m.faults, m.fetched, m.hits);
		assert_true(m.faults * 100 <= before * ahead[k].faults);
		assert_true((m.fetched - m.hits) * 100 <= before * ahead[k].unused);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(misses_stay_near_lru_and_below_fifo),
		cmocka_unit_test(the_fifo_policy_is_a_fifo),
		cmocka_unit_test(ghosts_save_misses),
		cmocka_unit_test(reading_ahead_finds_walks_and_leaves_the_rest_alone),
	};

	return cmocka_run_group_tests_name("recorded traces", tests, NULL, NULL);
}
