// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The workload of Nagai et al.: in come a data size, a block size, an order and an
 * operation; the process fills that much anonymous memory with a pattern, then
 * touches it block by block and prints one JSON object with the throughput. Every
 * byte read is checked against its place and its generation, so a page that comes
 * back from swap as another page, as an older copy of itself or as zeros is found.
 * One thread.
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

/*
 * A cell is what is written as one: a page, or a block that is smaller than one.
 * Its generation lives beside the data, in locked memory, one byte each.
 */
struct hog {
	uint64_t data_bytes, block_bytes, cell_bytes;
	uint64_t nr_blocks, nr_cells;
	uint64_t cells_per_block;
	unsigned char *data, *generation;
	uint64_t random;
	uint64_t cells_verified, errors;
};

struct config {
	uint64_t data_bytes, block_bytes, passes, seed;
	double seconds;
	bool random, write, verify_all, events;
};

struct phase {
	double seconds;
	uint64_t bytes, blocks;
	uint64_t pswpin, pswpout;
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

static void block_touch(struct hog *h, uint64_t block, bool write)
{
	uint64_t cell = block * h->cells_per_block;

	for (uint64_t end = cell + h->cells_per_block; cell < end; cell++)
		if (write)
			cell_write(h, cell);
		else
			cell_verify(h, cell);
}

/*
 * Reading the clock costs microseconds in some guests: the stride between two
 * readings doubles while they are less than a millisecond apart.
 */
static void phase_run(struct hog *h, const struct config *c, struct phase *ret_phase)
{
	struct swap_count before = swap_read(), after;
	uint64_t total = c->passes ? c->passes * h->nr_blocks : UINT64_MAX;
	uint64_t done = 0, stride = 1, block;
	double start = now(), last = start, t;

	while (done < total) {
		uint64_t until = total - done < stride ? total : done + stride;

		for (; done < until; done++) {
			block = c->random ? next_random(h) : done;
			block_touch(h, block % h->nr_blocks, c->write);
		}
		t = now();
		if (c->seconds > 0 && t - start >= c->seconds)
			break;
		if (t - last < 0.001)
			stride *= 2;
		else if (stride > 1 && t - last > 0.01)
			stride /= 2;
		last = t;
	}
	after = swap_read();
	ret_phase->seconds = now() - start;
	ret_phase->blocks = done;
	ret_phase->bytes = done * h->block_bytes;
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
	memset(h, 0, sizeof(*h));
	h->block_bytes = c->block_bytes;
	h->cell_bytes = c->block_bytes < 4096 ? c->block_bytes : 4096;
	h->nr_blocks = c->data_bytes / c->block_bytes;
	h->data_bytes = h->nr_blocks * c->block_bytes;
	h->cells_per_block = h->block_bytes / h->cell_bytes;
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

static void phase_print(const char *name, const struct phase *p)
{
	printf("\"%s\": {\"seconds\": %.6f, \"bytes\": %" PRIu64 ", \"MBps\": %.3f, "
	       "\"pswpin\": %" PRIu64 ", \"pswpout\": %" PRIu64 "}",
	       name, p->seconds, p->bytes, mbps(p), p->pswpin, p->pswpout);
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
	struct config filling = { .passes = 1, .write = true };
	struct phase fill, touch, check = { 0 };
	struct swap_count before;

	phase_run(h, &filling, &fill);
	event(c, "filled");
	phase_run(h, c, &touch);
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
	printf("{\"data_bytes\": %" PRIu64 ", \"block_bytes\": %" PRIu64
	       ", \"pattern\": \"%s\", \"op\": \"%s\", \"MBps\": %.3f, ",
	       h->data_bytes, h->block_bytes, c->random ? "rand" : "seq",
	       c->write ? "write" : "read", mbps(&touch));
	phase_print("fill", &fill);
	printf(", ");
	phase_print("touch", &touch);
	if (c->verify_all) {
		printf(", ");
		phase_print("verify", &check);
	}
	printf(", \"pages_verified\": %" PRIu64 ", \"errors\": %" PRIu64 "}\n",
	       h->cells_verified * h->cell_bytes / 4096, h->errors);
	return h->errors ? 1 : 0;
}

static const char usage[] =
	"usage: hog --data SIZE [--block SIZE] [--pattern seq|rand] [--op read|write]\n"
	"           [--seconds S] [--passes N] [--seed N] [--verify-all] [--events]\n"
	"Fills SIZE bytes of memory, then touches them block by block for at most\n"
	"S seconds and N passes (1 pass when neither is given); every byte read is\n"
	"verified. --verify-all reads everything once more at the end. --events "
	"prints\n"
	"a line {\"event\": \"filled\"}, then \"touched\", as soon as it is so.\n"
	"Exit status: 0 all right, 1 a wrong byte, 2 usage, 3 no memory.\n";

static int refuse(const char *flag, const char *value, const char *allowed)
{
	fprintf(stderr, "hog: --%s %s: %s\n", flag, value, allowed);
	return -EINVAL;
}

/* One flag; the long options' values are their initials. */
static int config_flag(struct config *c, int flag, const char *value)
{
	char *end;

	switch (flag) {
	case 'd':
		return size_parse(value, &c->data_bytes) < 0 || !c->data_bytes
			       ? refuse("data", value, "a size such as 512M")
			       : 0;
	case 'b':
		if (size_parse(value, &c->block_bytes) < 0 || c->block_bytes < 8 ||
		    c->block_bytes & (c->block_bytes - 1))
			return refuse("block", value, "a power of two from 8 up");
		return 0;
	case 'p':
		c->random = !strcmp(value, "rand");
		return c->random || !strcmp(value, "seq")
			       ? 0
			       : refuse("pattern", value, "seq or rand");
	case 'o':
		c->write = !strcmp(value, "write");
		return c->write || !strcmp(value, "read")
			       ? 0
			       : refuse("op", value, "read or write");
	case 's':
		c->seconds = strtod(value, &end);
		return *end || !(c->seconds > 0)
			       ? refuse("seconds", value, "a number above 0")
			       : 0;
	case 'n':
		c->passes = strtoull(value, &end, 10);
		return *end || !c->passes ? refuse("passes", value, "a number above 0")
					  : 0;
	case 'r':
		c->seed = strtoull(value, &end, 10);
		return *end ? refuse("seed", value, "a number") : 0;
	case 'v':
		c->verify_all = true;
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
		{ "seconds", required_argument, NULL, 's' },
		{ "passes", required_argument, NULL, 'n' },
		{ "seed", required_argument, NULL, 'r' },
		{ "verify-all", no_argument, NULL, 'v' },
		{ "events", no_argument, NULL, 'e' },
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
	if (optind != argc || c->data_bytes < c->block_bytes) {
		fputs(usage, stderr);
		return -EINVAL;
	}
	if (!c->passes && c->seconds <= 0)
		c->passes = 1;
	return 0;
}

int main(int argc, char **argv)
{
	struct config c = { .block_bytes = 4096, .seed = 1 };
	struct hog h;

	if (config_parse(&c, argc, argv) < 0)
		return 2;
	if (hog_init(&h, &c) < 0) {
		fprintf(stderr, "hog: no address space for %" PRIu64 " bytes\n",
			c.data_bytes);
		return 3;
	}
	return hog_run(&h, &c);
}
