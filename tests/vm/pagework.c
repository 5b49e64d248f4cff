/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PID 1 of a guest that is to be paged: fills memory with patterns, works on it at
 * random with full checks, verifies all of it at the end, says so on the console and
 * powers off. Static, alone in its initramfs. pagework_mib=N, pagework_accesses=N,
 * pagework_hold=1 (wait for a newline once filled) and pagework_hot=N (instead of the
 * accesses: read one of N stretches of 64 KiB over and over, until a newline comes) are
 * on the kernel's command line (unknown words become the environment).
 */
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <unistd.h>

#define PAGE    4096
#define WORDS   (PAGE / 8)
#define STRETCH 16 /* pages */

static uint64_t *mem;
static uint32_t *version;
static uint64_t nr;

static uint64_t mix(uint64_t x)
{
	x ^= x >> 31;
	x *= UINT64_C(0x7fb5d329728ea185);
	x ^= x >> 27;
	x *= UINT64_C(0x81dadef4bc2dd44d);
	return x ^ x >> 33;
}

/* Cheap under emulation: one multiplication a page, an addition a word. */
static void write_page(uint64_t n)
{
	uint64_t *w = mem + n * WORDS, x = mix(n << 32 | ++version[n]);

	for (unsigned int i = 0; i < WORDS; i++)
		w[i] = x + i * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t check_page(uint64_t n)
{
	const uint64_t *w = mem + n * WORDS;
	uint64_t x = mix(n << 32 | version[n]);

	for (unsigned int i = 0; i < WORDS; i++)
		if (w[i] != x + i * UINT64_C(0x9e3779b97f4a7c15)) {
			printf("pagework: BAD page %" PRIu64 " word %u\n", n, i);
			return 1;
		}
	return 0;
}

static uint64_t argument(const char *name, uint64_t otherwise)
{
	const char *s = getenv(name);

	return s ? strtoull(s, NULL, 10) : otherwise;
}

static bool told(void)
{
	struct pollfd p = { .fd = 0, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* Says how often it has been through all of the hot pages. */
static uint64_t stay_hot(uint64_t hot)
{
	uint64_t bad = 0;

	for (uint64_t sweep = 1; !told(); sweep++) {
		for (uint64_t n = 0; n < nr;
		     n += n % STRETCH == STRETCH - 1 ? STRETCH * (hot - 1) + 1 : 1)
			bad += check_page(n);
		printf("pagework: sweep %" PRIu64 "\n", sweep);
	}
	return bad;
}

static uint64_t work(uint64_t accesses)
{
	uint64_t bad = 0, seed = 1;

	for (uint64_t i = 0; i < accesses; i++) {
		uint64_t n = mix(seed++) % nr;

		bad += check_page(n);
		if (mix(seed++) % 2)
			write_page(n);
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
	if (mem == MAP_FAILED || !version) {
		printf("pagework: no memory\n");
	} else {
		printf("pagework: starts\n");
		for (uint64_t n = 0; n < nr; n++)
			write_page(n);
		printf("pagework: filled\n");
		if (argument("pagework_hold", 0))
			getchar(); /* a newline from the console: go on */
		bad += hot ? stay_hot(hot) : work(argument("pagework_accesses", 20000));
		printf("pagework: worked\n");
		for (uint64_t n = 0; n < nr; n++)
			bad += check_page(n);
		printf("pagework: verified %" PRIu64 " pages, %" PRIu64 " bad\n", nr,
		       bad);
	}
	reboot(RB_AUTOBOOT); /* QEMU -no-reboot ends */
	return 0;
}
