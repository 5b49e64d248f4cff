/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the programs have in common that are PID 1 of a guest to be paged: memory whose
 * pages tell if a byte is wrong, modules of the kernel, words of its command line.
 */
#ifndef TESTS_VM_PAGEGUEST_H
#define TESTS_VM_PAGEGUEST_H

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#define PAGE  4096
#define WORDS (PAGE / 8)

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

/* Has the console one? It is not taken. */
static bool newline(void)
{
	struct pollfd p = { .fd = 0, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

/* /modules names files, in loading order. */
static void load_modules(void)
{
	FILE *f = fopen("/modules", "re");
	char path[128];

	while (f && fscanf(f, "%127s", path) == 1) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (syscall(SYS_finit_module, fd, "", 0) < 0)
			printf("pagework: %s: %s\n", path, strerror(errno));
		close(fd);
	}
	if (f)
		fclose(f);
}

/* Words that the kernel does not know become the environment. */
static uint64_t argument(const char *name, uint64_t otherwise)
{
	const char *s = getenv(name);

	return s ? strtoull(s, NULL, 10) : otherwise;
}

/* The end of the guest (QEMU runs with -no-reboot), once the console has said all: what
 * waits in the serial port's buffer would go with the kernel. */
static inline void end_guest(void)
{
	fflush(stdout);
	tcdrain(STDOUT_FILENO);
	reboot(RB_AUTOBOOT);
}

#endif
