/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What lies at the head of a device, and the swap header that may be put there
 * (Linux include/linux/swap.h, union swap_header; mm/swapfile.c, read_swap_header).
 *
 * The simplest safe rule decides: a device whose first and last SWAP_AREA_LOOK bytes
 * are zeros, or that carries a swap header, may be taken; anything else belongs to
 * somebody. The table of signatures only serves to name what was found.
 *
 * The first 1024 bytes of a swap area are left alone by kernel and mkswap. memswap
 * writes there who swaps on it, so that a second host that is pointed at the same
 * export is refused instead of corrupting the first.
 *
 * Pure functions, any thread.
 */
#ifndef CLIENT_SWAP_AREA_H
#define CLIENT_SWAP_AREA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SWAP_AREA_LOOK      (144u << 10) /* past ZFS's first label's uberblocks */
#define SWAP_AREA_MIN_PAGES 10           /* what mkswap insists on */
#define SWAP_AREA_PAGE_MAX  65536

enum swap_area_kind {
	SWAP_AREA_BLANK,  /* zeros */
	SWAP_AREA_SWAP,   /* a swap header that this kernel would take */
	SWAP_AREA_REDO,   /* a swap header, but of another page size or length */
	SWAP_AREA_FOREIGN /* something else: `what` */
};

/* Who swaps on it. Every field is one line of printable text. */
struct swap_area_owner {
	char host[65];    /* for people */
	char machine[80]; /* the same as long as it's the same machine */
	char boot[40];    /* the kernel's boot_id */
	char attach[40];  /* this attachment's UUID */
};

struct swap_area {
	enum swap_area_kind kind;
	const char *what; /* static, for SWAP_AREA_FOREIGN */
	uint64_t where;   /* its offset */
	uint8_t uuid[16]; /* of the swap header, if there is one */
	char label[17];
	bool owned; /* `owner` is there */
	struct swap_area_owner owner;
};

/*
 * Looks at the first `head_len` bytes (at least one page) and the last `tail_len` of
 * a device of `size_bytes`.
 */
void swap_area_probe(const uint8_t *head, size_t head_len, const uint8_t *tail,
		     size_t tail_len, size_t page_size, uint64_t size_bytes,
		     struct swap_area *ret);

/*
 * Fills `page` (page_size bytes) with a header for all of size_bytes. `label` at most
 * 16 bytes. -EINVAL: fewer than SWAP_AREA_MIN_PAGES pages.
 */
int swap_area_format(uint8_t *page, size_t page_size, uint64_t size_bytes,
		     const uint8_t uuid[16], const char *label);

/* The first 4096 bytes of an area: is it the one with this UUID? */
bool swap_area_has_uuid(const uint8_t *head, const uint8_t uuid[16]);

/* Writes or (NULL) clears the owner in a page that holds a header. */
void swap_area_own(uint8_t *page, const struct swap_area_owner *owner);

#endif
