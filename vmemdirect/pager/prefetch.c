/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Faults in, plans out; see prefetch.h for the rules. Fault thread. */
#include "vmemdirect/pager/prefetch.h"

#include <string.h>

#define FIRST_WINDOW  8
#define CLUSTER_MAX   16
#define CLUSTER_PROBE 8  /* pages of a probe while the cluster is smaller */
#define PROBE_EVERY   64 /* faults without a trend */
#define PROBE_JUDGED  64 /* pages until a verdict */

void prefetch_init(struct prefetch *f, uint64_t nr_pages, uint32_t max_window)
{
	memset(f, 0, sizeof(*f));
	f->nr_pages = nr_pages;
	f->max_window = max_window;
	f->cluster = 1;
}

/* Cuts a plan off at the ends of the memory. False: nothing is left. */
static bool plan(const struct prefetch *f, uint64_t pfn, int64_t stride, uint32_t nr,
		 struct prefetch_plan *ret)
{
	uint64_t room;

	if (pfn >= f->nr_pages || !stride)
		return false;
	room = stride > 0 ? (f->nr_pages - 1 - pfn) / (uint64_t)stride
			  : pfn / (uint64_t)-stride;
	*ret = (struct prefetch_plan){
		.pfn = pfn,
		.stride = stride,
		.nr = nr - 1 <= room ? nr : (uint32_t)room + 1,
	};
	return true;
}

/* ---- streams ---- */

/* How many strides `pfn` lies before the stream's end; false: not on its row. */
static bool steps_before(const struct prefetch_stream *s, uint64_t pfn, int64_t *ret)
{
	int64_t gap = (int64_t)(s->next - pfn);

	if (!s->used || gap % s->stride)
		return false;
	*ret = gap / s->stride;
	return true;
}

static uint32_t doubled(const struct prefetch *f, uint32_t window)
{
	return window * 2 < f->max_window ? window * 2 : f->max_window;
}

/* Asks for the stream's next window, beginning at its end. */
static bool extend(struct prefetch *f, struct prefetch_stream *s,
		   struct prefetch_plan *ret)
{
	s->used = f->faults;
	if (!plan(f, s->next, s->stride, s->window, ret)) {
		s->used = 0; /* walked out of the memory */
		return false;
	}
	ret->walk = true;
	s->next += (uint64_t)(s->stride * (int64_t)ret->nr);
	return true;
}

static bool walk(struct prefetch *f, uint64_t pfn, struct prefetch_plan *ret,
		 bool *known)
{
	int64_t steps;

	*known = false;
	for (unsigned int i = 0; i < PREFETCH_STREAMS; i++) {
		struct prefetch_stream *s = &f->stream[i];

		if (!steps_before(s, pfn, &steps))
			continue;
		if (steps == 0) { /* right behind what was fetched */
			*known = true;
			s->window = doubled(f, s->window);
			s->next = pfn + (uint64_t)s->stride;
			return extend(f, s, ret);
		}
		if (steps > 0 && steps <= s->window) {
			/* Fetched, and gone again before it was used. */
			*known = true;
			s->window = s->window > 2 ? s->window / 2 : 1;
			s->next = pfn + (uint64_t)s->stride;
			return extend(f, s, ret);
		}
	}
	return false;
}

bool prefetch_on_inflight(struct prefetch *f, uint64_t pfn, struct prefetch_plan *ret)
{
	int64_t steps;

	if (!f->max_window)
		return false;
	f->faults++;
	for (unsigned int i = 0; i < PREFETCH_STREAMS; i++) {
		struct prefetch_stream *s = &f->stream[i];

		if (!steps_before(s, pfn, &steps) || steps <= 0 || steps > s->window)
			continue;
		if (steps > s->window / 2)
			return false; /* enough is under way */
		s->window = doubled(f, s->window);
		return extend(f, s, ret);
	}
	return false;
}

void prefetch_cut(struct prefetch *f, const struct prefetch_plan *rest)
{
	uint64_t end = rest->pfn + (uint64_t)(rest->stride * (int64_t)rest->nr);

	for (unsigned int i = 0; i < PREFETCH_STREAMS; i++)
		if (f->stream[i].used && f->stream[i].next == end &&
		    f->stream[i].stride == rest->stride)
			f->stream[i].next = rest->pfn;
}

/* ---- trends ---- */

static int64_t newest(const struct prefetch *f, unsigned int i)
{
	return f->delta[(f->next_delta + PREFETCH_HISTORY - 1 - i) % PREFETCH_HISTORY];
}

/* Boyer and Moore's majority vote over the newest w deltas; 0: none. */
static int64_t majority(const struct prefetch *f, unsigned int w)
{
	unsigned int votes = 0, n = 0;
	int64_t d = 0;

	for (unsigned int i = 0; i < w; i++) {
		if (!votes)
			d = newest(f, i);
		votes += newest(f, i) == d ? 1 : -1u;
	}
	for (unsigned int i = 0; i < w; i++)
		n += newest(f, i) == d;
	return n > w / 2 ? d : 0;
}

/* Where clusters of n pages are read, who walks page by page faults every n pages. */
static int64_t through_clusters(const struct prefetch *f, int64_t d)
{
	int64_t n = f->cluster;

	return d > 0 && d <= n ? 1 : d < 0 && -d <= n ? -1 : d;
}

static int64_t find_trend(const struct prefetch *f)
{
	for (unsigned int w = 8; w <= PREFETCH_HISTORY && w <= f->nr_deltas; w *= 2) {
		int64_t d = majority(f, w);

		if (d)
			return through_clusters(f, d);
	}
	return 0;
}

static bool is_recent(const struct prefetch *f, uint64_t pfn)
{
	for (unsigned int i = 0; i < f->nr_deltas; i++)
		if (f->recent[i] == pfn)
			return true;
	return false;
}

static int64_t find_neighbours(const struct prefetch *f, uint64_t pfn)
{
	if (is_recent(f, pfn - 1) && is_recent(f, pfn - 2))
		return 1;
	return is_recent(f, pfn + 1) && is_recent(f, pfn + 2) ? -1 : 0;
}

static void remember(struct prefetch *f, uint64_t pfn)
{
	f->recent[f->next_delta] = pfn;
	f->delta[f->next_delta] = (int64_t)(pfn - f->last_pfn);
	f->next_delta = (f->next_delta + 1) % PREFETCH_HISTORY;
	if (f->nr_deltas < PREFETCH_HISTORY)
		f->nr_deltas++;
	f->last_pfn = pfn;
}

static struct prefetch_stream *oldest(struct prefetch *f)
{
	struct prefetch_stream *s = &f->stream[0];

	for (unsigned int i = 1; i < PREFETCH_STREAMS; i++)
		if (f->stream[i].used < s->used)
			s = &f->stream[i];
	return s;
}

/* ---- clusters ---- */

static bool cluster(struct prefetch *f, uint64_t pfn, struct prefetch_plan *ret)
{
	bool probe = f->faults % PROBE_EVERY == 0;
	uint32_t nr = f->cluster;

	if (probe && nr < CLUSTER_PROBE)
		nr = CLUSTER_PROBE;
	if (nr > f->max_window)
		nr = f->max_window;
	if (nr < 2 || !plan(f, pfn / nr * nr, 1, nr, ret))
		return false;
	ret->probe = probe;
	return true;
}

void prefetch_probed(struct prefetch *f, uint64_t hits, uint64_t misses)
{
	f->probe_hits += (uint32_t)hits;
	f->probe_misses += (uint32_t)misses;
	if (f->probe_hits + f->probe_misses < PROBE_JUDGED)
		return;
	/*
	 * A page more in one read costs a fifth of a read of its own, but it drives
	 * another one out. Where accesses are random, a third of the probes are used,
	 * and so would those have been that they drove out: nothing is won below half.
	 */
	if (f->probe_hits > 2 * f->probe_misses)
		f->cluster = f->cluster < CLUSTER_MAX ? f->cluster * 2 : CLUSTER_MAX;
	else if (f->probe_hits < f->probe_misses && f->cluster > 1)
		f->cluster /= 2;
	f->probe_hits = f->probe_misses = 0;
}

bool prefetch_on_fault(struct prefetch *f, uint64_t pfn, struct prefetch_plan *ret)
{
	struct prefetch_stream *s;
	int64_t trend;
	bool known, more;

	if (!f->max_window)
		return false;
	f->faults++;
	more = walk(f, pfn, ret, &known);
	if (known) {
		f->last_pfn = pfn;
		return more;
	}
	remember(f, pfn);
	trend = find_trend(f);
	if (!trend)
		trend = find_neighbours(f, pfn);
	if (!trend || (int64_t)pfn + trend < 0)
		return cluster(f, pfn, ret);
	s = oldest(f);
	*s = (struct prefetch_stream){
		.next = pfn + (uint64_t)trend,
		.stride = trend,
		.window = FIRST_WINDOW < f->max_window ? FIRST_WINDOW : f->max_window,
	};
	/* The stream has them now. */
	f->nr_deltas = f->next_delta = 0;
	return extend(f, s, ret);
}
