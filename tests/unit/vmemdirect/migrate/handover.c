/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The hand-over's states: exactly one side may run the VM, whatever happens when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vmemdirect/migrate/handover.h"

#define STATES (HANDOVER_UNCLEAR + 1)
#define EVENTS (HANDOVER_BROKEN + 1)

/* Can `to` be reached from `from` without passing through `not`? */
static bool reaches(enum handover from, enum handover to, enum handover not )
{
	bool seen[STATES] = { [HANDOVER_NONE] = false };
	bool more = true;

	seen[from] = true;
	while (more) {
		more = false;
		for (int s = 0; s < STATES; s++)
			for (int e = 0; seen[s] && e < EVENTS; e++) {
				enum handover next = (enum handover)s;

				if (handover_move(&next, (enum handover_event)e) &&
				    next != not &&!seen[next])
					seen[next] = more = true;
			}
	}
	return seen[to];
}

static void never_both(void **state)
{
	/* Nothing starts the VM here but the source's confirmation. */
	assert_true(reaches(HANDOVER_LISTENING, HANDOVER_DONE, HANDOVER_NONE));
	assert_false(reaches(HANDOVER_LISTENING, HANDOVER_DONE, HANDOVER_COMMITTED));
	assert_false(
		reaches(HANDOVER_LISTENING, HANDOVER_COMMITTED, HANDOVER_COMMITTING));
	assert_false(reaches(HANDOVER_LISTENING, HANDOVER_COMMITTING, HANDOVER_LOADED));
	assert_false(reaches(HANDOVER_LISTENING, HANDOVER_LOADED, HANDOVER_LOADING));
}

static void never_none(void **state)
{
	/* What the source has given up is never failed here. */
	assert_false(reaches(HANDOVER_COMMITTED, HANDOVER_FAILED, HANDOVER_NONE));
	assert_false(reaches(HANDOVER_COMMITTED, HANDOVER_UNCLEAR, HANDOVER_NONE));
	/* Until it is told, everything that breaks leaves the VM there. */
	for (int s = HANDOVER_LISTENING; s <= HANDOVER_LOADED; s++) {
		enum handover next = (enum handover)s;

		assert_true(handover_move(&next, HANDOVER_BROKEN));
		assert_int_equal(next, HANDOVER_FAILED);
		assert_false(handover_is_here((enum handover)s));
	}
}

static void ends_are_ends(void **state)
{
	static const enum handover end[] = { HANDOVER_DONE, HANDOVER_FAILED,
					     HANDOVER_UNCLEAR };

	for (size_t i = 0; i < sizeof(end) / sizeof(end[0]); i++)
		for (int e = 0; e < EVENTS; e++) {
			enum handover s = end[i];

			assert_false(handover_move(&s, (enum handover_event)e));
			assert_int_equal(s, end[i]);
		}
	assert_false(handover_is_here(HANDOVER_FAILED));
	assert_true(handover_is_here(HANDOVER_DONE));
	assert_true(handover_is_here(HANDOVER_NONE));
}

#define TEST(fn, name)                     \
	{                                  \
		name, fn, NULL, NULL, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(never_both,
		     "the VM is started here only after the source gave it up"),
		TEST(never_none, "the VM is failed here only while the source has it"),
		TEST(ends_are_ends, "nothing happens after an end"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
