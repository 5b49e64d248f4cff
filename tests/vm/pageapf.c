/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PID 1 of a guest with one vCPU that is to be paged: fills memory, and for each of two
 * newlines reads some of its pages, in several threads at the same time. Says how long
 * that took and how often KVM told the guest's kernel that a page has come (an
 * asynchronous page fault: the interrupt that /proc/interrupts calls HYP). What is to do
 * comes on the kernel's command line:
 *
 *	pageapf_mib=N      memory to fill
 *	pageapf_threads=N  which read
 *	pageapf_pages=N    that each of them reads
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>

#include "tests/vm/pageguest.h"

#define THREADS_MAX 16
#define ROUNDS      2 /* one so that the code is there, one to be measured */

struct reader {
	pthread_t thread;
	uint64_t first, nr, bad;
};

static void *read_pages(void *arg)
{
	struct reader *r = arg;

	for (uint64_t n = r->first; n < r->first + r->nr; n++)
		r->bad += check_page(n);
	return NULL;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Of the only CPU; no such line: the kernel has not asked for it. */
static uint64_t page_ready_interrupts(void)
{
	FILE *f = fopen("/proc/interrupts", "re");
	uint64_t n = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " HYP: %" SCNu64, &n) == 1)
			break;
	if (f)
		fclose(f);
	return n;
}

static void read_at_once(unsigned int threads, uint64_t first, uint64_t pages)
{
	struct reader reader[THREADS_MAX];
	uint64_t bad = 0, began, took, before = page_ready_interrupts();

	began = now_ms();
	for (unsigned int i = 0; i < threads; i++) {
		reader[i] = (struct reader){ .first = first + i * pages, .nr = pages };
		pthread_create(&reader[i].thread, NULL, read_pages, &reader[i]);
	}
	for (unsigned int i = 0; i < threads; i++) {
		pthread_join(reader[i].thread, NULL);
		bad += reader[i].bad;
	}
	took = now_ms() - began;
	printf("pageapf: read %" PRIu64 " pages in %" PRIu64 " ms, %" PRIu64
	       " bad, %" PRIu64 " page-ready interrupts\n",
	       threads * pages, took, bad, page_ready_interrupts() - before);
}

int main(void)
{
	uint64_t threads = argument("pageapf_threads", 4);
	uint64_t pages = argument("pageapf_pages", 64);

	setvbuf(stdout, NULL, _IOLBF, 0);
	mkdir("/proc", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	nr = argument("pageapf_mib", 64) * 256;
	mem = mmap(NULL, nr * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		   -1, 0);
	version = calloc(nr, sizeof(*version));
	if (mem == MAP_FAILED || !version || threads > THREADS_MAX ||
	    ROUNDS * threads * pages > nr) {
		printf("pageapf: no memory\n");
		end_guest();
	}
	for (uint64_t n = 0; n < nr; n++)
		write_page(n);
	printf("pageapf: filled\n");
	for (uint64_t round = 0; round < ROUNDS; round++) {
		getchar();
		read_at_once((unsigned int)threads, round * threads * pages, pages);
	}
	getchar(); /* so that its host can look */
	end_guest();
	return 0;
}
