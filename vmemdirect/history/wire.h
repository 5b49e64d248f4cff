/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How an access history travels from `vmemdirect watch` at a migration's source to
 * `vmemdirect receive` (docs/protocols.md), over a TCP connection of its own. Integers
 * are big-endian, everything unused is zero.
 *
 *	watch -> receive   hello: "RMHISTRY" | u32 version 1 | u32 blocks (1-16) |
 *	                   uuid 16 B (zeros: none) | VM's name 64 B |
 *	                   blocks x { name 64 B ("": not known) | u64 bytes }
 *	receive -> watch   word: "RMHW" | u32 what
 *	watch -> receive   ages, after the word SEND: "RMHA" | u32 samples |
 *	                   u64 pages | u32 CRC32C of what follows | u32 0 |
 *	                   an aging byte for each page, block after block
 *
 * The receiver says WELCOME or why not, later SEND, once; each then has nothing more to
 * say. Pure: bytes in, struct or -EPROTO out; nothing is allocated. Any thread.
 */
#ifndef VMEMDIRECT_HISTORY_WIRE_H
#define VMEMDIRECT_HISTORY_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "vmemdirect/guest.h"

#define HISTORY_HELLO_MAX  (96 + GUEST_BLOCKS_MAX * 72)
#define HISTORY_WORD_BYTES 8
#define HISTORY_HEAD_BYTES 24
#define HISTORY_UUID_BYTES 16

struct history_block {
	char name[GUEST_NAME_MAX]; /* "": whoever watches does not know it */
	uint64_t size_bytes;       /* a multiple of the page size, not 0 */
};

struct history_hello {
	uint8_t uuid[HISTORY_UUID_BYTES]; /* of the VM; zeros: it has none */
	char name[GUEST_NAME_MAX];        /* of the VM, printable, for logs */
	unsigned int nr_blocks;
	struct history_block block[GUEST_BLOCKS_MAX];
};

enum history_word {
	HISTORY_WELCOME = 1,
	HISTORY_SEND = 2,
	HISTORY_BUSY = 3,  /* another watcher is here already */
	HISTORY_OTHER = 4, /* the history of another VM */
	HISTORY_BAD = 5,   /* no hello, or too late */
};

struct history_head {
	uint32_t samples; /* rounds behind the ages; 0: they mean nothing */
	uint64_t nr_pages;
	uint32_t crc;
};

/* Returns its length; `buf` has HISTORY_HELLO_MAX bytes. */
size_t history_put_hello(const struct history_hello *h, uint8_t *buf);

/* 1: *ret is filled and *ret_used bytes were its; 0: more bytes are needed. */
int history_take_hello(const uint8_t *p, size_t len, struct history_hello *ret,
		       size_t *ret_used);

uint64_t history_pages(const struct history_hello *h);

void history_put_word(enum history_word w, uint8_t buf[HISTORY_WORD_BYTES]);
int history_take_word(const uint8_t p[HISTORY_WORD_BYTES], enum history_word *ret);

void history_put_head(const struct history_head *h, uint8_t buf[HISTORY_HEAD_BYTES]);
int history_take_head(const uint8_t p[HISTORY_HEAD_BYTES], struct history_head *ret);

/*
 * Which block of the guest each block of the hello is: by the name the source has for
 * it, or, where the watcher knew none, the first of its size. ret_map[i] is the
 * guest's block or -1 (one that is not placed here). -ESTALE: another VM's history,
 * for the uuid or the sizes differ, or a block of the guest's is missing.
 */
int history_match(const struct history_hello *h, const struct guest *g,
		  const char *const *source_name, const uint8_t *uuid,
		  int ret_map[GUEST_BLOCKS_MAX]);

#endif
