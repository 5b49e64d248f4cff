/* SPDX-License-Identifier: GPL-2.0-or-later */
/* flavour: plain asan */
/*
 * The scanner on a child process that touches what it is told to. Both on one CPU: pages
 * that were just made wait in a batch of the CPU that made them, from which nobody can
 * unmap them, and looking empties only the own CPU's.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "vmemdirect/history/scan.h"

#define PAGES 13000
#define FIRST 9000 /* of the first block: more than two windows */

static struct guest g;
static uint8_t *mem; /* at the same address in the child */
static int to_child[2], from_child[2];

struct order {
	uint32_t from, step; /* write to every step-th page; step 0: end */
};

static void obey(void)
{
	struct order o;

	while (read(to_child[0], &o, sizeof(o)) == sizeof(o) && o.step) {
		for (uint32_t i = o.from; i < PAGES; i += o.step)
			((volatile uint8_t *)mem)[i * GUEST_PAGE_SIZE] = 1;
		if (write(from_child[1], "k", 1) != 1)
			break;
	}
	_exit(0);
}

static void touch(uint32_t from, uint32_t step)
{
	const struct order o = { from, step };
	char ok;

	assert_int_equal(write(to_child[1], &o, sizeof(o)), sizeof(o));
	assert_int_equal(read(from_child[0], &ok, 1), 1);
}

static void stay_on_this_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static int setup(void **state)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);

	stay_on_this_cpu();
	if (fd < 0 || ftruncate(fd, PAGES * GUEST_PAGE_SIZE) < 0 ||
	    pipe(to_child) < 0 || pipe(from_child) < 0)
		return -1;
	mem = mmap(NULL, PAGES * GUEST_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		   fd, 0);
	memset(&g, 0, sizeof(g));
	g.pid = fork();
	if (!g.pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		obey();
	}
	/* (Mapped twice, a page would not be taken out.) */
	munmap(mem, PAGES * GUEST_PAGE_SIZE);
	g.pidfd = (int)syscall(SYS_pidfd_open, g.pid, 0);
	g.nr_pages = PAGES;
	g.nr_blocks = 2;
	for (unsigned int i = 0; i < 2; i++) {
		g.block[i].first_pfn = i ? FIRST : 0;
		g.block[i].hva = (uint64_t)(uintptr_t)mem +
				 g.block[i].first_pfn * GUEST_PAGE_SIZE;
		g.block[i].size_bytes = (i ? PAGES - FIRST : FIRST) * GUEST_PAGE_SIZE;
	}
	close(fd);
	return g.pidfd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	const struct order end = { 0, 0 };

	if (write(to_child[1], &end, sizeof(end)) < 0)
		return -1;
	waitpid(g.pid, NULL, 0);
	close(g.pidfd);
	return 0;
}

static bool never(void *arg)
{
	return false;
}

static bool at_once(void *arg)
{
	return true;
}

static bool second_time(void *arg)
{
	unsigned int *asked = arg;

	return ++*asked > 1;
}

static void ages_follow_touches(void **state)
{
	unsigned int wrong = 0;
	struct scan *s;

	assert_int_equal(scan_new(&g, &s), 0);
	touch(0, 1);
	assert_int_equal(scan_look(s, never, NULL), 0);
	assert_int_equal(scan_seen(s), PAGES);
	assert_int_equal(scan_forget(s, never, NULL), 0);
	for (unsigned int round = 0; round < 4; round++) {
		touch(3, 7);
		if (round == 2)
			touch(FIRST, 100);
		assert_int_equal(scan_look(s, never, NULL), 0);
		scan_count(s);
		assert_int_equal(scan_forget(s, never, NULL), 0);
	}
	assert_int_equal(scan_samples(s), 4);
	for (unsigned int i = 0; i < PAGES; i++) {
		bool always = i % 7 == 3, once = i >= FIRST && (i - FIRST) % 100 == 0;

		/* Four samples shift twice. The kernel may hold a page just when it
		 * should be unmapped, or unmap one by itself (compaction, DAMON). */
		wrong += scan_ages(s)[i] != (always ? 0xe0 : once ? 0x40 : 0);
	}
	assert_true(wrong < PAGES / 1000);
	scan_free(s);
}

static void nothing_is_lost(void **state)
{
	struct scan *s;
	char ok;

	assert_int_equal(scan_new(&g, &s), 0);
	touch(0, 1);
	assert_int_equal(scan_look(s, never, NULL), 0);
	assert_int_equal(scan_forget(s, never, NULL), 0);
	assert_int_equal(scan_look(s, never, NULL), 0);
	assert_true(scan_seen(s) < PAGES / 100); /* (it can hardly unmap pinned ones) */
	scan_free(s);
	for (unsigned int i = 0; i < PAGES; i += 500) { /* what the child has written */
		char path[64];
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/mem", g.pid);
		f = fopen(path, "re");
		assert_non_null(f);
		assert_int_equal(
			fseeko(f, (off_t)(uintptr_t)mem + (off_t)(i * GUEST_PAGE_SIZE),
			       SEEK_SET),
			0);
		assert_int_equal(fread(&ok, 1, 1, f), 1);
		fclose(f);
		assert_int_equal(ok, 1);
	}
}

static void can_be_broken_off(void **state)
{
	unsigned int asked = 0;
	struct scan *s;

	assert_int_equal(scan_new(&g, &s), 0);
	touch(0, 1);
	assert_int_equal(scan_look(s, at_once, NULL), -ECANCELED);
	assert_int_equal(scan_look(s, second_time, &asked), -ECANCELED);
	assert_int_equal(scan_look(s, never, NULL), 0);
	asked = 0;
	assert_int_equal(scan_forget(s, second_time, &asked), -ECANCELED);
	assert_int_equal(scan_samples(s), 0);
	assert_int_equal(scan_look(s, never, NULL), 0);
	assert_true(scan_seen(s) > 0 && scan_seen(s) < PAGES);
	scan_free(s);
}

static void an_ended_process(void **state)
{
	struct guest gone = g;
	pid_t child = fork();
	struct scan *s;

	if (!child) {
		pause();
		_exit(0);
	}
	gone.pid = child;
	assert_int_equal(scan_new(&gone, &s), 0);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	assert_int_equal(scan_look(s, never, NULL), -ESRCH);
	scan_free(s);
	assert_int_equal(scan_new(&gone, &s), -ESRCH);
}

#define TEST(fn, name)                          \
	{                                       \
		name, fn, setup, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ages_follow_touches, "ages tell which page was touched when"),
		TEST(nothing_is_lost, "looking changes no byte of the process"),
		TEST(can_be_broken_off, "a round can be broken off at each step"),
		TEST(an_ended_process, "a process that has ended is told"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
