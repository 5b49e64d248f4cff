/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Faults in, reads of what will be wanted next out; fault thread. */
#include "vmemdirect/pager/readahead.h"

#include "vmemdirect/pager/priv.h"

void readahead_init(struct readahead *a, struct pager *p, struct fills *fills)
{
	*a = (struct readahead){ .p = p, .fills = fills };
	prefetch_init(&a->prefetch, p->t->nr_pages, p->cfg.prefetch_pages);
}

static bool is_out(const struct page *pg)
{
	uint32_t w = page_word(pg);

	return page_state(w) == PAGE_ABSENT && (w & PAGE_STORED) && !(w & PAGE_ZERO);
}

static bool worth_reading(const struct page *pg)
{
	return is_out(pg) && !(page_word(pg) & PAGE_LOST);
}

/* Pages to be read together: from `pfn` on, those with their bit in `wanted`. */
struct run {
	uint64_t pfn, wanted;
	uint32_t nr;
};

/* The wanted pages of a run change their state, all of them. */
static void move_run(struct readahead *a, const struct run *run, enum page_state from,
		     enum page_state to)
{
	for (uint32_t i = 0; i < run->nr; i++)
		if (run->wanted >> i & 1)
			page_move(&a->p->t->page[run->pfn + i], from, to, 0, 0, NULL);
}

/* Starts reading a run, what is wanted of it being out. False: no room, no buffer.
 * Prefetched pages never take the last room: it is for faults. */
static bool fetch(struct readahead *a, const struct run *run, uint32_t set)
{
	uint64_t spare = pager_low_water(a->p) / 2;
	uint32_t nr = (uint32_t)__builtin_popcountll(run->wanted);

	if (!pager_reserve(a->p, nr, set ? spare : 0))
		return false;
	move_run(a, run, PAGE_ABSENT, PAGE_FILLING);
	if (!fill_run(a->fills, run->pfn, run->nr, run->wanted, set)) {
		if (set)
			count(&a->p->prefetched, nr);
		return true;
	}
	move_run(a, run, PAGE_FILLING, PAGE_ABSENT);
	pager_release(a->p, nr);
	return false;
}

/* The run that begins with page `pfn`, which is out: at most `max` pages, all in one
 * block. What need not be read is spanned where it is cheaper than a second read. */
static struct run make_run(struct readahead *a, uint64_t pfn, uint64_t max,
			   bool (*wanted)(const struct page *))
{
	uint64_t end = guest_block_end(guest_block_of(a->p->g, pfn));
	uint32_t gap_max = a->p->tier->ops->gap_pages;
	struct run run = { .pfn = pfn, .nr = 1, .wanted = 1 };

	if (max > FILL_RUN_PAGES)
		max = FILL_RUN_PAGES;
	if (max > end - pfn)
		max = end - pfn;
	for (uint32_t i = 1; i < max && i - run.nr <= gap_max; i++)
		if (wanted(&a->p->t->page[pfn + i])) {
			run.wanted |= UINT64_C(1) << i;
			run.nr = i + 1;
		}
	return run;
}

/* Carries a plan out, and keeps in mind what there was no room for. */
static bool fetch_plan(struct readahead *a, struct prefetch_plan plan)
{
	uint32_t set = PAGE_PREFETCHED | (plan.probe ? PAGE_PROBE : 0) |
		       (plan.walk ? PAGE_WALKED : 0);
	const struct page *page = a->p->t->page;
	uint32_t before = plan.nr;

	while (plan.nr) {
		uint32_t n = 1;

		if (worth_reading(&page[plan.pfn])) {
			struct run run =
				make_run(a, plan.pfn, plan.stride == 1 ? plan.nr : 1,
					 worth_reading);

			if (!fetch(a, &run, set))
				break;
			n = run.nr;
		}
		plan.pfn += (uint64_t)(plan.stride * (int64_t)n);
		plan.nr -= n;
	}
	fills_kick(a->fills);
	a->rest = plan;
	return plan.nr < before;
}

/* A new plan goes on where the last one was cut off, or takes its place. */
static void take_plan(struct readahead *a, struct prefetch_plan plan)
{
	const struct prefetch_plan *rest = &a->rest;
	uint64_t end = rest->pfn + (uint64_t)(rest->stride * (int64_t)rest->nr);

	if (rest->nr && plan.stride == rest->stride && plan.pfn == end) {
		plan.pfn = rest->pfn;
		plan.nr += rest->nr;
	} else if (rest->nr) {
		prefetch_cut(&a->prefetch, rest);
	}
	fetch_plan(a, plan);
}

void readahead_on_fault(struct readahead *a, uint64_t pfn)
{
	struct prefetch_plan plan;

	if (prefetch_on_fault(&a->prefetch, pfn, &plan))
		take_plan(a, plan);
}

void readahead_on_inflight(struct readahead *a, uint64_t pfn)
{
	struct prefetch_plan plan;

	if (prefetch_on_inflight(&a->prefetch, pfn, &plan))
		take_plan(a, plan);
}

bool readahead_more(struct readahead *a)
{
	return a->rest.nr && fetch_plan(a, a->rest);
}

void readahead_learn(struct readahead *a)
{
	if (atomic_load_explicit(&a->p->probe_hits, memory_order_relaxed) ||
	    atomic_load_explicit(&a->p->probe_misses, memory_order_relaxed))
		prefetch_probed(&a->prefetch, atomic_exchange(&a->p->probe_hits, 0),
				atomic_exchange(&a->p->probe_misses, 0));
}

bool readahead_bring_back(struct readahead *a, uint64_t *pfn)
{
	const struct page *page = a->p->t->page;
	uint64_t end = a->p->t->nr_pages;
	struct run run;

	while (*pfn < end && !is_out(&page[*pfn]))
		++*pfn;
	if (*pfn == end)
		return false;
	run = make_run(a, *pfn, FILL_RUN_PAGES, is_out);
	if (!fetch(a, &run, 0))
		return false;
	*pfn += run.nr;
	return true;
}
