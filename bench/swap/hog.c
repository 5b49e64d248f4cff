// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The workload of Nagai et al.: in come a data size and phases, each of a block size,
 * an order and an operation; the process fills that much anonymous memory with a
 * pattern, then touches it block by block and prints one JSON object with the
 * throughput of each phase. Every byte read is checked against its place and its
 * generation, so a page that comes back from swap as another page, as an older copy
 * of itself or as zeros is found. One thread.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "bench/lib/pattern.h"
#include "lib/size.h"

#define MAX_TOUCHES 64

/*
 * A cell is what is written as one: a page, or the smallest block where that is less.
 * Its generation lives beside the data, in locked memory, one byte each.
 */
struct hog {
	uint64_t data_bytes, cell_bytes, nr_cells;
	/* Where sequential phases go on: a new one would else begin with what the last
	 * has just brought in. */
	uint64_t cursor_bytes;
	unsigned char *data, *generation;
	uint64_t random;
	uint64_t cells_verified, errors;
};

struct touch {
	uint64_t block_bytes;
	bool random, write;
};

struct phase {
	double seconds;
	uint64_t bytes;
	uint64_t pswpin, pswpout;
};

struct config {
	uint64_t data_bytes, passes, seed;
	double seconds;
	struct touch touch[MAX_TOUCHES];
	unsigned int nr_touches;
	struct touch single; /* --block, --pattern, --op */
	bool verify_all, events, step;
};

struct swap_count {
	uint64_t in, out;
};

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static struct swap_count swap_read(void)
{
	struct swap_count c = { 0 };
	char line[128];
	FILE *f = fopen("/proc/vmstat", "re");

	if (!f)
		return c;
	while (fgets(line, sizeof(line), f)) {
		sscanf(line, "pswpin %" SCNu64, &c.in);
		sscanf(line, "pswpout %" SCNu64, &c.out);
	}
	fclose(f);
	return c;
}

/* xorshift64*: the order is the same in every run of the same seed. */
static uint64_t next_random(struct hog *h)
{
	h->random ^= h->random >> 12;
	h->random ^= h->random << 25;
	h->random ^= h->random >> 27;
	return h->random * 0x2545f4914f6cdd1dULL;
}

static void *cell_at(struct hog *h, uint64_t cell)
{
	return h->data + cell * h->cell_bytes;
}

static void cell_write(struct hog *h, uint64_t cell)
{
	h->generation[cell]++;
	pattern_fill(cell_at(h, cell), h->cell_bytes, cell, h->generation[cell]);
}

static void cell_verify(struct hog *h, uint64_t cell)
{
	size_t at = 0;
	const unsigned char *p = cell_at(h, cell);
	uint64_t found, want;

	h->cells_verified++;
	if (pattern_check(p, h->cell_bytes, cell, h->generation[cell], &at))
		return;
	if (h->errors++ >= 8)
		return;
	memcpy(&found, p + at, sizeof(found));
	want = pattern_word(cell, h->generation[cell], at);
	fprintf(stderr,
		"hog: wrong byte at offset %" PRIu64 " (page %" PRIu64
		", generation %u): %016" PRIx64 " instead of %016" PRIx64 "\n",
		cell * h->cell_bytes + at, (cell * h->cell_bytes + at) / 4096,
		h->generation[cell], found, want);
}

static void block_touch(struct hog *h, const struct touch *t, uint64_t at)
{
	uint64_t cell = at / h->cell_bytes;

	for (uint64_t end = cell + t->block_bytes / h->cell_bytes; cell < end; cell++)
		if (t->write)
			cell_write(h, cell);
		else
			cell_verify(h, cell);
}

/* Where the next block begins; data and blocks are multiples of each other's cells. */
static uint64_t next_block(struct hog *h, const struct touch *t)
{
	uint64_t nr_blocks = h->data_bytes / t->block_bytes, block;

	if (t->random)
		return next_random(h) % nr_blocks * t->block_bytes;
	block = h->cursor_bytes / t->block_bytes % nr_blocks;
	h->cursor_bytes = (block + 1) * t->block_bytes;
	return block * t->block_bytes;
}

/*
 * For at most `seconds` and `passes` over the data, where these are not 0. Reading the
 * clock costs microseconds in some guests: the stride between two readings doubles
 * while they are less than a millisecond apart.
 */
static void phase_run(struct hog *h, const struct touch *t, double seconds,
		      uint64_t passes, struct phase *ret_phase)
{
	struct swap_count before = swap_read(), after;
	uint64_t total =
		passes ? passes * (h->data_bytes / t->block_bytes) : UINT64_MAX;
	uint64_t done = 0, stride = 1;
	double start = now(), last = start, at;

	while (done < total) {
		uint64_t until = total - done < stride ? total : done + stride;

		for (; done < until; done++)
			block_touch(h, t, next_block(h, t));
		at = now();
		if (seconds > 0 && at - start >= seconds)
			break;
		if (at - last < 0.001)
			stride *= 2;
		else if (stride > 1 && at - last > 0.01)
			stride /= 2;
		last = at;
	}
	after = swap_read();
	ret_phase->seconds = now() - start;
	ret_phase->bytes = done * t->block_bytes;
	ret_phase->pswpin = after.in - before.in;
	ret_phase->pswpout = after.out - before.out;
}

static void verify_all(struct hog *h)
{
	for (uint64_t cell = 0; cell < h->nr_cells; cell++)
		cell_verify(h, cell);
}

static void *map(size_t len_bytes)
{
	void *p = mmap(NULL, len_bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int hog_init(struct hog *h, const struct config *c)
{
	uint64_t largest = 4096;

	memset(h, 0, sizeof(*h));
	h->cell_bytes = 4096;
	for (unsigned int i = 0; i < c->nr_touches; i++) {
		if (c->touch[i].block_bytes < h->cell_bytes)
			h->cell_bytes = c->touch[i].block_bytes;
		if (c->touch[i].block_bytes > largest)
			largest = c->touch[i].block_bytes;
	}
	h->data_bytes = c->data_bytes / largest * largest;
	if (!h->data_bytes)
		return -EINVAL;
	h->nr_cells = h->data_bytes / h->cell_bytes;
	h->random = c->seed ? c->seed : 1;
	h->data = map(h->data_bytes);
	h->generation = map(h->nr_cells);
	if (!h->data || !h->generation)
		return -ENOMEM;
	/* Pages of 4 KiB are what swap moves; huge ones would blur the block size. */
	madvise(h->data, h->data_bytes, MADV_NOHUGEPAGE);
	if (mlock(h->generation, h->nr_cells) < 0)
		fprintf(stderr, "hog: the record of generations is not locked: %s\n",
			strerror(errno));
	return 0;
}

static double mbps(const struct phase *p)
{
	return p->seconds > 0 ? p->bytes / 1e6 / p->seconds : 0;
}

static void phase_print(const struct phase *p)
{
	printf("{\"seconds\": %.6f, \"bytes\": %" PRIu64 ", \"MBps\": %.3f, "
	       "\"pswpin\": %" PRIu64 ", \"pswpout\": %" PRIu64 "}",
	       p->seconds, p->bytes, mbps(p), p->pswpin, p->pswpout);
}

static void touch_print(const struct touch *t, const struct phase *p)
{
	printf("{\"pattern\": \"%s\", \"op\": \"%s\", \"block_bytes\": %" PRIu64
	       ", \"MBps\": %.3f, \"phase\": ",
	       t->random ? "rand" : "seq", t->write ? "write" : "read", t->block_bytes,
	       mbps(p));
	phase_print(p);
	printf("}");
}

static void event(const struct config *c, const char *name)
{
	if (!c->events)
		return;
	printf("{\"event\": \"%s\"}\n", name);
	fflush(stdout);
}

static int hog_run(struct hog *h, const struct config *c)
{
	const struct touch filling = { .block_bytes = h->cell_bytes, .write = true };
	struct phase fill, check = { 0 }, touched[MAX_TOUCHES];
	struct swap_count before;
	int key;

	phase_run(h, &filling, 0, 1, &fill);
	h->cursor_bytes = 0;
	event(c, "filled");
	while (c->step && (key = getchar()) != '\n' && key != EOF)
		;
	for (unsigned int i = 0; i < c->nr_touches; i++)
		phase_run(h, &c->touch[i], c->seconds, c->passes, &touched[i]);
	event(c, "touched");
	if (c->verify_all) {
		before = swap_read();
		check.seconds = -now();
		verify_all(h);
		check.seconds += now();
		check.bytes = h->data_bytes;
		check.pswpin = swap_read().in - before.in;
		check.pswpout = swap_read().out - before.out;
	}
	printf("{\"data_bytes\": %" PRIu64 ", \"MBps\": %.3f, \"fill\": ",
	       h->data_bytes, mbps(&touched[0]));
	phase_print(&fill);
	printf(", \"touches\": [");
	for (unsigned int i = 0; i < c->nr_touches; i++) {
		printf("%s", i ? ", " : "");
		touch_print(&c->touch[i], &touched[i]);
	}
	printf("]");
	if (c->verify_all) {
		printf(", \"verify\": ");
		phase_print(&check);
	}
	printf(", \"pages_verified\": %" PRIu64 ", \"errors\": %" PRIu64 "}\n",
	       h->cells_verified * h->cell_bytes / 4096, h->errors);
	return h->errors ? 1 : 0;
}

static const char usage[] =
	"usage: hog --data SIZE [--block SIZE] [--pattern seq|rand] [--op read|write]\n"
	"           [--touch PATTERN:OP:BLOCK]... [--seconds S] [--passes N] [--seed "
	"N]\n"
	"           [--verify-all] [--events] [--step]\n"
	"Fills SIZE bytes of memory, then touches them block by block for at most\n"
	"S seconds and N passes (1 pass when neither is given); every byte read is\n"
	"verified. Each --touch (rand:read:64K) is such a phase of its own, one after "
	"the\n"
	"other. --verify-all reads everything once more at the end. --events prints\n"
	"a line {\"event\": \"filled\"}, then \"touched\", as soon as it is so;\n"
	"--step waits for a line of input after the first.\n"
	"Exit status: 0 all right, 1 a wrong byte, 2 usage, 3 no memory.\n";

static int refuse(const char *flag, const char *value, const char *allowed)
{
	fprintf(stderr, "hog: --%s %s: %s\n", flag, value, allowed);
	return -EINVAL;
}

static int parse_block(const char *text, struct touch *t)
{
	if (size_parse(text, &t->block_bytes) < 0 || t->block_bytes < 8 ||
	    t->block_bytes & (t->block_bytes - 1))
		return -EINVAL;
	return 0;
}

static int parse_pattern(const char *text, struct touch *t)
{
	t->random = !strcmp(text, "rand");
	return t->random || !strcmp(text, "seq") ? 0 : -EINVAL;
}

static int parse_op(const char *text, struct touch *t)
{
	t->write = !strcmp(text, "write");
	return t->write || !strcmp(text, "read") ? 0 : -EINVAL;
}

/* "rand:read:64K" */
static int parse_touch(const char *text, struct config *c)
{
	char copy[64], *at = copy, *pattern, *op;

	if (c->nr_touches == MAX_TOUCHES || strlen(text) >= sizeof(copy))
		return -EINVAL;
	strcpy(copy, text);
	pattern = strsep(&at, ":");
	op = strsep(&at, ":");
	if (!op || !at || parse_pattern(pattern, &c->touch[c->nr_touches]) < 0 ||
	    parse_op(op, &c->touch[c->nr_touches]) < 0 ||
	    parse_block(at, &c->touch[c->nr_touches]) < 0)
		return -EINVAL;
	c->nr_touches++;
	return 0;
}

/* One flag; the long options' values are their initials. */
static int config_flag(struct config *c, int flag, const char *value)
{
	char *end;

	switch (flag) {
	case 'd':
		if (size_parse(value, &c->data_bytes) < 0 || !c->data_bytes)
			return refuse("data", value, "a size such as 512M");
		return 0;
	case 'b':
		if (parse_block(value, &c->single) < 0)
			return refuse("block", value, "a power of two from 8 up");
		return 0;
	case 'p':
		if (parse_pattern(value, &c->single) < 0)
			return refuse("pattern", value, "seq or rand");
		return 0;
	case 'o':
		if (parse_op(value, &c->single) < 0)
			return refuse("op", value, "read or write");
		return 0;
	case 't':
		if (parse_touch(value, c) < 0)
			return refuse("touch", value,
				      "such as rand:read:64K, 64 at most");
		return 0;
	case 's':
		c->seconds = strtod(value, &end);
		if (*end || !(c->seconds > 0))
			return refuse("seconds", value, "a number above 0");
		return 0;
	case 'n':
		c->passes = strtoull(value, &end, 10);
		if (*end || !c->passes)
			return refuse("passes", value, "a number above 0");
		return 0;
	case 'r':
		c->seed = strtoull(value, &end, 10);
		return *end ? refuse("seed", value, "a number") : 0;
	case 'v':
		c->verify_all = true;
		return 0;
	case 'S':
		c->step = true;
		return 0;
	case 'e':
		c->events = true;
		return 0;
	}
	return -EINVAL;
}

static int config_parse(struct config *c, int argc, char **argv)
{
	static const struct option options[] = {
		{ "data", required_argument, NULL, 'd' },
		{ "block", required_argument, NULL, 'b' },
		{ "pattern", required_argument, NULL, 'p' },
		{ "op", required_argument, NULL, 'o' },
		{ "touch", required_argument, NULL, 't' },
		{ "seconds", required_argument, NULL, 's' },
		{ "passes", required_argument, NULL, 'n' },
		{ "seed", required_argument, NULL, 'r' },
		{ "verify-all", no_argument, NULL, 'v' },
		{ "events", no_argument, NULL, 'e' },
		{ "step", no_argument, NULL, 'S' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int flag;

	while ((flag = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (flag == 'h') {
			fputs(usage, stdout);
			exit(0);
		}
		if (config_flag(c, flag, optarg) < 0)
			return -EINVAL;
	}
	if (optind != argc || !c->data_bytes) {
		fputs(usage, stderr);
		return -EINVAL;
	}
	if (!c->passes && c->seconds <= 0)
		c->passes = 1;
	if (!c->nr_touches)
		c->touch[c->nr_touches++] = c->single;
	return 0;
}

int main(int argc, char **argv)
{
	struct config c = { .single.block_bytes = 4096, .seed = 1 };
	struct hog h;
	int r;

	if (config_parse(&c, argc, argv) < 0)
		return 2;
	r = hog_init(&h, &c);
	if (r == -EINVAL) {
		fprintf(stderr, "hog: --data is smaller than a block\n");
		return 2;
	}
	if (r < 0) {
		fprintf(stderr, "hog: no address space for %" PRIu64 " bytes\n",
			c.data_bytes);
		return 3;
	}
	return hog_run(&h, &c);
}
