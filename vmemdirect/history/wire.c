/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages about access histories to bytes and back; the caller's thread. */
#include "vmemdirect/history/wire.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "lib/be.h"

#define VERSION     1
#define FIXED       96 /* bytes of a hello before its blocks */
#define BLOCK_BYTES 72
#define BYTES_MAX   (UINT64_C(1) << 46) /* of all blocks: 64 TiB */

static const char hello_magic[8] = "RMHISTRY";
static const char word_magic[4] = "RMHW";
static const char head_magic[4] = "RMHA";

/* Printable, ended within its field, zeros behind. */
static bool take_name(const uint8_t *p, char ret[GUEST_NAME_MAX])
{
	size_t len = strnlen((const char *)p, GUEST_NAME_MAX);

	for (size_t i = 0; i < GUEST_NAME_MAX; i++)
		if (i < len ? p[i] < ' ' || p[i] > '~' : p[i] != 0)
			return false;
	if (len == GUEST_NAME_MAX)
		return false;
	memcpy(ret, p, GUEST_NAME_MAX);
	return true;
}

/* ---- hello ---- */

size_t history_put_hello(const struct history_hello *h, uint8_t *buf)
{
	uint8_t *p = buf + FIXED;

	memset(buf, 0, HISTORY_HELLO_MAX);
	memcpy(buf, hello_magic, 8);
	be_put32(buf + 8, VERSION);
	be_put32(buf + 12, h->nr_blocks);
	memcpy(buf + 16, h->uuid, HISTORY_UUID_BYTES);
	memcpy(buf + 32, h->name, strnlen(h->name, GUEST_NAME_MAX - 1));
	for (unsigned int i = 0; i < h->nr_blocks; i++, p += BLOCK_BYTES) {
		memcpy(p, h->block[i].name,
		       strnlen(h->block[i].name, GUEST_NAME_MAX - 1));
		be_put64(p + GUEST_NAME_MAX, h->block[i].size_bytes);
	}
	return (size_t)(p - buf);
}

static bool take_blocks(const uint8_t *p, struct history_hello *h)
{
	uint64_t left = BYTES_MAX;

	for (unsigned int i = 0; i < h->nr_blocks; i++, p += BLOCK_BYTES) {
		struct history_block *b = &h->block[i];

		b->size_bytes = be_get64(p + GUEST_NAME_MAX);
		if (!take_name(p, b->name) || !b->size_bytes ||
		    b->size_bytes % GUEST_PAGE_SIZE || b->size_bytes > left)
			return false;
		left -= b->size_bytes;
	}
	return true;
}

int history_take_hello(const uint8_t *p, size_t len, struct history_hello *ret,
		       size_t *ret_used)
{
	struct history_hello h = { .nr_blocks = 0 };
	size_t begun = len < sizeof(hello_magic) ? len : sizeof(hello_magic), bytes;
	uint64_t nr;

	if (memcmp(p, hello_magic, begun) != 0)
		return -EPROTO;
	if (len < FIXED)
		return 0;
	nr = be_get32(p + 12);
	if (be_get32(p + 8) != VERSION || !nr || nr > GUEST_BLOCKS_MAX)
		return -EPROTO;
	bytes = FIXED + (size_t)nr * BLOCK_BYTES;
	if (len < bytes)
		return 0;
	h.nr_blocks = (unsigned int)nr;
	memcpy(h.uuid, p + 16, HISTORY_UUID_BYTES);
	if (!take_name(p + 32, h.name) || !take_blocks(p + FIXED, &h))
		return -EPROTO;
	*ret = h;
	*ret_used = bytes;
	return 1;
}

uint64_t history_pages(const struct history_hello *h)
{
	uint64_t nr = 0;

	for (unsigned int i = 0; i < h->nr_blocks; i++)
		nr += h->block[i].size_bytes >> GUEST_PAGE_SHIFT;
	return nr;
}

/* ---- the others ---- */

void history_put_word(enum history_word w, uint8_t buf[HISTORY_WORD_BYTES])
{
	memcpy(buf, word_magic, 4);
	be_put32(buf + 4, (uint32_t)w);
}

int history_take_word(const uint8_t p[HISTORY_WORD_BYTES], enum history_word *ret)
{
	uint64_t w = be_get32(p + 4);

	if (memcmp(p, word_magic, 4) != 0 || w < HISTORY_WELCOME || w > HISTORY_BAD)
		return -EPROTO;
	*ret = (enum history_word)w;
	return 0;
}

void history_put_head(const struct history_head *h, uint8_t buf[HISTORY_HEAD_BYTES])
{
	memcpy(buf, head_magic, 4);
	be_put32(buf + 4, h->samples);
	be_put64(buf + 8, h->nr_pages);
	be_put32(buf + 16, h->crc);
	be_put32(buf + 20, 0);
}

int history_take_head(const uint8_t p[HISTORY_HEAD_BYTES], struct history_head *ret)
{
	if (memcmp(p, head_magic, 4) != 0 || be_get32(p + 20) != 0)
		return -EPROTO;
	*ret = (struct history_head){
		.samples = be_get32(p + 4),
		.nr_pages = be_get64(p + 8),
		.crc = be_get32(p + 16),
	};
	return 0;
}

/* ---- whose it is ---- */

static bool differ(const uint8_t *a, const uint8_t *b)
{
	static const uint8_t none[HISTORY_UUID_BYTES];

	return memcmp(a, none, sizeof(none)) && memcmp(b, none, sizeof(none)) &&
	       memcmp(a, b, sizeof(none));
}

static int find_block(const struct history_block *b, const struct guest *g,
		      const char *const *source_name, const bool *taken)
{
	for (unsigned int i = 0; i < g->nr_blocks; i++) {
		const char *name = source_name && source_name[i] ? source_name[i]
								 : g->block[i].name;

		if (!taken[i] && b->size_bytes == g->block[i].size_bytes &&
		    (!b->name[0] || !strcmp(b->name, name)))
			return (int)i;
	}
	return -1;
}

int history_match(const struct history_hello *h, const struct guest *g,
		  const char *const *source_name, const uint8_t *uuid,
		  int ret_map[GUEST_BLOCKS_MAX])
{
	bool taken[GUEST_BLOCKS_MAX] = { false };
	unsigned int found = 0;
	int map[GUEST_BLOCKS_MAX];

	if (differ(h->uuid, uuid))
		return -ESTALE;
	for (unsigned int i = 0; i < h->nr_blocks; i++) {
		map[i] = find_block(&h->block[i], g, source_name, taken);
		if (map[i] < 0)
			continue;
		taken[map[i]] = true;
		found++;
	}
	if (found < g->nr_blocks)
		return -ESTALE;
	memcpy(ret_map, map, sizeof(map));
	return 0;
}
