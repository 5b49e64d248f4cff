/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The 64-bit hash of a page, keyed with random words of the VM's own: it tells a clean
 * page from a changed one and right bytes from wrong. Not cryptographic, but without
 * the keys nobody can aim at a collision; by chance it is 2^-64. Pure, any thread.
 */
#ifndef VMEMDIRECT_PAGER_HASH_H
#define VMEMDIRECT_PAGER_HASH_H

#include <stdbool.h>
#include <stdint.h>

/* `page` is 4096 bytes, 8-byte aligned. */
uint64_t hash_page(const void *page, const uint64_t key[8]);

/* Are all 4096 bytes zero? Stops at the first that is not. */
bool hash_is_zero(const void *page);

#endif
