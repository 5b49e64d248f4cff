/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's migration stream (pre-copy, file version 3; QEMU's migration/savevm.c and
 * migration/ram.c write it), parsed piece by piece: bytes in, events out. Pure: no
 * I/O, no allocation, no clock; one thread for each struct stream.
 *
 * Strict: until the memory is complete everything in the stream must be known, for a
 * section of unknown length cannot be skipped safely (the guest chooses bytes of it,
 * so looking for its end can be fooled). What is not known, or cannot be routed, is
 * refused with -EPROTO and a reason; nothing has been lost then, for the source keeps
 * its VM. Behind the memory's end all bytes are the devices' (STREAM_TAIL), opaque.
 */
#ifndef VMEMDIRECT_MIGRATE_STREAM_H
#define VMEMDIRECT_MIGRATE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STREAM_PAGE_SIZE  4096
#define STREAM_BLOCKS_MAX 128
#define STREAM_NAME_MAX   256
/* No piece but the tail is longer: a caller's buffer of this size always gets on. */
#define STREAM_PIECE_MAX (128u << 10)

enum stream_type {
	STREAM_HEADER,
	STREAM_CONFIG,  /* machine name, or one subsection of the configuration */
	STREAM_COMMAND, /* `command`, `value` (of a PING) */
	STREAM_SECTION, /* START, PART or END of the memory's section begins */
	STREAM_BLOCKS,  /* the list of blocks begins */
	STREAM_BLOCK,   /* one of them: `block` */
	STREAM_PAGE,    /* `block`, `addr`, `page` */
	STREAM_ZERO,    /* `block`, `addr` */
	STREAM_EOS,     /* the section's records end */
	STREAM_FOOTER,  /* the section ends; `complete`: and with it the memory */
	STREAM_TAIL,    /* device state, end mark, description: all that is left */
};

#define STREAM_CMD_OPEN_RETURN_PATH 1
#define STREAM_CMD_PING             2
#define STREAM_CMD_SWITCHOVER_START 11

struct stream_block {
	char name[STREAM_NAME_MAX];
	uint64_t size_bytes;
	unsigned int index; /* in the order of the list */
};

struct stream_event {
	enum stream_type type;
	const struct stream_block *block; /* borrowed from the struct stream */
	uint64_t addr;                    /* in the block, bytes, page-aligned */
	const uint8_t *page; /* STREAM_PAGE_SIZE bytes, in the caller's buffer */
	uint16_t command;
	uint32_t value;
	bool complete;
};

enum stream_state {
	STREAM_AT_MAGIC,
	STREAM_AT_CONFIG,
	STREAM_AT_CONFIG_MORE,
	STREAM_AT_SECTION,
	STREAM_AT_BLOCK,
	STREAM_AT_RECORD,
	STREAM_AT_FOOTER,
	STREAM_AT_TAIL,
	STREAM_AT_REFUSED,
};

struct stream {
	enum stream_state state;
	bool return_path, started, listed, ending, complete;
	uint32_t ram_id;
	uint64_t unlisted_bytes;            /* of MEM_SIZE's total */
	const struct stream_block *current; /* what CONTINUE means; NULL: nothing yet */
	unsigned int nr_blocks;
	struct stream_block block[STREAM_BLOCKS_MAX];
	char why[256]; /* of a refusal: what, and the remedy */
};

void stream_init(struct stream *s);

/*
 * Takes the next piece from the `len` bytes at `p`. 1: *ret_event is filled, the piece
 * is the first *ret_used bytes (to be forwarded as they are, if at all). 0: the piece
 * is not complete yet: call again with the same bytes and more. -EPROTO: refused, and
 * so is every further call; s->why says why.
 */
int stream_next(struct stream *s, const uint8_t *p, size_t len,
		struct stream_event *ret_event, size_t *ret_used);

/*
 * What the whole tail says. 1: it is complete, and *ret_runstate (a pointer into the
 * tail, NUL-terminated, or NULL where the source does not tell) is what the VM did
 * when it was stopped: "running", "paused", ... 0: more is to come, or it is no tail.
 */
int stream_tail_complete(const uint8_t *tail, size_t len, const char **ret_runstate);

#endif
