/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Placement against a model: random pages, zeros and repetitions, every byte looked up
 * where the page table says it is. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/fault.h"
#include "vmemdirect/migrate/place.h"

#define PAGES  4096
#define FIRST  1024 /* pages of the first block */
#define LIMIT  1000
#define PAGE   GUEST_PAGE_SIZE
#define EVENTS 30000

struct world {
	struct guest g;
	struct page_table t;
	struct tier *tier;
	struct place *p;
	uint32_t version[PAGES]; /* 0: zero */
	char journal[64];
};

static struct world w;
static uint8_t pages[256][PAGE];

static void fill(uint8_t *page, uint64_t pfn, uint32_t version)
{
	for (size_t i = 0; i < PAGE / 4; i++)
		((uint32_t *)page)[i] =
			version ? (uint32_t)(pfn * 77777 + version * 13 + i + 1) : 0;
}

static void open_world(uint64_t limit)
{
	const struct tier_cfg cfg = { .nr_pages = PAGES };

	memset(&w, 0, sizeof(w));
	strcpy(w.g.name, "test");
	w.g.nr_blocks = 2;
	w.g.nr_pages = PAGES;
	for (unsigned int i = 0; i < 2; i++) {
		struct guest_block *b = &w.g.block[i];

		b->first_pfn = i ? FIRST : 0;
		b->size_bytes = (i ? PAGES - FIRST : FIRST) * PAGE;
		b->offset = i ? 8 * PAGE : 0;
		b->fd = memfd_create("block", MFD_CLOEXEC);
		assert_int_equal(ftruncate(b->fd, PAGES * PAGE), 0);
		/* What QEMU has put there before counts for nothing. */
		assert_int_equal(pwrite(b->fd, "old", 3, 16 * PAGE), 3);
	}
	snprintf(w.journal, sizeof(w.journal), "/tmp/place.%d", getpid());
	assert_int_equal(page_table_create(w.journal, &w.g, &w.t), 0);
	assert_int_equal(tier_open(&tier_null_ops, &cfg, &w.tier), 0);
	assert_int_equal(place_new(&w.g, &w.t, w.tier, limit, &w.p), 0);
}

static void close_world(void)
{
	place_free(w.p);
	tier_close(w.tier);
	page_table_close(&w.t);
	unlink(w.journal);
	close(w.g.block[0].fd);
	close(w.g.block[1].fd);
}

static void read_done(struct tier_io *io)
{
}

static void read_tier(uint64_t pfn, uint8_t *buf)
{
	struct tier_io io = {
		.buf = buf, .pfn = pfn, .nr_pages = 1, .done = read_done
	};
	struct tier_queue *q;

	assert_int_equal(tier_queue_open(w.tier, 1, &q), 0);
	assert_int_equal(tier_submit(q, &io), 0);
	tier_kick(q);
	if (!tier_reap(q)) {
		tier_wait(q);
		tier_reap(q);
	}
	assert_int_equal(io.result, 0);
	tier_queue_close(q);
}

static void verify(void)
{
	static uint8_t want[PAGE], got[PAGE] __attribute__((aligned(4096)));
	uint64_t in_ram = 0;
	struct place_stats s;
	struct stat st;
	uint64_t blocks = 0;

	for (uint64_t pfn = 0; pfn < PAGES; pfn++) {
		const struct guest_block *b = guest_block_of(&w.g, pfn);

		fill(want, pfn, w.version[pfn]);
		switch (pager_adopted(&w.t, pfn)) {
		case PAGER_IN_RAM:
			in_ram++;
			assert_int_equal(
				pread(b->fd, got, PAGE, (off_t)guest_offset(b, pfn)),
				PAGE);
			assert_memory_equal(want, got, PAGE);
			break;
		case PAGER_ON_TIER:
			read_tier(pfn, got);
			assert_memory_equal(want, got, PAGE);
			break;
		case PAGER_NOWHERE:
			assert_int_equal(w.version[pfn], 0);
			break;
		}
	}
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(fstat(w.g.block[i].fd, &st), 0);
		blocks += (uint64_t)st.st_blocks;
	}
	place_get_stats(w.p, &s);
	assert_int_equal(s.in_ram, in_ram);
	assert_int_equal(blocks * 512 / PAGE, in_ram); /* no other page exists */
}

static void put(uint64_t pfn, uint32_t version, unsigned int slot)
{
	w.version[pfn] = version;
	fill(pages[slot], pfn, version);
	assert_int_equal(
		version ? place_page(w.p, pfn, pages[slot]) : place_zero(w.p, pfn), 0);
}

static void first_pass(uint32_t zero_of_8)
{
	for (uint64_t pfn = 0; pfn < PAGES; pfn++) {
		put(pfn, (uint32_t)rand() % 8 < zero_of_8 ? 0 : 1, pfn % 256);
		if (pfn % 256 == 255)
			assert_int_equal(place_settle(w.p), 0);
	}
}

static void first_in_order(void **state)
{
	struct place_stats s;

	open_world(LIMIT);
	first_pass(0);
	assert_int_equal(place_barrier(w.p), 0);
	place_get_stats(w.p, &s);
	assert_int_equal(s.to_ram + s.to_tier, PAGES);
	assert_true(s.in_ram < pager_room(LIMIT));
	/* The front in RAM, one piece behind it on the tier, in large writes. */
	assert_int_equal(pager_adopted(&w.t, s.in_ram - 1), PAGER_IN_RAM);
	assert_int_equal(pager_adopted(&w.t, s.in_ram), PAGER_ON_TIER);
	assert_true(s.tier_writes <= s.to_tier / 256 + 2);
	verify();
	close_world();
}

static void all_fits(void **state)
{
	struct place_stats s;

	open_world(2 * PAGES);
	first_pass(1);
	assert_int_equal(place_barrier(w.p), 0);
	place_get_stats(w.p, &s);
	assert_int_equal(s.to_tier, 0);
	verify();
	close_world();
}

static void again_and_again(void **state)
{
	struct place_stats s;

	srand(1);
	open_world(LIMIT);
	first_pass(2);
	for (unsigned int i = 0; i < EVENTS; i++) {
		/* Runs and single pages, some in a small hot part. */
		uint64_t pfn = (uint64_t)rand() % (rand() % 2 ? PAGES : PAGES / 8);

		put(pfn, (uint32_t)rand() % 8 ? i + 2 : 0, i % 256);
		if (i % 256 == 255)
			assert_int_equal(place_settle(w.p), 0);
	}
	assert_int_equal(place_barrier(w.p), 0);
	verify();
	place_get_stats(w.p, &s);
	assert_int_equal(s.seen, PAGES);
	assert_int_equal(s.again, EVENTS);
	assert_true(s.promoted > 0 && s.again_on_tier > 0);
	assert_true(s.in_ram <= pager_room(LIMIT));
	close_world();
}

/* The last sixteenth of the memory and every tenth page are hot. */
static bool is_hot(uint64_t pfn)
{
	return pfn >= PAGES - PAGES / 16 || pfn % 10 == 0;
}

static void learn(unsigned int chunk_pages, uint8_t hot)
{
	uint8_t *age = calloc(PAGES, 1);

	for (uint64_t pfn = 0; pfn < PAGES; pfn++)
		age[pfn] = is_hot(pfn) ? hot : 0;
	assert_int_equal(place_learn(w.p, age, 5, chunk_pages), 0);
}

static uint8_t age_of(uint64_t pfn)
{
	return (uint8_t)(page_word(&w.t.page[pfn]) >> PAGE_AGE_SHIFT);
}

static void by_history(void **state)
{
	struct place_stats s;
	uint64_t hot = 0, cold_in_ram = 0;

	open_world(LIMIT);
	learn(1, 0x40);
	first_pass(0);
	put(5, 9, 0); /* was cold, is written to */
	put(5, 10, 1);
	assert_int_equal(place_barrier(w.p), 0);
	for (uint64_t pfn = 0; pfn < PAGES; pfn++) {
		bool in = pager_adopted(&w.t, pfn) == PAGER_IN_RAM;

		hot += is_hot(pfn);
		if (is_hot(pfn)) {
			assert_true(in);
			assert_int_equal(age_of(pfn), 0x40);
		} else if (pfn != 5) {
			assert_int_equal(age_of(pfn), 0);
			cold_in_ram += in;
		}
	}
	assert_int_equal(age_of(5), 0xc0); /* sent again, twice: hotter than all */
	assert_true(cold_in_ram > 0 && cold_in_ram < 200); /* what room was left */
	place_get_stats(w.p, &s);
	assert_true(s.by_history);
	assert_int_equal(s.samples, 5);
	assert_int_equal(s.rule.score, 0);
	assert_int_equal(s.rule.above, hot);
	assert_int_equal(s.history_ram + s.history_tier, PAGES);
	assert_true(s.in_ram <= pager_room(LIMIT));
	verify();
	close_world();
}

static void more_hot_than_room(void **state)
{
	struct place_stats s;

	open_world(500);
	learn(1, 0x80);
	first_pass(2);
	assert_int_equal(place_barrier(w.p), 0);
	for (uint64_t pfn = 0; pfn < PAGES; pfn++)
		if (!is_hot(pfn))
			assert_true(pager_adopted(&w.t, pfn) != PAGER_IN_RAM);
	place_get_stats(w.p, &s);
	assert_int_equal(s.rule.score, 0x80);
	assert_int_equal(s.in_ram, s.rule.equal_room);
	verify();
	close_world();
}

static void in_chunks(void **state)
{
	open_world(LIMIT);
	learn(1000, 0x80); /* the hot end pulls its whole chunk, the tenths all else */
	first_pass(0);
	assert_int_equal(place_barrier(w.p), 0);
	assert_int_equal(pager_adopted(&w.t, 0), PAGER_IN_RAM);
	assert_int_equal(pager_adopted(&w.t, 1), PAGER_IN_RAM);
	assert_int_equal(age_of(1), 0); /* placed with its neighbours, not hot */
	verify();
	close_world();
}

/* What is kept for hot pages that turn out to be zero is given to others. */
static void hot_but_zero(void **state)
{
	struct place_stats s;

	open_world(LIMIT);
	learn(1, 0x80);
	for (uint64_t pfn = PAGES; pfn--;) {
		put(pfn, is_hot(pfn) ? 0 : 1, pfn % 256);
		place_settle(w.p);
	}
	assert_int_equal(place_barrier(w.p), 0);
	place_get_stats(w.p, &s);
	assert_true(s.in_ram > pager_room(LIMIT) / 2);
	assert_true(s.in_ram <= pager_room(LIMIT));
	verify();
	close_world();
}

static void again_with_history(void **state)
{
	srand(3);
	open_world(LIMIT);
	learn(16, 0x20);
	first_pass(2);
	for (unsigned int i = 0; i < EVENTS; i++) {
		put((uint64_t)rand() % PAGES, (uint32_t)rand() % 8 ? i + 2 : 0,
		    i % 256);
		if (i % 256 == 255)
			assert_int_equal(place_settle(w.p), 0);
	}
	assert_int_equal(place_barrier(w.p), 0);
	verify();
	close_world();
}

/* ---- a tier that just holds what RAM does not ---- */

static struct {
	struct tier_ops ops;
	bool holds[PAGES];
	uint64_t nr, most;
} small;

static int small_submit(struct tier_queue *q, struct tier_io *io)
{
	for (uint64_t i = io->pfn; io->write && i < io->pfn + io->nr_pages; i++) {
		small.nr += !small.holds[i];
		small.holds[i] = true;
	}
	if (small.nr > small.most)
		small.most = small.nr;
	return tier_null_ops.submit(q, io);
}

static void small_forget(struct tier *t, uint64_t pfn, uint32_t nr_pages)
{
	for (uint64_t i = pfn; i < pfn + nr_pages; i++) {
		small.nr -= small.holds[i];
		small.holds[i] = false;
	}
}

static void open_small(void)
{
	open_world(LIMIT);
	place_free(w.p);
	memset(&small, 0, sizeof(small));
	small.ops = tier_null_ops;
	small.ops.submit = small_submit;
	small.ops.forget = small_forget;
	w.tier->ops = &small.ops;
	w.tier->room_pages = PAGES - pager_room(LIMIT);
	assert_int_equal(place_new(&w.g, &w.t, w.tier, LIMIT, &w.p), 0);
}

static void close_small(void)
{
	assert_int_equal(place_barrier(w.p), 0);
	assert_true(small.most <= w.tier->room_pages);
	for (uint64_t pfn = 0; pfn < PAGES; pfn++)
		assert_int_equal(small.holds[pfn],
				 pager_adopted(&w.t, pfn) == PAGER_ON_TIER);
	verify();
	close_world();
}

static void just_fits(void **state)
{
	for (unsigned int history = 0; history < 2; history++) {
		open_small();
		if (history)
			learn(1, 0x40);
		first_pass(0);
		close_small();
	}
}

static void just_fits_again(void **state)
{
	srand(5);
	open_small();
	first_pass(0);
	for (unsigned int i = 0; i < EVENTS; i++) {
		/* Many become zero, and others take their place in RAM. */
		put((uint64_t)rand() % PAGES, (uint32_t)rand() % 2 ? i + 2 : 0,
		    i % 256);
		if (i % 256 == 255)
			assert_int_equal(place_settle(w.p), 0);
	}
	close_small();
}

static void errors_stay(void **state)
{
	open_world(LIMIT);
	assert_int_equal(fault_set("place.ram=ENOMEM@1", NULL), 0);
	fill(pages[0], 0, 1);
	assert_int_equal(place_page(w.p, 0, pages[0]), 0);
	assert_true(place_settle(w.p) < 0);
	fault_set("off", NULL);
	assert_true(place_page(w.p, 1, pages[0]) < 0);
	assert_true(place_zero(w.p, 1) < 0);
	assert_true(place_barrier(w.p) < 0);
	close_world();
}

static void lost_is_seen(void **state)
{
	open_world(LIMIT);
	fill(pages[0], 5, 1);
	place_page(w.p, 5, pages[0]);
	fault_set("place.again=EIO", NULL);
	fill(pages[1], 5, 2);
	place_page(w.p, 5, pages[1]);
	fault_set("off", NULL);
	place_barrier(w.p);
	w.version[5] = 1; /* and not 2 */
	verify();
	close_world();
}

#define TEST(fn, name)                     \
	{                                  \
		name, fn, NULL, NULL, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(first_in_order, "the first pass goes to RAM in address order, "
				     "then to the tier in large writes"),
		TEST(all_fits, "a VM that fits goes to RAM alone"),
		TEST(again_and_again,
		     "pages that are sent again overwrite the copy that counts"),
		TEST(by_history, "with a history hot pages go to RAM, wherever they "
				 "are, and the pager learns how hot they are"),
		TEST(more_hot_than_room, "where not all that is hot fits, nothing cold "
					 "is in RAM"),
		TEST(in_chunks, "in chunks neighbours of a hot page go with it"),
		TEST(hot_but_zero,
		     "hot pages that are zero leave their room to others"),
		TEST(again_with_history,
		     "with a history too, pages that are sent again "
		     "overwrite the copy that counts"),
		TEST(just_fits,
		     "a tier that just holds what RAM does not gets no more"),
		TEST(just_fits_again, "neither when pages are sent again: what moves "
				      "to RAM leaves it at once"),
		TEST(errors_stay, "after an error nothing is placed any more"),
		TEST(lost_is_seen, "an update that is dropped would be noticed"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
