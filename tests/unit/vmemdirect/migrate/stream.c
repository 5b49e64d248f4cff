/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The migration stream's parser on streams of stock QEMU, and on made-up ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vmemdirect/migrate/stream.h"

#define CORPUS "tests/fuzz/corpus/stream/"

/* ---- a stream written by hand ---- */

struct made {
	uint8_t b[200000];
	size_t len;
};

static struct made m;

static void be(uint64_t v, unsigned int bytes)
{
	while (bytes--)
		m.b[m.len++] = bytes < 8 ? (uint8_t)(v >> 8 * bytes) : 0;
}

static void text(const char *s)
{
	memcpy(m.b + m.len, s, strlen(s));
	m.len += strlen(s);
}

static void name(const char *s)
{
	be(strlen(s), 1);
	text(s);
}

static void begin(void)
{
	m.len = 0;
	text("QEVM");
	be(3, 4);
	be(7, 1);
	be(6, 4);
	text("pc-7.2");
}

static void command(unsigned int cmd, unsigned int len, uint64_t body)
{
	be(8, 1);
	be(cmd, 2);
	be(len, 2);
	be(body, len);
}

static void start(const char *section, unsigned int version)
{
	be(1, 1);
	be(2, 4);
	name(section);
	be(0, 4);
	be(version, 4);
}

static void footer(void)
{
	be(0x7e, 1);
	be(2, 4);
}

/* Blocks "a" of 4 pages and "b" of 2, up to the end of the START section. */
static void setup(void)
{
	begin();
	command(1, 0, 0);
	start("ram", 4);
	be(6 * 4096 | 4, 8);
	name("a");
	be(4 * 4096, 8);
	name("b");
	be(2 * 4096, 8);
	be(0x10, 8);
	footer();
}

static void part(unsigned int type)
{
	be(type, 1);
	be(2, 4);
}

static void page(uint64_t addr, const char *block, unsigned int flags, int fill)
{
	be(addr | flags, 8);
	if (block)
		name(block);
	memset(m.b + m.len, fill, 4096);
	m.len += flags & 8 ? 4096 : 1;
}

/* ---- running it ---- */

static struct stream s;

/* Parses all of it, `step` more bytes at a time; returns the last result and a digest
 * of the events. */
static int run(const uint8_t *p, size_t len, size_t step, uint64_t *ret_digest,
	       unsigned int *ret_events)
{
	struct stream_event e;
	uint64_t h = 0;
	size_t at = 0, seen = 0, used;
	int r = 0;

	stream_init(&s);
	*ret_events = 0;
	while (seen < len && r >= 0) {
		seen = len - seen < step ? len : seen + step;
		while ((r = stream_next(&s, p + at, seen - at, &e, &used)) == 1) {
			at += used;
			if (e.type == STREAM_TAIL)
				continue; /* as many as there are calls */
			h = (h ^ e.type) * 1000003 + e.addr + e.complete + e.command;
			h = h * 31 + (e.page ? e.page[0] : 0) +
			    (e.block ? e.block->index : 0);
			++*ret_events;
		}
	}
	*ret_digest = h;
	return r < 0 ? r : at == len;
}

static const char *refusal(void)
{
	uint64_t digest;
	unsigned int n;

	return run(m.b, m.len, m.len, &digest, &n) < 0 ? s.why : "(taken)";
}

#define assert_refused(what)                                            \
	do {                                                            \
		const char *_why = refusal();                           \
		if (!strstr(_why, what))                                \
			fail_msg("\"%s\" is not about %s", _why, what); \
	} while (0)

static uint8_t *load(const char *file, size_t *ret_len)
{
	FILE *f = fopen(file, "rb");
	uint8_t *p = malloc(1 << 20);

	assert_non_null(f);
	*ret_len = fread(p, 1, 1 << 20, f) - 1;
	fclose(f);
	memmove(p, p + 1, *ret_len); /* the first byte is the fuzzer's */
	return p;
}

/* ---- real streams ---- */

static const char *const real[] = { CORPUS "q35-7.2", CORPUS "pc-7.2" };

static void real_stream(void **state)
{
	for (size_t f = 0; f < 2; f++) {
		unsigned int pages = 0, zeros = 0, blocks = 0, complete = 0;
		const char *runstate = "";
		struct stream_event e;
		size_t len, at = 0, used;
		uint8_t *p = load(real[f], &len);
		int r;

		stream_init(&s);
		while ((r = stream_next(&s, p + at, len - at, &e, &used)) == 1) {
			if (e.type == STREAM_PAGE && !strcmp(e.block->name, "mem0")) {
				assert_int_equal(e.page[0], e.addr >> 12);
				assert_int_equal(e.page[4095], e.addr >> 12);
				pages++;
			}
			zeros +=
				e.type == STREAM_ZERO && !strcmp(e.block->name, "mem0");
			blocks += e.type == STREAM_BLOCK;
			complete += e.type == STREAM_FOOTER && e.complete;
			if (e.type == STREAM_TAIL)
				assert_int_equal(
					stream_tail_complete(p + at, used, &runstate),
					1);
			if (e.type == STREAM_TAIL)
				assert_int_equal(stream_tail_complete(p + at, used - 1,
								      &runstate),
						 0);
			if (e.type == STREAM_TAIL)
				stream_tail_complete(p + at, used, &runstate);
			at += used;
		}
		assert_int_equal(r, 0);
		assert_int_equal(at, len);
		assert_int_equal(pages, 4);
		assert_int_equal(zeros, 508);
		assert_int_equal(blocks, s.nr_blocks);
		assert_true(blocks >= 5);
		assert_int_equal(complete, 1);
		assert_string_equal(runstate, "prelaunch");
		free(p);
	}
}

static void every_boundary(void **state)
{
	for (size_t f = 0; f < 2; f++) {
		uint64_t whole, bytewise;
		unsigned int n, k;
		size_t len;
		uint8_t *p = load(real[f], &len);

		assert_int_equal(run(p, len, len, &whole, &n), 1);
		assert_int_equal(run(p, len, 1, &bytewise, &k), 1);
		assert_int_equal(n, k);
		assert_int_equal(whole, bytewise);
		free(p);
	}
}

static void every_truncation(void **state)
{
	uint64_t digest;
	unsigned int n;
	size_t len;
	uint8_t *p = load(real[0], &len), *copy;

	/* In a buffer of just that size, so that ASan sees a look beyond. */
	for (size_t k = 0; k < 9000 && k < len; k++) {
		copy = malloc(k + 1);
		memcpy(copy, p, k);
		assert_true(run(copy, k, k + 1, &digest, &n) >= 0);
		free(copy);
	}
	free(p);
}

/* ---- made-up ones ---- */

static void continue_keeps_block(void **state)
{
	struct stream_event e;
	size_t at = 0, used;
	unsigned int n = 0;

	setup();
	part(2);
	page(0, "b", 8, 1);
	page(4096, NULL, 8 | 0x20, 2);
	be(0x10, 8);
	footer();
	part(3);
	page(0, NULL, 2 | 0x20, 0);
	be(0x10, 8);
	footer();
	stream_init(&s);
	while (stream_next(&s, m.b + at, m.len - at, &e, &used) == 1) {
		at += used;
		if (e.type == STREAM_PAGE || e.type == STREAM_ZERO) {
			assert_string_equal(e.block->name, "b");
			n++;
		}
	}
	assert_int_equal(at, m.len);
	assert_int_equal(n, 3);
	assert_true(s.complete);
}

static void refuses_other_connections(void **state)
{
	m.len = 0;
	be(0x1122334400000001, 8);
	assert_refused("multifd off");
	m.len = 0;
	be(0x1603010200, 5);
	assert_refused("tls-creds");
	m.len = 0;
	text("GET / HTTP/1.1");
	assert_refused("no migration");
	m.len = 0;
	text("QEVM");
	be(2, 4);
	assert_refused("version 2");
}

static void refuses_configuration(void **state)
{
	begin();
	be(5, 1);
	name("configuration/capabilities");
	be(1, 4);
	be(1, 4);
	name("x-ignore-shared");
	assert_refused("x-ignore-shared off");
	begin();
	be(5, 1);
	name("configuration/target-page-bits");
	be(1, 4);
	be(16, 4);
	assert_refused("2^16");
	begin();
	be(5, 1);
	name("configuration/new");
	be(1, 4);
	assert_refused("unknown part");
	m.len = 8;
	be(1, 1);
	assert_refused("no configuration");
	m.len = 8;
	be(7, 1);
	be(0xffffffff, 4);
	assert_refused("machine name");
}

static void refuses_sections(void **state)
{
	begin();
	start("ram", 4);
	assert_refused("return-path on");
	begin();
	command(1, 0, 0);
	start("dirty-bitmap", 1);
	assert_refused("dirty-bitmap");
	begin();
	command(1, 0, 0);
	start("ram", 5);
	assert_refused("version 5");
	setup();
	start("ram", 4);
	assert_refused("second time");
	setup();
	be(4, 1);
	assert_refused("between the memory's");
	begin();
	be(4, 1);
	assert_refused("before the memory");
	setup();
	m.b[m.len - 1] ^= 1;
	assert_refused("footer");
	setup();
	be(2, 1);
	be(9, 4);
	assert_refused("section 9");
}

static void refuses_commands(void **state)
{
	begin();
	command(3, 16, 0);
	assert_refused("postcopy-ram off");
	setup();
	command(7, 4, 100);
	assert_refused("postcopy-ram off");
	begin();
	command(8, 0, 0);
	assert_refused("unknown command");
	begin();
	command(1, 1, 0);
	assert_refused("unknown command");
}

static void refuses_blocks(void **state)
{
	begin();
	command(1, 0, 0);
	start("ram", 4);
	be(4096 | 4, 8);
	name("a");
	be(8192, 8);
	assert_refused("0x2000");
	begin();
	command(1, 0, 0);
	start("ram", 4);
	be(8192 | 4, 8);
	name("a");
	be(4096, 8);
	name("a");
	be(4096, 8);
	assert_refused("two blocks");
	begin();
	command(1, 0, 0);
	start("ram", 4);
	page(0, "a", 8, 0);
	assert_refused("before the list");
	begin();
	command(1, 0, 0);
	start("ram", 4);
	be(0x10, 8);
	assert_refused("without a list");
}

static void refuses_records(void **state)
{
	static const struct {
		unsigned int flags;
		const char *what;
	} bad[] = {
		{ 0x40, "xbzrle off" }, { 0x100, "compress off" },
		{ 0x80, "RDMA" },       { 0x200, "multifd off" },
		{ 0x01, "unknown" },    { 0x0a, "unknown" },
		{ 0x400, "unknown" },   { 0x04, "second list" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		setup();
		part(2);
		be(bad[i].flags, 8);
		assert_refused(bad[i].what);
	}
	setup();
	part(2);
	page(4 * 4096, "a", 8, 0);
	assert_refused("outside");
	setup();
	part(2);
	page(UINT64_C(0xfffffffffffff000), "a", 8, 0);
	assert_refused("outside");
	setup();
	part(2);
	page(0, "c", 8, 0);
	assert_refused("unknown block");
	setup();
	part(2);
	page(0, NULL, 8 | 0x20, 0);
	assert_refused("no block");
	setup();
	part(2);
	page(0, "a", 2, 7);
	assert_refused("filled with");
}

static void refusal_is_final(void **state)
{
	struct stream_event e;
	size_t used;

	begin();
	command(3, 16, 0);
	assert_refused("post-copy");
	setup();
	assert_true(stream_next(&s, m.b, m.len, &e, &used) < 0);
}

#define TEST(fn, name)                \
	{                             \
		(name), (fn), 0, 0, 0 \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(real_stream, "streams of stock QEMU are taken apart completely"),
		TEST(every_boundary,
		     "a stream cut at every byte gives the same events"),
		TEST(every_truncation,
		     "nothing beyond the bytes that have come is read"),
		TEST(continue_keeps_block,
		     "a record without a name is of the last block, across sections"),
		TEST(refuses_other_connections,
		     "what is no plain migration is refused with the remedy"),
		TEST(refuses_configuration,
		     "configurations that leave memory out are refused"),
		TEST(refuses_sections, "sections that cannot be routed are refused"),
		TEST(refuses_commands, "post-copy and unknown commands are refused"),
		TEST(refuses_blocks, "a wrong list of blocks is refused"),
		TEST(refuses_records, "records that cannot be placed are refused"),
		TEST(refusal_is_final, "after a refusal nothing is taken any more"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
