/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A process to be paged: a memfd (or a file, or private memory) full of patterns that
 * it verifies. Commands come on standard input, one a line; each is answered with one
 * line on standard output.
 *
 *	paged --size 256M [--file PATH] [--private] [--odirect PATH]
 *
 *	fill             every page gets version 1 of its pattern
 *	verify           every page is compared in full: "ok" or "bad page N"
 *	touch N          reads the first word of N pages from the start on
 *	run PATTERN ACCESSES WRITES% THREADS [PAGES]
 *	                 patterns seq, random, stride, zipf, scan (a scan over all and a
 *	                 hot tenth in turn); each access checks the page in full and, when
 *	                 it writes, gives it the next version. PAGES: only that many, from
 *	                 the start. Answer: ok, seconds, ns at p50, p99 and max
 *	discard FROM N   punches pages out, as a balloon does, and forgets what they held
 *	remap            a second mapping of the object
 *	pin FROM N       pins pages for writing (io_uring's registered buffers), as a disk
 *			 read with O_DIRECT does while it is under way
 *	land             the device writes: the pinned pages get their next version by
 *			 way of the pin, not of this mapping
 *	lock             locks all of it, as QEMU does with mem-lock=on
 *	quit
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <liburing.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "lib/hist.h"
#include "lib/size.h"

#define PAGE        4096
#define WORDS       (PAGE / 8)
#define THREADS_MAX 16

static struct {
	uint8_t *mem;
	uint32_t *version; /* of each page; 0: all zero */
	uint64_t nr;
	int fd;
} p;

struct job {
	pthread_t thread;
	const char *pattern;
	uint64_t from, nr, accesses, seed;
	unsigned int writes;
	uint64_t bad; /* page + 1 */
	struct hist hist;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static uint64_t next(uint64_t *seed)
{
	return mix(*seed += UINT64_C(0x9e3779b97f4a7c15));
}

/* Version 0 is what a page is before anybody writes: zeros. */
static uint64_t word_of(uint64_t page, uint32_t version, unsigned int w)
{
	return version ? mix(page * WORDS + w) + version * UINT64_C(0x100000001) : 0;
}

static void write_page(uint64_t n)
{
	uint64_t *w = (uint64_t *)(p.mem + n * PAGE);

	p.version[n]++;
	for (unsigned int i = 0; i < WORDS; i++)
		w[i] = word_of(n, p.version[n], i);
}

static bool check_page(uint64_t n)
{
	const uint64_t *w = (const uint64_t *)(p.mem + n * PAGE);

	for (unsigned int i = 0; i < WORDS; i++)
		if (w[i] != word_of(n, p.version[n], i)) {
			fprintf(stderr,
				"page %" PRIu64 " word %u: %#" PRIx64 ", not %#" PRIx64
				" (version %u)\n",
				n, i, w[i], word_of(n, p.version[n], i), p.version[n]);
			return false;
		}
	return true;
}

/* The page of the i-th access, 0 to nr - 1. */
static uint64_t choose(struct job *j, uint64_t i)
{
	uint64_t octave, u;

	switch (j->pattern[0]) {
	case 'r':
		return next(&j->seed) % j->nr;
	case 'z': /* Zipf with s = 1: every octave of ranks is equally likely. The ranks
		   * are spread over the memory. */
		octave = next(&j->seed) % (64 - (unsigned int)__builtin_clzll(j->nr));
		u = (UINT64_C(1) << octave) + next(&j->seed) % (UINT64_C(1) << octave);
		return mix(u) % j->nr;
	default:
		if (!strcmp(j->pattern, "stride"))
			return i * 7 % j->nr;
		if (!strcmp(j->pattern, "scan"))
			return i % 2 ? i / 2 % j->nr
				     : next(&j->seed) % (j->nr / 10 + 1);
		return i % j->nr;
	}
}

static void *work(void *arg)
{
	struct job *j = arg;

	for (uint64_t i = 0; i < j->accesses && !j->bad; i++) {
		uint64_t n = j->from + choose(j, i), began = now_ns();

		/* The touch is what is timed, not the comparison after it. */
		*(volatile uint8_t *)(p.mem + n * PAGE);
		hist_add(&j->hist, now_ns() - began, 1);
		if (!check_page(n))
			j->bad = n + 1;
		else if (next(&j->seed) % 100 < j->writes)
			write_page(n);
	}
	return NULL;
}

static void run(const char *line)
{
	static struct job job[THREADS_MAX];
	static struct hist all;
	char pattern[16];
	uint64_t accesses, pages = p.nr, began, bad = 0;
	unsigned int writes, threads;

	if (sscanf(line, "run %15s %" SCNu64 " %u %u %" SCNu64, pattern, &accesses,
		   &writes, &threads, &pages) < 4 ||
	    threads < 1 || threads > THREADS_MAX || pages > p.nr || pages < threads) {
		puts("what?");
		return;
	}
	memset(&all, 0, sizeof(all));
	began = now_ns();
	for (unsigned int t = 0; t < threads; t++) {
		job[t] = (struct job){
			.pattern = pattern,
			.from = pages / threads * t,
			.nr = pages / threads,
			.accesses = accesses / threads,
			.seed = t * 7919 + began % 1000,
			.writes = writes,
		};
		pthread_create(&job[t].thread, NULL, work, &job[t]);
	}
	for (unsigned int t = 0; t < threads; t++) {
		pthread_join(job[t].thread, NULL);
		hist_merge(&all, &job[t].hist);
		if (job[t].bad)
			bad = job[t].bad;
	}
	if (bad)
		printf("bad page %" PRIu64 "\n", bad - 1);
	else
		printf("ok %.3f %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
		       (double)(now_ns() - began) / 1e9, hist_percentile(&all, 50),
		       hist_percentile(&all, 99), all.max);
}

static void verify(void)
{
	for (uint64_t n = 0; n < p.nr; n++)
		if (!check_page(n)) {
			printf("bad page %" PRIu64 "\n", n);
			return;
		}
	puts("ok");
}

static void discard(const char *line)
{
	uint64_t from, nr;

	if (sscanf(line, "discard %" SCNu64 " %" SCNu64, &from, &nr) != 2 ||
	    from + nr > p.nr) {
		puts("what?");
		return;
	}
	fallocate(p.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		  (off_t)(from * PAGE), (off_t)(nr * PAGE));
	/* Whatever it reads as now: a guest writes before it reads such pages. */
	for (uint64_t n = from; n < from + nr; n++)
		write_page(n);
	puts("ok");
}

static struct {
	struct io_uring ring;
	uint64_t from, nr;
	int file;
} pins;

static void pin(const char *line)
{
	struct iovec v;
	int r;

	if (sscanf(line, "pin %" SCNu64 " %" SCNu64, &pins.from, &pins.nr) != 2 ||
	    pins.from + pins.nr > p.nr) {
		puts("what?");
		return;
	}
	v = (struct iovec){ p.mem + pins.from * PAGE, pins.nr * PAGE };
	pins.file = memfd_create("disk", MFD_CLOEXEC);
	r = io_uring_queue_init(4, &pins.ring, 0);
	if (!r)
		r = io_uring_register_buffers(&pins.ring, &v, 1);
	if (r < 0 || pins.file < 0)
		printf("failed %s\n", strerror(-r));
	else
		puts("ok");
}

static void land(void)
{
	uint64_t page[WORDS];
	struct io_uring_cqe *cqe;
	int r = 0;

	for (uint64_t n = pins.from; n < pins.from + pins.nr && r >= 0; n++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&pins.ring);

		p.version[n]++;
		for (unsigned int i = 0; i < WORDS; i++)
			page[i] = word_of(n, p.version[n], i);
		if (pwrite(pins.file, page, PAGE, 0) != PAGE)
			r = -EIO;
		io_uring_prep_read_fixed(sqe, pins.file, p.mem + n * PAGE, PAGE, 0, 0);
		io_uring_submit_and_wait(&pins.ring, 1);
		if (io_uring_wait_cqe(&pins.ring, &cqe) < 0 || cqe->res != PAGE)
			r = -EIO;
		io_uring_cqe_seen(&pins.ring, cqe);
	}
	puts(r < 0 ? "failed" : "ok");
}

static bool command(char *line)
{
	static volatile uint64_t sum;
	uint64_t n;

	if (!strcmp(line, "fill")) {
		for (n = 0; n < p.nr; n++)
			write_page(n);
		puts("ok");
	} else if (!strcmp(line, "verify")) {
		verify();
	} else if (sscanf(line, "touch %" SCNu64, &n) == 1) {
		for (uint64_t i = 0; i < n && i < p.nr; i++)
			sum += p.mem[i * PAGE];
		puts("ok");
	} else if (!strncmp(line, "run ", 4)) {
		run(line);
	} else if (!strncmp(line, "discard ", 8)) {
		discard(line);
	} else if (!strncmp(line, "pin ", 4)) {
		pin(line);
	} else if (!strcmp(line, "land")) {
		land();
	} else if (!strcmp(line, "remap")) {
		puts(mmap(NULL, p.nr * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, p.fd,
			  0) == MAP_FAILED
			     ? "failed"
			     : "ok");
	} else if (!strcmp(line, "lock")) {
		puts(mlock(p.mem, p.nr * PAGE) < 0 ? "cannot" : "ok");
	} else if (!strcmp(line, "quit")) {
		return false;
	} else {
		puts("what?");
	}
	return true;
}

static int make_memory(const char *file, bool private, uint64_t size)
{
	p.nr = size / PAGE;
	p.fd = file ? open(file, O_RDWR | O_CREAT, 0600)
		    : memfd_create("paged", MFD_CLOEXEC);
	if (p.fd < 0 || ftruncate(p.fd, (off_t)size) < 0)
		return -errno;
	p.mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
		     private ? MAP_PRIVATE : MAP_SHARED, p.fd, 0);
	p.version = calloc(p.nr, sizeof(p.version[0]));
	return p.mem == MAP_FAILED ? -errno : p.version ? 0 : -ENOMEM;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "size", required_argument, NULL, 's' },
		{ "file", required_argument, NULL, 'f' },
		{ "private", no_argument, NULL, 'p' },
		{ "odirect", required_argument, NULL, 'o' },
		{ 0 },
	};
	const char *file = NULL, *odirect = NULL;
	uint64_t size = 64 << 20;
	bool private = false;
	char line[256];
	int opt, r;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (opt == 's' && size_parse(optarg, &size) == 0)
			continue;
		else if (opt == 'f')
			file = optarg;
		else if (opt == 'o')
			odirect = optarg;
		else if (opt == 'p')
	private = true;
	else return 2;
	r = make_memory(file, private, size);
	if (!r && odirect && open(odirect, O_RDWR | O_CREAT | O_DIRECT, 0600) < 0)
		r = -errno;
	if (r < 0) {
		fprintf(stderr, "paged: %s\n", strerror(-r));
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (!command(line))
			break;
	}
	return 0;
}
