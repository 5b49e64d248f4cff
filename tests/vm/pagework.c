/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PID 1 of a guest that is to be paged: fills memory with patterns, works on it at
 * random with full checks, verifies all of it at the end, says so on the console and
 * powers off. Static, alone in its initramfs but for modules, if any: /modules names
 * them in loading order. What is to do comes on the kernel's command line (unknown words
 * become the environment):
 *
 *	pagework_mib=N       memory to work on
 *	pagework_accesses=N  0: until a newline comes from the console
 *	pagework_hold=1      wait for a newline once filled
 *	pagework_hot=N       instead of the accesses: read one of N stretches of 64 KiB
 *			     over and over, until a newline comes
 *	pagework_rewrite=1   afterwards write every page once, in order, and say so
 *	pagework_churn=N     now and then take N MiB more (at most half of what is free),
 *	                     fill, verify and free them: what a balloon takes and gives
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "tests/vm/pageguest.h"

#define CHURN_EVERY 500
#define STRETCH     16 /* pages */

/* Words that count, from a version on: they differ from all that was there before. */
static uint64_t churn(uint64_t bytes, uint64_t version)
{
	uint64_t bad = 0, nr_words, *m;
	struct sysinfo info;

	sysinfo(&info);
	if (bytes > info.freeram / 2)
		bytes = info.freeram / 2 & ~(uint64_t)(PAGE - 1);
	nr_words = bytes / 8;
	m = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		 0);
	if (m == MAP_FAILED)
		return 0;
	for (uint64_t i = 0; i < nr_words; i++)
		bad += m[i] !=
		       0; /* new memory reads as zeros, whatever was discarded */
	for (uint64_t i = 0; i < nr_words; i++)
		m[i] = i + (version << 40);
	for (uint64_t i = 0; i < nr_words; i++)
		bad += m[i] != i + (version << 40);
	munmap(m, bytes);
	printf("pagework: churned %" PRIu64 " MiB of %lu, %" PRIu64 " words bad\n",
	       bytes >> 20, info.totalram >> 20, bad);
	return bad;
}

/* Says how often it has been through all of the hot pages. */
static uint64_t stay_hot(uint64_t hot)
{
	uint64_t bad = 0;

	for (uint64_t sweep = 1; !newline(); sweep++) {
		for (uint64_t n = 0; n < nr;
		     n += n % STRETCH == STRETCH - 1 ? STRETCH * (hot - 1) + 1 : 1)
			bad += check_page(n);
		printf("pagework: sweep %" PRIu64 "\n", sweep);
	}
	return bad;
}

static uint64_t work(uint64_t accesses, uint64_t churn_bytes)
{
	uint64_t bad = 0, seed = 1;

	for (uint64_t i = 0; accesses ? i < accesses : !newline(); i++) {
		uint64_t n = mix(seed++) % nr;

		bad += check_page(n);
		if (mix(seed++) % 2)
			write_page(n);
		if (churn_bytes && i % CHURN_EVERY == 0)
			bad += churn(churn_bytes, i / CHURN_EVERY + 1);
	}
	return bad;
}

int main(void)
{
	uint64_t hot = argument("pagework_hot", 0), bad = 0;

	nr = argument("pagework_mib", 160) * 256;
	mem = mmap(NULL, nr * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		   -1, 0);
	version = calloc(nr, sizeof(*version));
	setvbuf(stdout, NULL, _IOLBF, 0);
	load_modules();
	if (mem == MAP_FAILED || !version) {
		printf("pagework: no memory\n");
	} else {
		printf("pagework: starts\n");
		for (uint64_t n = 0; n < nr; n++)
			write_page(n);
		printf("pagework: filled\n");
		if (argument("pagework_hold", 0))
			getchar(); /* a newline from the console: go on */
		bad += hot ? stay_hot(hot)
			   : work(argument("pagework_accesses", 20000),
				  argument("pagework_churn", 0) << 20);
		printf("pagework: worked\n");
		for (uint64_t n = 0; n < nr && argument("pagework_rewrite", 0); n++)
			write_page(n);
		if (argument("pagework_rewrite", 0))
			printf("pagework: rewritten\n");
		for (uint64_t n = 0; n < nr; n++)
			bad += check_page(n);
		printf("pagework: verified %" PRIu64 " pages, %" PRIu64 " bad\n", nr,
		       bad);
	}
	end_guest();
	return 0;
}
