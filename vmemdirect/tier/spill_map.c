/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file of entries, and the bitmaps of slots. Any thread, see the header. */
#include "vmemdirect/tier/spill_map.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"

#define MAGIC       "vmplaces"
#define VERSION     2
#define HEADER      (32u << 10)
#define SCAN_MAX    32768 /* entries looked at under one lock: 50 us */
#define WRITERS_MAX 64    /* write ranges remembered for repair; more: no claims */

struct file_header {
	char magic[8];
	uint32_t version, header_bytes;
	struct spill_places places;
};

_Static_assert(sizeof(struct file_header) <= HEADER, "the header fits its room");

struct slots {
	uint64_t nr, hint;
	struct spill_usage usage;
	int64_t held_ms;              /* when slots were held last */
	uint64_t *used, *trim, *held; /* owned: a bit a slot */
	uint64_t *doubt; /* in the file; NULL: the SSD, whose writes end with us */
};

struct range {
	uint64_t pfn;
	uint32_t nr;
};

struct spill_map {
	pthread_mutex_t lock;
	struct file_header *header; /* owned mapping, entries behind it */
	_Atomic uint64_t *entry;
	size_t map_bytes;
	/* How many pages lie where: by the places of their copies, + 1; 0: none. */
	_Atomic uint64_t pages[SPILL_PLACES_MAX + 1][SPILL_PLACES_MAX + 1];
	struct slots slots[SPILL_PLACES_MAX];
	struct range claim;
	spill_copy_t claim_first;
	bool claim_spoilt;
	unsigned int nr_writers, unknown_writers;
	struct range writer[WRITERS_MAX];
};

/* ---- bits ---- */

static bool bit(const uint64_t *map, uint64_t i)
{
	return map[i / 64] >> (i % 64) & 1;
}

static void set_bits(uint64_t *map, uint64_t i, uint64_t nr, bool on)
{
	for (; nr; nr--, i++)
		if (on)
			map[i / 64] |= UINT64_C(1) << (i % 64);
		else
			map[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

/* The first bit that is `on` in [from, to), or `to`. */
static uint64_t find_bit(const uint64_t *map, uint64_t from, uint64_t to, bool on)
{
	uint64_t i = from;

	while (i < to) {
		uint64_t w = (on ? map[i / 64] : ~map[i / 64]) >> (i % 64);

		if (w) {
			i += (uint64_t)__builtin_ctzll(w);
			return i < to ? i : to;
		}
		i = (i / 64 + 1) * 64;
	}
	return to;
}

/* The next run of bits that are `on`, searching round from *hint on. */
static uint32_t find_run(const uint64_t *map, uint64_t nr, uint64_t hint, bool on,
			 uint32_t max, uint64_t *ret)
{
	uint64_t at = find_bit(map, hint, nr, on);
	uint32_t n = 0;

	if (at == nr)
		at = find_bit(map, 0, nr, on);
	if (at == nr)
		return 0;
	while (n < max && at + n < nr && bit(map, at + n) == on)
		n++;
	*ret = at;
	return n;
}

/* ---- entries ---- */

static struct spill_copies unpack(uint64_t e)
{
	return (struct spill_copies){ { (uint32_t)e, (uint32_t)(e >> 32) } };
}

static uint64_t pack(struct spill_copies c)
{
	return (uint64_t)c.copy[1] << 32 | c.copy[0];
}

static void count_page(struct spill_map *m, struct spill_copies c, uint64_t n)
{
	atomic_fetch_add_explicit(
		&m->pages[c.copy[0] >> SPILL_SLOT_BITS][c.copy[1] >> SPILL_SLOT_BITS],
		n, memory_order_relaxed);
}

struct spill_copies spill_map_get(const struct spill_map *m, uint64_t pfn)
{
	return unpack(atomic_load_explicit(&m->entry[pfn], memory_order_acquire));
}

static void set_entry(struct spill_map *m, uint64_t pfn, struct spill_copies c)
{
	uint64_t was =
		atomic_exchange_explicit(&m->entry[pfn], pack(c), memory_order_acq_rel);

	count_page(m, unpack(was), UINT64_MAX); /* one less */
	count_page(m, c, 1);
}

void spill_map_set(struct spill_map *m, uint64_t pfn, struct spill_copies c)
{
	pthread_mutex_lock(&m->lock);
	set_entry(m, pfn, c);
	pthread_mutex_unlock(&m->lock);
}

uint64_t spill_map_degraded(const struct spill_map *m, uint32_t down)
{
	const struct spill_places *p = &m->header->places;
	uint64_t n = 0;

	for (unsigned int a = 1; p->copies > 1 && a <= p->nr; a++)
		for (unsigned int b = 0; !p->place[a - 1].local && b <= p->nr; b++)
			if (!b || ((down >> (a - 1) | down >> (b - 1)) & 1))
				n += atomic_load_explicit(&m->pages[a][b],
							  memory_order_relaxed);
	return n;
}

/* ---- slots ---- */

/* Something is under way there, or may be, that outlives us if we are killed. */
static void set_doubt(struct spill_map *m, spill_copy_t first, uint32_t nr, bool on)
{
	struct slots *s = &m->slots[spill_place_of(first)];

	if (s->doubt)
		set_bits(s->doubt, spill_slot_of(first), nr, on);
}

static void doubt_pages(struct spill_map *m, uint64_t pfn, uint32_t nr, bool on)
{
	for (uint64_t i = pfn; i < pfn + nr; i++) {
		struct spill_copies c = spill_map_get(m, i);

		for (unsigned int k = 0; k < SPILL_COPIES_MAX; k++)
			if (c.copy[k])
				set_doubt(m, c.copy[k], 1, on);
	}
}

uint32_t spill_map_alloc(struct spill_map *m, unsigned int place, uint32_t max,
			 uint64_t *ret_slot)
{
	struct slots *s = &m->slots[place];
	uint32_t n;

	pthread_mutex_lock(&m->lock);
	n = s->usage.free ? find_run(s->used, s->nr, s->hint, false, max, ret_slot) : 0;
	if (n) {
		set_bits(s->used, *ret_slot, n, true);
		s->usage.free -= n;
		s->usage.used += n;
		s->hint = *ret_slot + n < s->nr ? *ret_slot + n : 0;
	} else if (s->usage.to_trim) {
		n = find_run(s->trim, s->nr, 0, true, max, ret_slot);
		set_bits(s->trim, *ret_slot, n, false);
		s->usage.to_trim -= n;
	}
	if (n)
		set_doubt(m, spill_copy(place, *ret_slot), n, true);
	pthread_mutex_unlock(&m->lock);
	return n;
}

static void give_back(struct spill_map *m, spill_copy_t first, uint32_t nr)
{
	struct slots *s = &m->slots[spill_place_of(first)];

	if (m->header->places.place[spill_place_of(first)].local) {
		set_bits(s->used, spill_slot_of(first), nr, false);
		s->usage.free += nr;
		s->usage.used -= nr;
		return;
	}
	set_bits(s->trim, spill_slot_of(first), nr, true);
	set_doubt(m, first, nr, false);
	s->usage.to_trim += nr;
}

void spill_map_give_back(struct spill_map *m, spill_copy_t first, uint32_t nr)
{
	pthread_mutex_lock(&m->lock);
	give_back(m, first, nr);
	pthread_mutex_unlock(&m->lock);
}

void spill_map_free(struct spill_map *m, spill_copy_t first, uint32_t nr)
{
	struct slots *s = &m->slots[spill_place_of(first)];

	pthread_mutex_lock(&m->lock);
	set_bits(s->used, spill_slot_of(first), nr, false);
	set_doubt(m, first, nr, false);
	s->usage.free += nr;
	s->usage.used -= nr;
	pthread_mutex_unlock(&m->lock);
}

void spill_map_hold(struct spill_map *m, spill_copy_t first, uint32_t nr)
{
	struct slots *s = &m->slots[spill_place_of(first)];

	pthread_mutex_lock(&m->lock);
	set_bits(s->held, spill_slot_of(first), nr, true);
	set_doubt(m, first, nr, true);
	s->usage.held += nr;
	s->held_ms = clock_ms();
	pthread_mutex_unlock(&m->lock);
}

void spill_map_release(struct spill_map *m, unsigned int place, int64_t ms)
{
	struct slots *s = &m->slots[place];
	uint64_t at = 0;
	uint32_t n;

	pthread_mutex_lock(&m->lock);
	while (s->usage.held && clock_ms() - s->held_ms > ms) {
		n = find_run(s->held, s->nr, at, true, UINT32_MAX, &at);
		set_bits(s->held, at, n, false);
		s->usage.held -= n;
		give_back(m, spill_copy(place, at), n);
	}
	pthread_mutex_unlock(&m->lock);
}

uint32_t spill_map_take_trim(struct spill_map *m, unsigned int place, uint32_t max,
			     uint64_t *ret_slot)
{
	struct slots *s = &m->slots[place];
	uint32_t n = 0;

	pthread_mutex_lock(&m->lock);
	if (s->usage.to_trim)
		n = find_run(s->trim, s->nr, 0, true, max, ret_slot);
	if (n) {
		set_bits(s->trim, *ret_slot, n, false);
		set_doubt(m, spill_copy(place, *ret_slot), n, true);
		s->usage.to_trim -= n;
	}
	pthread_mutex_unlock(&m->lock);
	return n;
}

void spill_map_usage(struct spill_map *m, unsigned int place, struct spill_usage *ret)
{
	pthread_mutex_lock(&m->lock);
	*ret = m->slots[place].usage;
	pthread_mutex_unlock(&m->lock);
}

/* ---- forgetting, repair ---- */

static bool overlap(const struct range *r, uint64_t pfn, uint32_t nr)
{
	return r->nr && pfn < r->pfn + r->nr && r->pfn < pfn + nr;
}

void spill_map_forget(struct spill_map *m, uint64_t pfn, uint32_t nr)
{
	while (nr && !atomic_load_explicit(&m->entry[pfn], memory_order_relaxed))
		pfn++, nr--;
	if (!nr)
		return;
	pthread_mutex_lock(&m->lock);
	if (overlap(&m->claim, pfn, nr))
		m->claim_spoilt = true;
	for (uint32_t i = 0; i < nr; i++) {
		struct spill_copies c = spill_map_get(m, pfn + i);

		for (unsigned int k = 0; k < SPILL_COPIES_MAX; k++)
			if (c.copy[k])
				give_back(m, c.copy[k], 1);
		if (c.copy[0])
			set_entry(m, pfn + i, (struct spill_copies){ 0 });
	}
	pthread_mutex_unlock(&m->lock);
}

static bool being_written(const struct spill_map *m, uint64_t pfn)
{
	for (unsigned int i = 0; i < m->nr_writers; i++)
		if (overlap(&m->writer[i], pfn, 1))
			return true;
	return false;
}

/* The copy that a page has left if it is to get a second one now, else 0. */
static spill_copy_t repairable(const struct spill_map *m, const struct spill_away *away,
			       uint64_t pfn)
{
	struct spill_copies c = spill_map_get(m, pfn);
	spill_copy_t left = 0;

	for (unsigned int k = 0; k < SPILL_COPIES_MAX; k++) {
		unsigned int place = spill_place_of(c.copy[k]);

		if (!c.copy[k] || away->gone >> place & 1)
			continue;
		if (left || m->header->places.place[place].local ||
		    away->down >> place & 1)
			return 0;
		left = c.copy[k];
	}
	return left && !being_written(m, pfn) ? left : 0;
}

uint32_t spill_map_claim(struct spill_map *m, const struct spill_away *away,
			 uint64_t from, uint32_t max, uint64_t *ret_pfn,
			 spill_copy_t *ret_first)
{
	uint64_t all = m->header->places.nr_pages, pfn = from;
	uint64_t end = all - from > SCAN_MAX ? from + SCAN_MAX : all;
	spill_copy_t first = 0;
	uint32_t n = 0;

	pthread_mutex_lock(&m->lock);
	while (pfn < end && (m->unknown_writers || !(first = repairable(m, away, pfn))))
		pfn++;
	if (pfn < end) {
		for (n = 1; n < max && pfn + n < end &&
			    repairable(m, away, pfn + n) == first + n;)
			n++;
		m->claim = (struct range){ pfn, n };
		m->claim_first = first;
		m->claim_spoilt = false;
	}
	pthread_mutex_unlock(&m->lock);
	*ret_pfn = pfn;
	*ret_first = first;
	return n;
}

bool spill_map_repaired(struct spill_map *m, spill_copy_t second)
{
	bool good;

	pthread_mutex_lock(&m->lock);
	good = !m->claim_spoilt;
	for (uint32_t i = 0; second && good && i < m->claim.nr; i++) {
		const struct spill_copies c = { { m->claim_first + i, second + i } };
		struct spill_copies old = spill_map_get(m, m->claim.pfn + i);

		set_entry(m, m->claim.pfn + i, c);
		for (unsigned int k = 0; k < SPILL_COPIES_MAX; k++)
			if (old.copy[k] && old.copy[k] != c.copy[0])
				give_back(m, old.copy[k], 1);
	}
	if (second && good)
		set_doubt(m, second, m->claim.nr, false);
	m->claim.nr = 0;
	pthread_mutex_unlock(&m->lock);
	return good;
}

bool spill_map_writing(struct spill_map *m, uint64_t pfn, uint32_t nr)
{
	bool may;

	pthread_mutex_lock(&m->lock);
	may = !overlap(&m->claim, pfn, nr);
	if (may && m->nr_writers == WRITERS_MAX)
		m->unknown_writers++;
	else if (may)
		m->writer[m->nr_writers++] = (struct range){ pfn, nr };
	if (may)
		doubt_pages(m, pfn, nr, true);
	pthread_mutex_unlock(&m->lock);
	return may;
}

void spill_map_written(struct spill_map *m, uint64_t pfn, uint32_t nr)
{
	unsigned int i = 0;

	pthread_mutex_lock(&m->lock);
	while (i < m->nr_writers && (m->writer[i].pfn != pfn || m->writer[i].nr != nr))
		i++;
	if (i < m->nr_writers)
		m->writer[i] = m->writer[--m->nr_writers];
	else
		m->unknown_writers--;
	doubt_pages(m, pfn, nr, false);
	pthread_mutex_unlock(&m->lock);
}

/* ---- life ---- */

void spill_map_close(struct spill_map *m)
{
	if (!m)
		return;
	for (unsigned int i = 0; i < SPILL_PLACES_MAX; i++) {
		free(m->slots[i].used);
		free(m->slots[i].trim);
		free(m->slots[i].held);
	}
	if (m->header)
		munmap(m->header, m->map_bytes);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

static size_t words_of(const struct spill_place *p)
{
	return p->nr_slots / 64 + 1;
}

/* The header, the entries, and for every export a bit a slot. */
static size_t file_bytes(const struct spill_places *p)
{
	size_t n = HEADER + p->nr_pages * sizeof(uint64_t);

	for (unsigned int i = 0; i < p->nr; i++)
		n += p->place[i].local ? 0 : words_of(&p->place[i]) * 8;
	return n;
}

static int make_slots(struct spill_map *m)
{
	const struct spill_places *p = &m->header->places;
	uint64_t *doubt = (uint64_t *)(m->entry + p->nr_pages);

	for (unsigned int i = 0; i < p->nr; i++) {
		struct slots *s = &m->slots[i];
		size_t words = words_of(&p->place[i]);

		s->nr = p->place[i].nr_slots;
		s->used = calloc(words, 8);
		s->trim = calloc(words, 8);
		s->held = calloc(words, 8);
		if (!s->used || !s->trim || !s->held)
			return -ENOMEM;
		s->usage.free = s->nr;
		if (!p->place[i].local) { /* the label */
			s->doubt = doubt;
			doubt += words;
			set_bits(s->used, 0, 1, true);
			s->usage.free--;
			s->usage.used++;
		}
	}
	return 0;
}

static int map_file(int fd, size_t bytes, struct spill_map *m)
{
	m->map_bytes = bytes;
	m->header = mmap(NULL, m->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (m->header == MAP_FAILED) {
		m->header = NULL;
		return -errno;
	}
	m->entry = (_Atomic uint64_t *)((uint8_t *)m->header + HEADER);
	return 0;
}

static struct spill_map *new_map(void)
{
	struct spill_map *m = calloc(1, sizeof(*m));

	if (m)
		pthread_mutex_init(&m->lock, NULL);
	return m;
}

int spill_map_create(const char *path, const struct spill_places *places,
		     struct spill_map **ret)
{
	_cleanup_close_ int fd = -1;
	struct spill_map *m = new_map();
	int r = -ENOMEM;

	if (!m)
		return r;
	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	/* (Reserved: a full tmpfs would be a SIGBUS.) */
	r = fd < 0 ? -errno : -posix_fallocate(fd, 0, (off_t)file_bytes(places));
	if (!r)
		r = map_file(fd, file_bytes(places), m);
	if (!r) {
		m->header->version = VERSION;
		m->header->header_bytes = HEADER;
		m->header->places = *places;
		r = make_slots(m);
	}
	if (r < 0) {
		spill_map_close(m);
		return r;
	}
	memcpy(m->header->magic, MAGIC, sizeof(m->header->magic));
	*ret = m;
	return 0;
}

/*
 * Where pages lie is in use, unless it was being written: such a page's bytes do not
 * count yet (its owner has them still), and the last daemon's may come later.
 */
static int take_page(struct spill_map *m, uint64_t pfn)
{
	const struct spill_places *p = &m->header->places;
	struct spill_copies c = spill_map_get(m, pfn), good = { 0 };
	unsigned int n = 0;

	for (unsigned int k = 0; k < SPILL_COPIES_MAX; k++) {
		unsigned int place = spill_place_of(c.copy[k]);
		uint64_t slot = spill_slot_of(c.copy[k]);

		if (!c.copy[k])
			continue;
		if (place >= p->nr || slot >= m->slots[place].nr)
			return -EPROTO;
		if (m->slots[place].doubt && bit(m->slots[place].doubt, slot))
			continue;
		set_bits(m->slots[place].used, slot, 1, true);
		good.copy[n++] = c.copy[k];
	}
	atomic_store(&m->entry[pfn], pack(good));
	count_page(m, good, 1);
	return 0;
}

/* Of all else, what is in doubt is held; the rest may have bytes of the last daemon's. */
static int take_stock(struct spill_map *m)
{
	const struct spill_places *p = &m->header->places;
	int r = 0;

	for (uint64_t i = 0; !r && i < p->nr_pages; i++)
		r = take_page(m, i);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < p->nr; i++) {
		struct slots *s = &m->slots[i];

		for (uint64_t k = 0; k < s->nr; k++)
			if (!bit(s->used, k) && s->doubt) {
				bool held = bit(s->doubt, k);

				set_bits(held ? s->held : s->trim, k, 1, true);
				set_bits(s->used, k, 1, true);
				s->usage.held += held;
				s->usage.to_trim += !held;
			}
		s->held_ms = clock_ms();
		s->usage.used = 0;
		for (uint64_t k = 0; k < s->nr; k++)
			s->usage.used += bit(s->used, k);
		s->usage.free = s->nr - s->usage.used;
	}
	return 0;
}

static bool plausible(const struct file_header *h, uint64_t bytes)
{
	const struct spill_places *p = &h->places;

	if (memcmp(h->magic, MAGIC, sizeof(h->magic)) != 0 || h->version != VERSION ||
	    h->header_bytes != HEADER || !p->nr || p->nr > SPILL_PLACES_MAX ||
	    !p->copies || p->copies > SPILL_COPIES_MAX ||
	    p->nr_pages > (bytes - HEADER) / 8)
		return false;
	for (unsigned int i = 0; i < p->nr; i++)
		if (!p->place[i].nr_slots || p->place[i].nr_slots > SPILL_SLOTS_MAX ||
		    p->place[i].export.addr_len > sizeof(struct sockaddr_storage))
			return false;
	return bytes >= file_bytes(p);
}

int spill_map_open(const char *path, struct spill_places *ret_places,
		   struct spill_map **ret)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
	struct spill_map *m = new_map();
	struct stat st;
	int r = -ENOMEM;

	if (!m)
		return r;
	r = fd < 0 || fstat(fd, &st) < 0 ? -errno : 0;
	if (!r && st.st_size < (off_t)HEADER)
		r = -EPROTO;
	if (!r)
		r = map_file(fd, (size_t)st.st_size, m);
	if (!r && !plausible(m->header, (uint64_t)st.st_size))
		r = -EPROTO;
	if (!r)
		r = make_slots(m);
	if (!r)
		r = take_stock(m);
	if (r < 0) {
		spill_map_close(m);
		return r;
	}
	*ret_places = m->header->places;
	*ret = m;
	return 0;
}
