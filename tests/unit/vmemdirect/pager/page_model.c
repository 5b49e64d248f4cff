/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flavour: plain asan
 *
 * The life of one page, model-checked: the evictor, the fault thread, a guest that
 * writes twice and its balloon that may discard the page once, in every interleaving of
 * their steps. The steps are those of evict.c and fault.c, the page's word is the real
 * one. In every end: the guest has done its writes, and the newest bytes are in the
 * object or, with STORED set, on the tier. In every state between, a daemon that dies
 * there leaves them where a resume finds them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "vmemdirect/pager/page.h"

enum { MSG_NONE, MSG_MISSING, MSG_WP };

struct world {
	uint32_t word;
	uint64_t hash;
	/* The kernel's side. */
	bool present, wp;
	unsigned int content; /* of the object */
	/* The tier; 99: a write is under way, anything may be there. */
	unsigned int tier;
	/* The guest. */
	unsigned int writes_left, version, discards_left;
	bool waits;
	bool forgotten; /* discarded and not written since: any bytes will do */
	int msg;
	/* The evictor and the fault thread: where they are. */
	unsigned int e, f, rounds;
	unsigned int buf;
	int f_msg;
	bool f_unprotect;
};

#define TORN 99

static uint64_t worlds, ends;

static bool move(struct world *w, enum page_state from, enum page_state to,
		 uint32_t set, uint32_t clear, uint32_t *was)
{
	struct page pg;
	bool ok;

	atomic_init(&pg.word, w->word);
	ok = page_move(&pg, from, to, set, clear, was);
	w->word = page_word(&pg);
	return ok;
}

static void wake(struct world *w)
{
	w->waits = false;
	w->msg = MSG_NONE; /* an unread message goes with its thread */
}

static void unprotect(struct world *w)
{
	w->wp = false;
	wake(w);
}

/* False: it cannot go on now. */
static bool guest_step(struct world *w)
{
	if (w->waits || !w->writes_left)
		return false;
	if (w->present && !w->wp) {
		w->content = ++w->version;
		w->forgotten = false;
		w->writes_left--;
		return true;
	}
	w->waits = true;
	w->msg = w->present ? MSG_WP : MSG_MISSING;
	return true;
}

/* A hole, whatever the page was; nobody is told. */
static bool balloon_step(struct world *w)
{
	if (w->waits || !w->discards_left)
		return false;
	w->discards_left--;
	w->forgotten = true;
	w->present = false;
	w->content = 0;
	return true;
}

static bool evictor_step(struct world *w)
{
	uint32_t was = 0;

	switch (w->e) {
	case 0:
		if (!w->rounds)
			return false;
		w->rounds--;
		if (move(w, PAGE_RESIDENT, PAGE_EVICTING, 0, 0, NULL))
			w->e = 1;
		return true;
	case 1:
		w->wp = true;
		break;
	case 2:
		w->buf = w->content;
		break;
	case 3:
		if (page_state(w->word) == PAGE_EVICTING && (w->word & PAGE_STORED) &&
		    w->hash == w->buf)
			w->e = 5; /* clean: one more step to come */
		else if (!move(w, PAGE_EVICTING, PAGE_EVICTING, 0, PAGE_STORED, NULL))
			w->e = 9;
		else
			w->tier = TORN; /* from now on, until it is acknowledged */
		if (w->e == 9)
			return true;
		break;
	case 4:
		w->tier = w->buf;
		break;
	case 5:
	case 6:
		w->hash = w->buf;
		w->e = move(w, PAGE_EVICTING, PAGE_PUNCHING, PAGE_STORED, PAGE_ZERO,
			    NULL)
			       ? 7
			       : 9;
		return true;
	case 7:
		w->present = false;
		break;
	case 8:
		move(w, PAGE_PUNCHING, PAGE_ABSENT, 0, PAGE_WANTED, &was);
		if (was & PAGE_WANTED)
			wake(w);
		w->e = 0;
		return true;
	case 9:
		w->e = move(w, PAGE_EVICTING, PAGE_FILLING, PAGE_ZERO, 0, NULL) ? 10
										: 0;
		return true;
	case 10:
		unprotect(w);
		break;
	case 11:
		move(w, PAGE_FILLING, PAGE_RESIDENT, 0, PAGE_ZERO, NULL);
		break;
	case 12: /* a fault on a hole may have met FILLING after step 10 */
		wake(w);
		w->e = 0;
		return true;
	}
	w->e++;
	return true;
}

/* Instead of step 2: pinned, or it can't be read or stored. */
static bool spare_step(struct world *w)
{
	if (w->e != 2)
		return false;
	w->e = 9;
	return true;
}

static bool fault_step(struct world *w)
{
	enum page_state s = page_state(w->word);

	switch (w->f) {
	case 0: /* reads a message */
		if (w->msg == MSG_NONE)
			return false;
		w->f_msg = w->msg;
		w->msg = MSG_NONE;
		w->f = 1;
		return true;
	case 1: /* acts on the state */
		if (s == PAGE_ABSENT) {
			move(w, PAGE_ABSENT, PAGE_FILLING, 0, 0, NULL);
			w->f = 2;
		} else if (s == PAGE_FILLING) {
			w->f = 0;
		} else if (s == PAGE_PUNCHING) {
			if (move(w, PAGE_PUNCHING, PAGE_PUNCHING, PAGE_WANTED, 0, NULL))
				w->f = 0;
		} else if (move(w, s, PAGE_FILLING, PAGE_ZERO, 0, NULL)) {
			w->f_unprotect = w->f_msg == MSG_WP || s == PAGE_EVICTING;
			w->f = 4;
		}
		return true;
	case 2: /* the read from the tier and the copy */
		assert_true(w->word & PAGE_STORED);
		assert_int_equal(w->tier, w->hash);
		assert_false(w->present);
		w->present = true;
		w->wp = false; /* COPY clears the marker, and wakes */
		w->content = w->tier;
		wake(w);
		break;
	case 3:
		move(w, PAGE_FILLING, PAGE_RESIDENT, 0, PAGE_ZERO, NULL);
		w->f = 0;
		return true;
	case 4: /* should be there: ZEROPAGE finds it, or fills the hole */
		assert_true(w->present || w->forgotten);
		if (!w->present && w->f_msg == MSG_MISSING) {
			w->present = true;
			w->wp = false;
			w->content = 0;
		}
		if (w->f_unprotect)
			unprotect(w);
		else
			wake(w);
		break;
	case 5:
		move(w, PAGE_FILLING, PAGE_RESIDENT, 0, PAGE_ZERO, NULL);
		w->f = 0;
		return true;
	}
	w->f++;
	return true;
}

/* What a resume would find if the daemon died now. */
static void check_crash(const struct world *w)
{
	if (w->forgotten) {
		/* Zeros, or what it was; nothing older. (But within the step from COPY
		 * to RESIDENT: that it came, was written and discarded, nobody can tell.) */
		bool out = page_state(w->word) != PAGE_RESIDENT &&
			   page_state(w->word) != PAGE_EVICTING;

		if (!w->present && out && w->f != 3 && (w->word & PAGE_STORED) &&
		    !(w->word & PAGE_ZERO))
			assert_true(w->tier == w->version || !w->tier);
	} else if (w->present) {
		assert_int_equal(w->content, w->version);
	} else {
		assert_true(w->word & PAGE_STORED);
		assert_int_equal(w->tier, w->version);
		assert_int_equal(w->hash, w->version);
	}
	/* What is kept of a present page must describe the tier, too. */
	if (w->word & PAGE_STORED)
		assert_int_equal(w->tier, w->hash);
}

static void explore(const struct world *w)
{
	static bool (*const actor[])(struct world *) = {
		guest_step, balloon_step, evictor_step, spare_step, fault_step,
	};
	bool moved = false;

	worlds++;
	check_crash(w);
	for (unsigned int i = 0; i < sizeof(actor) / sizeof(actor[0]); i++) {
		struct world next = *w;

		if (!actor[i](&next))
			continue;
		moved = true;
		explore(&next);
	}
	if (moved)
		return;
	ends++;
	assert_int_equal(w->writes_left, 0); /* nobody waits for ever */
	assert_true(page_state(w->word) == PAGE_RESIDENT ||
		    page_state(w->word) == PAGE_ABSENT);
	if (!w->forgotten)
		assert_int_equal(w->present, page_state(w->word) == PAGE_RESIDENT);
}

static void every_interleaving(void **state)
{
	const struct world first = {
		.word = PAGE_RESIDENT,
		.present = true,
		.writes_left = 2,
		.rounds = 2,
	};

	explore(&first);
	assert_true(ends > 100);
	print_message("# %lu states, %lu ends\n", (unsigned long)worlds,
		      (unsigned long)ends);
}

static void a_clean_page(void **state)
{
	const struct world first = {
		.word = PAGE_RESIDENT | PAGE_STORED,
		.present = true,
		.writes_left = 2,
		.rounds = 2,
	};

	explore(&first);
}

static void a_page_that_is_out(void **state)
{
	const struct world first = {
		.word = PAGE_ABSENT | PAGE_STORED,
		.writes_left = 2,
		.rounds = 2,
	};

	explore(&first);
}

static void a_page_that_a_balloon_discards(void **state)
{
	const struct world first = {
		.word = PAGE_RESIDENT | PAGE_STORED,
		.present = true,
		.writes_left = 2,
		.discards_left = 1,
		.rounds = 1,
	};
	struct world written = first;

	explore(&first);
	written.content = written.version = 1; /* newer than the tier's */
	explore(&written);
}

static void moves_only_from_where_it_is(void **state)
{
	struct page pg;
	uint32_t was = 7;

	atomic_init(&pg.word, PAGE_RESIDENT | PAGE_STORED | PAGE_WANTED);
	assert_false(page_move(&pg, PAGE_ABSENT, PAGE_FILLING, PAGE_ZERO, 0, &was));
	assert_int_equal(was, 7);
	assert_int_equal(page_word(&pg), PAGE_RESIDENT | PAGE_STORED | PAGE_WANTED);
	assert_true(page_move(&pg, PAGE_RESIDENT, PAGE_EVICTING, PAGE_ZERO, PAGE_WANTED,
			      &was));
	assert_int_equal(was, PAGE_RESIDENT | PAGE_STORED | PAGE_WANTED);
	assert_int_equal(page_word(&pg), PAGE_EVICTING | PAGE_STORED | PAGE_ZERO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(moves_only_from_where_it_is),
		cmocka_unit_test(every_interleaving),
		cmocka_unit_test(a_clean_page),
		cmocka_unit_test(a_page_that_is_out),
		cmocka_unit_test(a_page_that_a_balloon_discards),
	};

	return cmocka_run_group_tests_name("the life of a page", tests, NULL, NULL);
}
