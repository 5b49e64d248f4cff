/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper of a spill tier, a thread: each second it reads every export's label
 * (which tells a lost host, one that is back, and one that was made anew), has the
 * slots trimmed that are no longer needed, and gives pages that have one copy left a
 * second one (at once if the other was lost with its export, after GONE_MS if its host
 * is down). Uses queues of its own; waits for events and its clock only.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/list.h"
#include "lib/log.h"
#include "vmemdirect/tier/spill_priv.h"

#define ROUND_MS     1000
#define TRIMS        4
#define TRIM_PAGES   (1u << 16) /* 256 MiB */
#define REPAIR_PAGES 64
#define DEPTH        (TRIMS + 2)
#define ALARM_MS     60000 /* a degraded state is said again */
#define GONE_MS      30000 /* down for so long: longer than an upgrade of memserver */

/*
 * After the last write or trim that was not answered. Since then nothing of it is sent
 * any more (nbd.h), what was on its way in the network has arrived or is lost, and the
 * server answers: what it had taken in it has done by then, unless one of its threads
 * stands still for longer than this while others work.
 */
#define HOLD_MS 60000

struct trim {
	struct tier_io io;
	struct warden *w;
	bool busy;
};

/* One export. */
struct warden {
	struct spill_keeper *k;
	unsigned int place;
	struct tier_queue *queue; /* owned */
	int64_t up_ms;            /* when it was there last */
	struct tier_io look;
	uint8_t *label; /* borrowed: a page of the keeper's buffer */
	uint64_t life;  /* losses when it was asked for: what it says is of that life */
	bool looking, cannot_trim;
	unsigned int under_way;
	struct trim trim[TRIMS];
};

enum repair_step { REPAIR_IDLE, REPAIR_READING, REPAIR_WRITING };

struct spill_keeper {
	struct spill_tier *t;
	pthread_t thread;
	int stop_fd; /* owned */
	_Atomic bool stop;
	uint8_t *buffer; /* owned mapping: a label for each place, the repair's pages */
	int64_t next_round_ms, next_alarm_ms;
	bool alarmed;
	struct spill_away away; /* as of this round */
	enum repair_step step;
	struct tier_io repair;
	uint64_t repair_pfn; /* what is being repaired, or looked at next */
	spill_copy_t first, second;
	struct warden warden[SPILL_PLACES_MAX];
};

static bool is_export(const struct spill_keeper *k, unsigned int i)
{
	return !k->t->places.place[i].local;
}

static int submit(struct warden *w, struct tier_io *io)
{
	int r = tier_submit(w->queue, io);

	w->under_way += !r;
	return r;
}

/* ---- the label ---- */

static void looked(struct tier_io *io)
{
	struct warden *w = container_of(io, struct warden, look);
	struct tier *tier = w->k->t->place[w->place];

	w->under_way--;
	w->looking = false;
	if (!io->result && w->life == nbd_tier_losses(tier))
		nbd_tier_label(tier,
			       nbd_export_labelled(nbd_tier_export(tier), io->buf));
}

static void look(struct warden *w)
{
	if (w->looking)
		return;
	w->life = nbd_tier_losses(w->k->t->place[w->place]);
	w->look = (struct tier_io){ .buf = w->label, .nr_pages = 1, .done = looked };
	w->looking = !submit(w, &w->look);
}

/* ---- trimming ---- */

static void trimmed(struct tier_io *io)
{
	struct trim *m = container_of(io, struct trim, io);
	struct warden *w = m->w;
	spill_copy_t first = spill_copy(w->place, io->pfn);

	w->under_way--;
	m->busy = false;
	w->cannot_trim |= io->result == -EOPNOTSUPP;
	if (!io->result || w->cannot_trim)
		spill_map_free(w->k->t->map, first, io->nr_pages);
	else if (io->result == -ETIMEDOUT) /* the server may still do it */
		spill_map_hold(w->k->t->map, first, io->nr_pages);
	else
		spill_map_give_back(w->k->t->map, first, io->nr_pages);
}

static void trim_some(struct warden *w)
{
	struct spill_map *map = w->k->t->map;

	for (unsigned int i = 0; i < TRIMS; i++) {
		struct trim *m = &w->trim[i];
		uint64_t slot;
		uint32_t n;

		if (m->busy)
			continue;
		n = spill_map_take_trim(map, w->place, TRIM_PAGES, &slot);
		if (!n)
			return;
		m->w = w;
		m->io = (struct tier_io){
			.pfn = slot, .nr_pages = n, .discard = true, .done = trimmed
		};
		m->busy = !submit(w, &m->io);
		if (!m->busy)
			spill_map_give_back(map, spill_copy(w->place, slot), n);
	}
}

/* ---- second copies ---- */

static struct warden *warden_of(struct spill_keeper *k, spill_copy_t c)
{
	return &k->warden[spill_place_of(c)];
}

/* `result`: of the write of the second copy, -ECANCELED if it was not tried. */
static void end_repair(struct spill_keeper *k, uint32_t nr, int result)
{
	struct spill_map *map = k->t->map;
	bool taken = spill_map_repaired(map, result ? 0 : k->second) && !result;

	if (result == -ETIMEDOUT)
		spill_map_hold(map, k->second, nr);
	else if (!taken)
		spill_map_give_back(map, k->second, nr);
	k->repair_pfn += nr;
	k->step = REPAIR_IDLE;
}

static void repair_stepped(struct tier_io *io)
{
	struct spill_keeper *k = container_of(io, struct spill_keeper, repair);

	if (k->step == REPAIR_WRITING) {
		warden_of(k, k->second)->under_way--;
		end_repair(k, io->nr_pages, io->result);
		return;
	}
	warden_of(k, k->first)->under_way--;
	k->step = REPAIR_WRITING;
	io->pfn = spill_slot_of(k->second);
	io->write = true;
	if (io->result < 0 || submit(warden_of(k, k->second), io) < 0)
		end_repair(k, io->nr_pages, -ECANCELED);
}

/* Claims pages and slots for their second copies; how many. */
static uint32_t claim(struct spill_keeper *k)
{
	struct spill_map *map = k->t->map;
	uint64_t slot, pfn = k->repair_pfn;
	uint32_t n = spill_map_claim(map, &k->away, pfn, REPAIR_PAGES, &k->repair_pfn,
				     &k->first),
		 m;
	spill_copy_t first;
	int to;

	if (!n)
		return 0;
	to = spill_is_up(k->t, spill_place_of(k->first))
		     ? spill_choose(k->t, false,
				    (int)k->t->places.place[spill_place_of(k->first)]
					    .export.host)
		     : -1;
	m = to < 0 ? 0 : spill_map_alloc(map, (unsigned int)to, n, &slot);
	if (m == n) {
		k->second = spill_copy((unsigned int)to, slot);
		return n;
	}
	spill_map_repaired(map, 0);
	pfn = k->repair_pfn;
	k->repair_pfn += n;
	if (!m)
		return 0;
	/* There are fewer slots in a row: so many pages, then. */
	k->second = spill_copy((unsigned int)to, slot);
	n = spill_map_claim(map, &k->away, pfn, m, &k->repair_pfn, &first);
	if (n != m || k->repair_pfn != pfn || first != k->first) {
		if (n)
			spill_map_repaired(map, 0);
		spill_map_give_back(map, k->second, m); /* some may have had bytes */
		return 0;
	}
	return n;
}

/* (With one host there is no use in going through all pages.) */
static bool are_two_up(const struct spill_keeper *k)
{
	const struct spill_places *p = &k->t->places;
	uint32_t hosts = 0;

	for (unsigned int i = 0; i < p->nr; i++)
		if (is_export(k, i) && !(k->away.down >> i & 1))
			hosts |= UINT32_C(1) << p->place[i].export.host;
	return hosts & (hosts - 1);
}

static void repair_some(struct spill_keeper *k)
{
	uint32_t n;

	if (k->step != REPAIR_IDLE || k->repair_pfn >= k->t->places.nr_pages ||
	    !spill_map_degraded(k->t->map, k->away.down) || !are_two_up(k))
		return;
	n = claim(k);
	if (!n)
		return;
	k->step = REPAIR_READING;
	k->repair = (struct tier_io){
		.buf = k->buffer + SPILL_PLACES_MAX * TIER_PAGE_SIZE,
		.pfn = spill_slot_of(k->first),
		.nr_pages = n,
		.done = repair_stepped,
	};
	if (submit(warden_of(k, k->first), &k->repair) < 0)
		end_repair(k, n, -ECANCELED);
}

/* ---- the loop ---- */

static void alarm_all(struct spill_keeper *k, int64_t now)
{
	struct spill_tier *t = k->t;
	uint64_t degraded = spill_map_degraded(t->map, k->away.down);

	if (degraded && (!k->alarmed || now >= k->next_alarm_ms)) {
		log_warn("degraded: %llu pages have one copy left or none",
			 (unsigned long long)degraded);
		k->next_alarm_ms = now + ALARM_MS;
	}
	if (!degraded && k->alarmed)
		log_note("every page on exports has its second copy again");
	k->alarmed = degraded > 0;
}

static void look_who_is_away(struct spill_keeper *k, int64_t now)
{
	struct spill_tier *t = k->t;

	k->away = (struct spill_away){ .down = spill_down(t) };
	for (unsigned int i = 0; i < t->places.nr; i++) {
		struct warden *w = &k->warden[i];

		if (!(k->away.down >> i & 1))
			w->up_ms = now;
		else if (nbd_tier_state(t->place[i]) == NBD_REBORN ||
			 now - w->up_ms > GONE_MS)
			k->away.gone |= UINT32_C(1) << i;
	}
}

static void round_(struct spill_keeper *k, int64_t now)
{
	struct spill_tier *t = k->t;

	for (unsigned int i = 0; i < t->places.nr; i++) {
		if (!is_export(k, i))
			continue;
		look(&k->warden[i]);
		if (spill_is_up(t, i))
			spill_map_release(t->map, i, HOLD_MS);
	}
	look_who_is_away(k, now);
	if (k->repair_pfn >= t->places.nr_pages)
		k->repair_pfn = 0;
	alarm_all(k, now);
	k->next_round_ms = now + ROUND_MS;
}

/* True: something may be done at once. */
static bool work(struct spill_keeper *k)
{
	uint64_t at = k->repair_pfn;
	unsigned int n = 0;

	for (unsigned int i = 0; i < k->t->places.nr; i++) {
		if (!is_export(k, i))
			continue;
		n += tier_reap(k->warden[i].queue);
		if (spill_is_up(k->t, i))
			trim_some(&k->warden[i]);
	}
	repair_some(k);
	return n || (k->step == REPAIR_IDLE && k->repair_pfn != at);
}

static void sleep_for_event(struct spill_keeper *k)
{
	struct pollfd fd[SPILL_PLACES_MAX + 1] = { { .fd = k->stop_fd,
						     .events = POLLIN } };
	int64_t left = k->next_round_ms - clock_ms();
	nfds_t n = 1;

	for (unsigned int i = 0; i < k->t->places.nr; i++)
		if (is_export(k, i) && k->warden[i].under_way)
			fd[n++] = (struct pollfd){ .fd = tier_fd(k->warden[i].queue),
						   .events = POLLIN };
	if (left > 0)
		poll(fd, n, (int)left);
}

static void *keeper_main(void *arg)
{
	struct spill_keeper *k = arg;

	while (!atomic_load(&k->stop)) {
		int64_t now = clock_ms();

		if (now >= k->next_round_ms)
			round_(k, now);
		if (!work(k))
			sleep_for_event(k);
	}
	return NULL;
}

/* ---- life ---- */

#define BUFFER_BYTES ((size_t)(SPILL_PLACES_MAX + REPAIR_PAGES) * TIER_PAGE_SIZE)

static void keeper_free(struct spill_keeper *k)
{
	for (unsigned int i = 0; i < SPILL_PLACES_MAX; i++)
		tier_queue_close(k->warden[i].queue);
	if (k->buffer)
		munmap(k->buffer, BUFFER_BYTES);
	if (k->stop_fd >= 0)
		close(k->stop_fd);
	free(k);
}

void spill_keeper_stop(struct spill_keeper *k)
{
	uint64_t one = 1;

	if (!k)
		return;
	atomic_store(&k->stop, true);
	while (write(k->stop_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	pthread_join(k->thread, NULL);
	keeper_free(k); /* (what was under way ends with its connection) */
}

static int start_thread(struct spill_keeper *k)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	r = -pthread_create(&k->thread, NULL, keeper_main, k);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

int spill_keeper_start(struct spill_tier *t, struct spill_keeper **ret)
{
	struct spill_keeper *k = calloc(1, sizeof(*k));
	int r = 0;

	if (!k)
		return -ENOMEM;
	k->t = t;
	k->stop_fd = eventfd(0, EFD_CLOEXEC);
	k->buffer = mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (k->buffer == MAP_FAILED)
		k->buffer = NULL;
	if (k->stop_fd < 0 || !k->buffer)
		r = -ENOMEM;
	for (unsigned int i = 0; !r && i < t->places.nr; i++) {
		struct warden *w = &k->warden[i];

		w->k = k;
		w->place = i;
		w->label = k->buffer ? k->buffer + (size_t)i * TIER_PAGE_SIZE : NULL;
		if (is_export(k, i))
			r = tier_queue_open(t->place[i], DEPTH, &w->queue);
	}
	if (!r)
		r = start_thread(k);
	if (r < 0) {
		keeper_free(k);
		return r;
	}
	*ret = k;
	return 0;
}
