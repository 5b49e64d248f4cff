/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is told to stop and to go on: a QEMU that is a status and a list of what it was
 * told, in every state of a hand-over. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "lib/log.h"
#include "vmemdirect/migrate/handover.h"
#include "vmemdirect/order.h"
#include "vmemdirect/qmp.h"

/* ---- QEMU; the aside's, but for what is set before a wish or looked at after ---- */

static struct {
	const char *status;
	int stops, conts, opens;
	int silent;      /* so many connections are not greeted */
	bool never_stop; /* "stop" is not answered; it holds */
	bool noted;      /* when "stop" came it stood in the journal */
} qemu;

static struct page_header journal;

int qmp_open(const char *path, struct qmp **ret)
{
	qemu.opens++;
	if (qemu.silent && qemu.silent--)
		return -ETIMEDOUT;
	*ret = (struct qmp *)&qemu;
	return 0;
}

void qmp_close(struct qmp *q)
{
}

const char *qmp_why(const struct qmp *q)
{
	return "";
}

int qmp_command(struct qmp *q, const char *name, json_object *arguments,
		json_object **ret)
{
	if (!strcmp(name, "query-status")) {
		*ret = json_object_new_object();
		json_object_object_add(*ret, "status",
				       json_object_new_string(qemu.status));
	} else if (!strcmp(name, "stop")) {
		qemu.stops++;
		qemu.noted = journal.stopped;
		if (!strcmp(qemu.status, "running"))
			qemu.status = "paused";
		return qemu.never_stop ? -ETIMEDOUT : 0;
	} else if (!strcmp(name, "cont")) {
		qemu.conts++;
		qemu.status = "running";
	}
	return 0;
}

/* ---- the order ---- */

static const struct guest guest = { .name = "test" };
static struct aside *aside;
static struct order order;

static void begin(const char *status, enum handover handover)
{
	memset(&qemu, 0, sizeof(qemu));
	memset(&journal, 0, sizeof(journal));
	qemu.status = status;
	journal.handover = handover;
	assert_int_equal(aside_new(&aside), 0);
	order_init(&order, &guest, "monitor", &journal, aside);
}

static void end(void)
{
	aside_free(aside);
	aside = NULL;
}

/* As a daemon that is killed, and resumed: what is left is the journal. */
static void resume(void)
{
	end();
	assert_int_equal(aside_new(&aside), 0);
	order_init(&order, &guest, "monitor", &journal, aside);
	order_start(&order);
}

static void post(void *arg)
{
	sem_post(arg);
}

/* All that was wished so far is done, once. */
static void settle(void)
{
	struct aside_job job = { .work = post };
	sem_t done;

	sem_init(&done, 0, 0);
	job.arg = &done;
	aside_put(aside, &job);
	sem_wait(&done);
	sem_destroy(&done);
}

static void lose(void)
{
	order_stop(&order);
	settle();
}

static void find(void)
{
	order_continue(&order);
	settle();
}

#define assert_told(_stops, _conts)                     \
	do {                                            \
		assert_int_equal(qemu.stops, (_stops)); \
		assert_int_equal(qemu.conts, (_conts)); \
	} while (0)

static void one_that_runs(void **state)
{
	static const enum handover ours[] = { HANDOVER_NONE, HANDOVER_DONE };

	for (size_t i = 0; i < 2; i++) {
		begin("running", ours[i]);
		lose();
		assert_told(1, 0);
		assert_true(qemu.noted && journal.stopped);
		assert_int_equal(order_state(&order), ORDER_STOPPED);
		lose(); /* told again each second */
		assert_told(1, 0);
		find();
		assert_told(1, 1);
		assert_false(journal.stopped);
		assert_int_equal(order_state(&order), ORDER_NONE);
		find();
		assert_told(1, 1);
		end();
	}
}

static void one_that_does_not(void **state)
{
	static const char *const is[] = { "paused", "inmigrate", "prelaunch",
					  "postmigrate", "shutdown" };

	for (size_t i = 0; i < sizeof(is) / sizeof(is[0]); i++) {
		begin(is[i], HANDOVER_NONE);
		lose();
		find();
		assert_told(0, 0);
		assert_false(journal.stopped);
		assert_int_equal(order_state(&order), ORDER_NONE);
		/* Whoever paused it lets it go on, while the page is still lost. */
		lose();
		qemu.status = "running";
		lose();
		assert_told(1, 0);
		find();
		assert_told(1, 1);
		end();
	}
}

static void unclear_whose(void **state)
{
	for (int h = HANDOVER_NONE; h <= HANDOVER_UNCLEAR; h++) {
		if (h == HANDOVER_NONE || h == HANDOVER_DONE)
			continue;
		begin("running", (enum handover)h);
		lose();
		find();
		assert_told(0, 0);
		qemu.status = "paused";
		lose();
		find();
		order_start(&order);
		settle();
		assert_told(0, 0);
		/* Not even if it stood in the journal. */
		journal.stopped = 1;
		journal.start_vm = h != HANDOVER_COMMITTED;
		find();
		resume();
		settle();
		assert_told(0, 0);
		end();
		order_end(&order);
		assert_told(0, 0);
	}
}

static void started(void **state)
{
	begin("paused", HANDOVER_COMMITTED);
	journal.start_vm = 1;
	qemu.silent = 2;
	order_start(&order);
	settle();
	assert_int_equal(order_state(&order), ORDER_CONT_ASKED);
	assert_int_equal(journal.handover, HANDOVER_COMMITTED);
	while (order_state(&order) != ORDER_NONE)
		settle();
	assert_told(0, 1);
	assert_int_equal(qemu.opens, 3);
	assert_int_equal(journal.handover, HANDOVER_DONE);
	end();
}

static void started_by_a_resume(void **state)
{
	begin("paused", HANDOVER_COMMITTED);
	journal.start_vm = 1;
	resume();
	settle();
	assert_told(0, 1);
	assert_int_equal(journal.handover, HANDOVER_DONE);
	end();
	/* It ran, and was moved on, before that could be noted. */
	begin("postmigrate", HANDOVER_COMMITTED);
	journal.start_vm = 1;
	resume();
	settle();
	assert_told(0, 0);
	assert_int_equal(journal.handover, HANDOVER_COMMITTED);
	end();
}

static void not_before_its_page(void **state)
{
	begin("paused", HANDOVER_COMMITTED);
	journal.start_vm = 1;
	lose();
	order_start(&order);
	settle();
	assert_told(0, 0);
	find();
	assert_told(0, 1);
	assert_int_equal(journal.handover, HANDOVER_DONE);
	end();
}

static void resumed(void **state)
{
	for (int silent = 0; silent < 2; silent++) {
		begin("running", HANDOVER_NONE);
		qemu.never_stop = silent;
		lose();
		assert_int_equal(order_state(&order),
				 silent ? ORDER_STOP_ASKED : ORDER_STOPPED);
		resume();
		settle();
		assert_told(1, 1);
		assert_false(journal.stopped);
		/* The page is still lost. */
		qemu.never_stop = false;
		lose();
		assert_told(2, 1);
		resume();
		lose(); /* before it could be told */
		assert_int_equal(order_state(&order), ORDER_STOPPED);
		find();
		assert_string_equal(qemu.status, "running");
		end();
	}
}

static void moved_on_while_stopped(void **state)
{
	begin("running", HANDOVER_NONE);
	lose();
	qemu.status = "postmigrate";
	find();
	assert_told(1, 0);
	end();
	order_end(&order);
	assert_told(1, 0);
	assert_true(journal.stopped);
}

static void left(void **state)
{
	begin("running", HANDOVER_NONE);
	lose();
	end(); /* before the page was back, or QEMU could be told */
	qemu.silent = 1;
	order_end(&order);
	assert_told(1, 1);
	assert_string_equal(qemu.status, "running");
}

#define TEST(fn, name)                     \
	{                                  \
		name, fn, NULL, NULL, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_that_runs, "a VM that runs is stopped, and goes on"),
		TEST(one_that_does_not, "one that does not run is neither stopped nor "
					"let go on"),
		TEST(unclear_whose, "nothing is said while it is not clear whose the "
				    "VM is"),
		TEST(started, "one that was handed over is told until it runs, and is "
			      "done then"),
		TEST(started_by_a_resume, "so does a resume, but for one that has "
					  "moved on"),
		TEST(not_before_its_page, "it is not started while a page of it is "
					  "lost"),
		TEST(resumed, "one that was stopped goes on after a resume"),
		TEST(moved_on_while_stopped, "one that has moved on while it was "
					     "stopped is not let go on"),
		TEST(left, "one that is left is not left stopped"),
	};

	log_init("test");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
