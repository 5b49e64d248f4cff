/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes of a migration stream in, one event at a time out; the caller's thread. Every
 * length is checked against what is there before it is used, and against its bound
 * before it is waited for.
 */
#include "vmemdirect/migrate/stream.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAGIC       0x5145564d /* "QEVM" */
#define VERSION     3
#define MULTIFD     0x11223344
#define RAM_VERSION 4
#define NR_CAPS_MAX 64

enum { /* section types */
       T_EOF,
       T_START,
       T_PART,
       T_END,
       T_FULL,
       T_SUBSECTION,
       T_VMDESC,
       T_CONFIGURATION,
       T_COMMAND,
       T_FOOTER = 0x7e,
};

enum { /* flags of a record of memory */
       F_ZERO = 0x02,
       F_MEM_SIZE = 0x04,
       F_PAGE = 0x08,
       F_EOS = 0x10,
       F_CONTINUE = 0x20,
       F_XBZRLE = 0x40,
       F_HOOK = 0x80,
       F_COMPRESS = 0x100,
       F_MULTIFD_FLUSH = 0x200,
       F_MASK = 0xfff,
};

/* What is left of the caller's bytes; `at` may pass `len`: then bytes are missing. */
struct cursor {
	const uint8_t *p;
	size_t len, at;
};

static bool have(const struct cursor *c, size_t n)
{
	return c->at <= c->len && n <= c->len - c->at;
}

static uint64_t take_be(struct cursor *c, unsigned int bytes)
{
	uint64_t v = 0;

	if (have(c, bytes))
		for (unsigned int i = 0; i < bytes; i++)
			v = v << 8 | c->p[c->at + i];
	c->at += bytes;
	return v;
}

static bool missing(const struct cursor *c)
{
	return c->at > c->len;
}

/* A length byte and a name. NULL: not all there yet. */
static const uint8_t *take_name(struct cursor *c, size_t *ret_len)
{
	size_t len = take_be(c, 1);
	const uint8_t *name = c->p + c->at;

	if (missing(c) || !have(c, len)) {
		c->at = c->len + 1;
		return NULL;
	}
	c->at += len;
	*ret_len = len;
	return name;
}

static bool is(const uint8_t *name, size_t len, const char *want)
{
	return len == strlen(want) && !memcmp(name, want, len);
}

static int refuse(struct stream *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static int refuse(struct stream *s, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(s->why, sizeof(s->why), fmt, args);
	va_end(args);
	for (char *c = s->why; *c; c++) /* names are the peer's bytes */
		if (*c < ' ' || *c > '~')
			*c = '?';
	s->state = STREAM_AT_REFUSED;
	return -EPROTO;
}

/* ---- header, configuration, commands ---- */

static int at_magic(struct stream *s, struct cursor *c, struct stream_event *e)
{
	uint32_t magic, version;

	if (have(c, 3) && c->p[0] == 0x16 && c->p[1] == 3)
		return refuse(s, "it is encrypted: unset tls-creds at the source");
	magic = (uint32_t)take_be(c, 4);
	if (missing(c))
		return 0;
	if (magic == MULTIFD)
		return refuse(s, "it is multifd's: migrate_set_capability multifd off "
				 "at the source");
	if (magic != MAGIC)
		return refuse(s, "it is no migration of QEMU (begins %08x)", magic);
	version = (uint32_t)take_be(c, 4);
	if (missing(c))
		return 0;
	if (version != VERSION)
		return refuse(s, "file version %u, only 3 is known", version);
	s->state = STREAM_AT_CONFIG;
	e->type = STREAM_HEADER;
	return 1;
}

static int at_config(struct stream *s, struct cursor *c, struct stream_event *e)
{
	uint64_t type = take_be(c, 1), len;

	if (missing(c))
		return 0;
	if (type != T_CONFIGURATION)
		return refuse(s, "it has no configuration section (a machine type "
				 "before 2.4?)");
	len = take_be(c, 4);
	if (missing(c))
		return 0;
	if (len >= STREAM_NAME_MAX)
		return refuse(s, "a machine name of %u bytes", (unsigned int)len);
	if (!have(c, len))
		return 0;
	c->at += len;
	s->state = STREAM_AT_CONFIG_MORE;
	e->type = STREAM_CONFIG;
	return 1;
}

static int take_capabilities(struct stream *s, struct cursor *c)
{
	uint64_t n = take_be(c, 4);

	if (missing(c))
		return 0;
	if (n > NR_CAPS_MAX)
		return refuse(s, "%u capabilities", (unsigned int)n);
	for (; n; n--) {
		size_t len;
		const uint8_t *name = take_name(c, &len);

		if (!name)
			return 0;
		return refuse(s,
			      "it uses the capability %.*s, which leaves memory out of "
			      "the "
			      "stream: migrate_set_capability %.*s off at the source",
			      (int)len, name, (int)len, name);
	}
	return 1;
}

static int at_config_more(struct stream *s, struct cursor *c, struct stream_event *e)
{
	const uint8_t *name;
	size_t len;
	int r = 1;

	take_be(c, 1); /* T_SUBSECTION, seen by the caller */
	name = take_name(c, &len);
	take_be(c, 4); /* its version */
	if (!name || missing(c))
		return 0;
	if (is(name, len, "configuration/capabilities"))
		r = take_capabilities(s, c);
	else if (is(name, len, "configuration/target-page-bits")) {
		uint64_t bits = take_be(c, 4);

		if (!missing(c) && bits != 12)
			return refuse(s, "pages of 2^%u bytes, only 4 KiB are known",
				      (unsigned int)bits);
	} else if (is(name, len, "configuration/uuid"))
		c->at += 16;
	else
		return refuse(s, "an unknown part of the configuration: %.*s", (int)len,
			      name);
	e->type = STREAM_CONFIG;
	return r < 0 ? r : r && !missing(c);
}

static int at_command(struct stream *s, struct cursor *c, struct stream_event *e)
{
	uint64_t cmd = take_be(c, 2), len = take_be(c, 2);

	if (missing(c))
		return 0;
	if (cmd >= 3 && cmd <= 7)
		return refuse(s,
			      "it may become a post-copy, which is not routed: "
			      "migrate_set_capability postcopy-ram off at the source");
	if (cmd == STREAM_CMD_OPEN_RETURN_PATH && !len)
		s->return_path = true;
	else if (cmd == STREAM_CMD_PING && len == 4)
		e->value = (uint32_t)take_be(c, 4);
	else if (cmd != STREAM_CMD_SWITCHOVER_START || len)
		return refuse(s, "an unknown command (%u, %u bytes)", (unsigned int)cmd,
			      (unsigned int)len);
	e->type = STREAM_COMMAND;
	e->command = (uint16_t)cmd;
	return !missing(c);
}

/* ---- sections ---- */

static int at_start(struct stream *s, struct cursor *c, struct stream_event *e)
{
	uint64_t id = take_be(c, 4), instance, version;
	size_t len;
	const uint8_t *name = take_name(c, &len);

	instance = take_be(c, 4);
	version = take_be(c, 4);
	if (!name || missing(c))
		return 0;
	if (!is(name, len, "ram"))
		return refuse(s,
			      "section \"%.*s\" comes while the VM runs and is not "
			      "routed: "
			      "remove that device, or the capability that sends it",
			      (int)len, name);
	if (!s->return_path)
		return refuse(s, "it has no return path, without which a failure here "
				 "would leave no VM anywhere: migrate_set_capability "
				 "return-path on at the source (or --source-qmp)");
	if (s->started || instance || version != RAM_VERSION)
		return refuse(s, "memory section version %u, instance %u%s",
			      (unsigned int)version, (unsigned int)instance,
			      s->started ? ", for the second time" : "");
	s->started = true;
	s->ram_id = (uint32_t)id;
	s->state = STREAM_AT_RECORD;
	e->type = STREAM_SECTION;
	return 1;
}

static int at_part(struct stream *s, struct cursor *c, struct stream_event *e, bool end)
{
	uint32_t id = (uint32_t)take_be(c, 4);

	if (missing(c))
		return 0;
	if (!s->listed || id != s->ram_id)
		return refuse(s, "a part of section %u, which has not begun", id);
	s->ending = end;
	s->state = STREAM_AT_RECORD;
	e->type = STREAM_SECTION;
	return 1;
}

static int at_section(struct stream *s, struct cursor *c, struct stream_event *e)
{
	uint64_t type;

	if (!have(c, 1))
		return 0;
	type = c->p[0];
	if (s->complete && (type == T_FULL || type == T_EOF)) {
		s->state = STREAM_AT_TAIL;
		return 1; /* nothing taken: the tail begins here */
	}
	if (s->state == STREAM_AT_CONFIG_MORE && type == T_SUBSECTION)
		return at_config_more(s, c, e);
	s->state = STREAM_AT_SECTION;
	c->at = 1;
	switch (type) {
	case T_COMMAND:
		return at_command(s, c, e);
	case T_START:
		return at_start(s, c, e);
	case T_PART:
	case T_END:
		if (!s->complete)
			return at_part(s, c, e, type == T_END);
	}
	return refuse(s, "a section of type %#x %s", (unsigned int)type,
		      s->complete  ? "behind the memory"
		      : s->started ? "between the memory's"
				   : "before the memory");
}

static int at_footer(struct stream *s, struct cursor *c, struct stream_event *e)
{
	uint64_t type = take_be(c, 1), id = take_be(c, 4);

	if (missing(c))
		return 0;
	if (type != T_FOOTER || id != s->ram_id)
		return refuse(s, "the memory's section has no footer");
	s->complete = s->ending;
	s->state = STREAM_AT_SECTION;
	e->type = STREAM_FOOTER;
	e->complete = s->complete;
	return 1;
}

/* ---- records of memory ---- */

static const struct stream_block *find_block(const struct stream *s,
					     const uint8_t *name, size_t len)
{
	for (unsigned int i = 0; i < s->nr_blocks; i++)
		if (is(name, len, s->block[i].name))
			return &s->block[i];
	return NULL;
}

static int at_block(struct stream *s, struct cursor *c, struct stream_event *e)
{
	struct stream_block *b = &s->block[s->nr_blocks];
	size_t len;
	const uint8_t *name = take_name(c, &len);
	uint64_t size = take_be(c, 8);

	if (!name || missing(c))
		return 0;
	if (s->nr_blocks == STREAM_BLOCKS_MAX)
		return refuse(s, "more than %u blocks of memory", STREAM_BLOCKS_MAX);
	if (!len || memchr(name, 0, len) || find_block(s, name, len))
		return refuse(s, "two blocks of memory are called \"%.*s\"", (int)len,
			      name);
	if (!size || size % STREAM_PAGE_SIZE || size > s->unlisted_bytes)
		return refuse(s, "block %.*s has %#llx bytes", (int)len, name,
			      (unsigned long long)size);
	memcpy(b->name, name, len);
	b->name[len] = 0;
	b->size_bytes = size;
	b->index = s->nr_blocks++;
	s->unlisted_bytes -= size;
	if (!s->unlisted_bytes) {
		s->listed = true;
		s->state = STREAM_AT_RECORD;
	}
	e->type = STREAM_BLOCK;
	e->block = b;
	return 1;
}

static int refuse_flags(struct stream *s, unsigned int flags)
{
	if (flags & F_XBZRLE)
		return refuse(s, "it uses xbzrle: migrate_set_capability xbzrle off at "
				 "the source");
	if (flags & F_COMPRESS)
		return refuse(s, "it is compressed: migrate_set_capability compress "
				 "off at the source");
	if (flags & F_HOOK)
		return refuse(s, "it is an RDMA migration: migrate tcp:HOST:PORT");
	if (flags & F_MULTIFD_FLUSH)
		return refuse(s, "it uses multifd: migrate_set_capability multifd off "
				 "at the source");
	return refuse(s, "an unknown record of memory (flags %#x)", flags);
}

/* Block and address of a page; 1, or 0: not all there, or -EPROTO. */
static int take_address(struct stream *s, struct cursor *c, unsigned int flags,
			uint64_t addr, struct stream_event *e)
{
	const struct stream_block *b = s->current;

	if (!s->listed)
		return refuse(s, "a page before the list of blocks");
	if (!(flags & F_CONTINUE)) {
		size_t len;
		const uint8_t *name = take_name(c, &len);

		if (!name)
			return 0;
		b = find_block(s, name, len);
		if (!b)
			return refuse(s, "a page of an unknown block \"%.*s\"",
				      (int)len, name);
	}
	if (!b)
		return refuse(s, "a page of no block");
	if (addr >= b->size_bytes)
		return refuse(s, "page %#llx is outside of block %s",
			      (unsigned long long)addr, b->name);
	e->block = b;
	e->addr = addr;
	return 1;
}

static int take_payload(struct stream *s, struct cursor *c, bool zero,
			struct stream_event *e)
{
	size_t len = zero ? 1 : STREAM_PAGE_SIZE;

	if (!have(c, len))
		return 0;
	if (zero && c->p[c->at])
		return refuse(s, "a page filled with %#x", c->p[c->at]);
	e->type = zero ? STREAM_ZERO : STREAM_PAGE;
	e->page = zero ? NULL : c->p + c->at;
	c->at += len;
	s->current = e->block;
	return 1;
}

static int at_record(struct stream *s, struct cursor *c, struct stream_event *e)
{
	uint64_t word = take_be(c, 8), addr = word & ~(uint64_t)F_MASK;
	unsigned int flags = word & F_MASK;
	int r;

	if (missing(c))
		return 0;
	switch (flags) {
	case F_PAGE:
	case F_PAGE | F_CONTINUE:
	case F_ZERO:
	case F_ZERO | F_CONTINUE:
		r = take_address(s, c, flags, addr, e);
		return r == 1 ? take_payload(s, c, flags & F_ZERO, e) : r;
	case F_EOS:
		if (!s->listed || addr)
			return refuse(s, "the memory's section ends without a list");
		s->state = STREAM_AT_FOOTER;
		e->type = STREAM_EOS;
		return 1;
	case F_MEM_SIZE:
		if (s->listed || !addr)
			return refuse(s, "a second list of blocks, or an empty one");
		s->unlisted_bytes = addr;
		s->state = STREAM_AT_BLOCK;
		e->type = STREAM_BLOCKS;
		return 1;
	}
	return refuse_flags(s, flags);
}

/* ---- the door ---- */

static int at_tail(struct cursor *c, struct stream_event *e)
{
	e->type = STREAM_TAIL;
	c->at = c->len;
	return c->len > 0;
}

static int take(struct stream *s, struct cursor *c, struct stream_event *e)
{
	switch (s->state) {
	case STREAM_AT_MAGIC:
		return at_magic(s, c, e);
	case STREAM_AT_CONFIG:
		return at_config(s, c, e);
	case STREAM_AT_CONFIG_MORE:
	case STREAM_AT_SECTION:
		return at_section(s, c, e);
	case STREAM_AT_BLOCK:
		return at_block(s, c, e);
	case STREAM_AT_RECORD:
		return at_record(s, c, e);
	case STREAM_AT_FOOTER:
		return at_footer(s, c, e);
	case STREAM_AT_TAIL:
		return at_tail(c, e);
	case STREAM_AT_REFUSED:
		break;
	}
	return -EPROTO;
}

void stream_init(struct stream *s)
{
	memset(s, 0, sizeof(*s));
}

int stream_next(struct stream *s, const uint8_t *p, size_t len,
		struct stream_event *ret_event, size_t *ret_used)
{
	struct stream_event e = { .type = STREAM_HEADER };
	struct cursor c = { .p = p, .len = len };
	int r = take(s, &c, &e);

	if (r == 1 && s->state == STREAM_AT_TAIL)
		r = at_tail(&c, &e);
	if (r != 1)
		return r;
	*ret_event = e;
	*ret_used = c.at;
	return 1;
}

/*
 * The description is text, so the byte before its length is the last 06 there is: it
 * is found from the end, where nothing is the guest's. In front of it the section
 * "globalstate", which QEMU sends last, has a fixed length.
 */
int stream_tail_complete(const uint8_t *tail, size_t len, const char **ret_runstate)
{
	static const char name[] = "\013globalstate";
	const size_t body = 4 + 100, head = 5 + sizeof(name) - 1 + 8, foot = 5;
	const uint8_t *desc = len > 6 ? memrchr(tail, T_VMDESC, len) : NULL;
	const uint8_t *section;
	struct cursor c;

	*ret_runstate = NULL;
	if (!desc || desc == tail || desc[-1] != T_EOF)
		return 0;
	c = (struct cursor){ .p = desc, .len = len - (size_t)(desc - tail), .at = 1 };
	if (!have(&c, 4) || take_be(&c, 4) != c.len - 5)
		return 0;
	if ((size_t)(desc - 1 - tail) >= head + body + foot) {
		section = desc - 1 - foot - body - head;
		if (section[0] == T_FULL &&
		    !memcmp(section + 5, name, sizeof(name) - 1) &&
		    !section[head + body - 1])
			*ret_runstate = (const char *)section + head + 4;
	}
	return 1;
}
