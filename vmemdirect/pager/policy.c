/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Newcomers in, victims out: see policy.h for the rule. Evictor's thread. */
#include "vmemdirect/pager/policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BATCH           256 /* pages unmapped or looked at in one go */
#define SMALLEST_QUEUE  64  /* less than this is not worth a probation */
#define PROBATION_SHARE 10  /* of the resident pages, one in so many */
#define GROW_BATCHES    8   /* by which probation grows at a time */

enum { QUEUE_NONE, QUEUE_SMALL, QUEUE_MAIN, QUEUE_PROBATION };

static const char *const kind_names[] = { "s3fifo", "fifo" };

void policy_init(struct policy *y, struct page *page, enum policy_kind kind,
		 const struct policy_sampler *sampler)
{
	*y = (struct policy){
		.page = page,
		.sampler = *sampler,
		.kind = kind,
		.small = { POLICY_NONE, POLICY_NONE, 0 },
		.main = { POLICY_NONE, POLICY_NONE, 0 },
		.probation = { POLICY_NONE, POLICY_NONE, 0 },
		.evictions = UINT32_C(1) << 31,
	};
}

int policy_parse(const char *text, enum policy_kind *ret)
{
	for (unsigned int i = 0; i < sizeof(kind_names) / sizeof(kind_names[0]); i++)
		if (!strcmp(text, kind_names[i])) {
			*ret = (enum policy_kind)i;
			return 0;
		}
	return -EINVAL;
}

const char *policy_name(enum policy_kind kind)
{
	return kind_names[kind];
}

/* ---- queues ---- */

static unsigned int queue_of(uint32_t word)
{
	return (word & PAGE_QUEUE_MASK) >> PAGE_QUEUE_SHIFT;
}

static void put(struct policy *y, struct policy_queue *q, unsigned int id, uint32_t pfn)
{
	y->page[pfn].link = POLICY_NONE;
	page_flags(&y->page[pfn], id << PAGE_QUEUE_SHIFT, PAGE_QUEUE_MASK);
	if (q->tail == POLICY_NONE)
		q->head = pfn;
	else
		y->page[q->tail].link = pfn;
	q->tail = pfn;
	q->len++;
}

static uint32_t take(struct policy *y, struct policy_queue *q)
{
	uint32_t pfn = q->head;

	if (pfn == POLICY_NONE)
		return pfn;
	q->head = y->page[pfn].link;
	if (q->head == POLICY_NONE)
		q->tail = POLICY_NONE;
	q->len--;
	page_flags(&y->page[pfn], 0, PAGE_QUEUE_MASK);
	return pfn;
}

static unsigned int freq(uint32_t word)
{
	return (word & PAGE_FREQ_MASK) >> PAGE_FREQ_SHIFT;
}

static void set_freq(struct page *pg, unsigned int f)
{
	page_flags(pg, f << PAGE_FREQ_SHIFT, PAGE_FREQ_MASK);
}

/* The aging byte of one more look (Muraoka and Kourai). */
static void age(struct page *pg, bool touched)
{
	uint32_t a = page_word(pg) >> PAGE_AGE_SHIFT;

	a = a >> 1 | (touched ? 0x80 : 0);
	page_flags(pg, a << PAGE_AGE_SHIFT, PAGE_AGE_MASK);
}

uint64_t policy_queued(const struct policy *y)
{
	return y->small.len + y->main.len + y->probation.len;
}

void policy_add(struct policy *y, uint32_t pfn)
{
	struct page *pg = &y->page[pfn];
	uint32_t w = page_word(pg);

	if (queue_of(w) != QUEUE_NONE)
		return;
	age(pg, true);
	set_freq(pg, 0);
	if (y->kind == POLICY_S3FIFO && pg->link &&
	    y->evictions - pg->link < y->main.len + y->probation.len) {
		y->ghost_hits++;
		page_flags(pg, 0, PAGE_WALKED);
		put(y, &y->main, QUEUE_MAIN, pfn);
	} else {
		put(y, &y->small, QUEUE_SMALL, pfn);
	}
}

void policy_adopt(struct policy *y, uint32_t pfn)
{
	struct page *pg = &y->page[pfn];
	uint32_t w = page_word(pg), a = w >> PAGE_AGE_SHIFT;

	if (queue_of(w) != QUEUE_NONE)
		return;
	set_freq(pg, a & 0x80 ? 3 : a & 0x40 ? 2 : a ? 1 : 0);
	if (a)
		put(y, &y->main, QUEUE_MAIN, pfn);
	else
		put(y, &y->small, QUEUE_SMALL, pfn);
}

void policy_keep(struct policy *y, uint32_t pfn)
{
	page_flags(&y->page[pfn], 0, PAGE_WALKED);
	put(y, &y->main, QUEUE_MAIN, pfn);
}

void policy_gone(struct policy *y, uint32_t pfn)
{
	y->evictions++;
	if (!y->evictions) /* 0 means never */
		y->evictions = 1;
	y->page[pfn].link = y->evictions;
}

/* ---- choosing ---- */

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, z = *(const uint32_t *)b;

	return x < z ? -1 : x > z;
}

static void sort(uint32_t *pfn, unsigned int n)
{
	for (unsigned int i = 1; i < n; i++)
		if (pfn[i] < pfn[i - 1]) {
			qsort(pfn, n, sizeof(*pfn), by_number);
			return;
		}
}

/* The next page that has to prove itself. Main's pages pay with their counter. */
static uint32_t next_candidate(struct policy *y)
{
	uint64_t passes = y->main.len;

	if (y->small.len > SMALLEST_QUEUE || !y->main.len)
		return take(y, &y->small);
	while (passes--) {
		uint32_t pfn = take(y, &y->main);
		unsigned int f = freq(page_word(&y->page[pfn]));

		if (f <= 1)
			return pfn;
		set_freq(&y->page[pfn], f - 1);
		put(y, &y->main, QUEUE_MAIN, pfn);
	}
	return take(y, &y->main);
}

/* Pages of probes were not mapped when they came: was it worth it to bring them? */
static void judge_probes(struct policy *y, const uint32_t *pfn, unsigned int n)
{
	uint32_t probe[BATCH];
	bool mapped[BATCH];
	unsigned int nr = 0;

	for (unsigned int i = 0; i < n; i++)
		if (page_word(&y->page[pfn[i]]) & PAGE_PROBE)
			probe[nr++] = pfn[i];
	if (!nr || !y->sampler.mapped(y->sampler.arg, probe, nr, mapped))
		return;
	for (unsigned int i = 0; i < nr; i++) {
		page_flags(&y->page[probe[i]], 0, PAGE_PROBE);
		if (mapped[i])
			y->probe_hits++;
		else
			y->probe_misses++;
	}
}

/* All but those of a walk: of them it is known how it will end. */
static bool unmap(struct policy *y, const uint32_t *pfn, unsigned int n)
{
	uint32_t asked[BATCH];
	unsigned int nr = 0;

	for (unsigned int i = 0; i < n; i++)
		if (!(page_word(&y->page[pfn[i]]) & PAGE_WALKED))
			asked[nr++] = pfn[i];
	return !nr || y->sampler.unmap(y->sampler.arg, asked, nr);
}

/* Queues a batch, unmapped; false: there is none. */
static bool extend_probation(struct policy *y)
{
	uint32_t pfn[BATCH];
	unsigned int n = 0;

	while (n < BATCH && (pfn[n] = next_candidate(y)) != POLICY_NONE)
		n++;
	if (!n)
		return false;
	sort(pfn, n);
	judge_probes(y, pfn, n);
	if (!unmap(y, pfn, n))
		y->kind = POLICY_FIFO;
	for (unsigned int i = 0; i < n; i++)
		put(y, &y->probation, QUEUE_PROBATION, pfn[i]);
	return true;
}

/* Looks at the oldest on probation; those not touched go to `out`. */
static unsigned int judge(struct policy *y, uint32_t *out, unsigned int max)
{
	unsigned int n = 0, nr_out = 0;
	uint32_t pfn[BATCH];
	bool mapped[BATCH];

	while (n < max && n < BATCH && (pfn[n] = take(y, &y->probation)) != POLICY_NONE)
		n++;
	sort(pfn, n);
	if (!y->sampler.mapped(y->sampler.arg, pfn, n, mapped))
		memset(mapped, 0, sizeof(mapped));
	for (unsigned int i = 0; i < n; i++) {
		struct page *pg = &y->page[pfn[i]];
		uint32_t w = page_word(pg);

		age(pg, mapped[i]);
		if (!mapped[i] || (w & PAGE_WALKED)) {
			y->untouched++;
			out[nr_out++] = pfn[i];
			continue;
		}
		y->touched++;
		page_flags(pg, 0, PAGE_PREFETCHED);
		set_freq(pg, freq(w) < 3 ? freq(w) + 1 : 3);
		put(y, &y->main, QUEUE_MAIN, pfn[i]);
	}
	return nr_out;
}

static unsigned int choose_oldest(struct policy *y, uint32_t *pfn, unsigned int max)
{
	struct policy_queue *const order[] = { &y->probation, &y->small, &y->main };
	unsigned int n = 0;

	for (unsigned int i = 0; i < 3; i++)
		while (n < max && (pfn[n] = take(y, order[i])) != POLICY_NONE)
			n++;
	sort(pfn, n);
	return n;
}

unsigned int policy_choose(struct policy *y, uint32_t *pfn, unsigned int max)
{
	uint64_t target = policy_queued(y) / PROBATION_SHARE, looked = 0;
	unsigned int n = 0, grow = GROW_BATCHES;

	if (y->kind == POLICY_FIFO)
		return choose_oldest(y, pfn, max);
	while (y->probation.len < target + max && grow-- && extend_probation(y))
		;
	/* Where everything is hot, something has to go all the same. */
	while (n < max && looked < 8 * (uint64_t)max) {
		uint64_t before = y->probation.len;

		n += judge(y, pfn + n, max - n);
		looked += before - y->probation.len;
		if (y->probation.len < target && !extend_probation(y) &&
		    !y->probation.len)
			break;
	}
	if (!n)
		return choose_oldest(y, pfn, max);
	sort(pfn, n);
	return n;
}
