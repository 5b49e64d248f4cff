/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes that say where they belong and how old they are: a cell of memory is
 * filled from (index, generation), every word different, so that a cell of another
 * place, an older copy of this one, zeros, or one flipped bit are all found. Pure
 * functions, any thread, no allocation.
 */
#ifndef BENCH_LIB_PATTERN_H
#define BENCH_LIB_PATTERN_H

#include <stddef.h>
#include <stdint.h>

/* `len_bytes` is a multiple of 8, `buf` aligned to 8. */
void pattern_fill(void *buf, size_t len_bytes, uint64_t index, uint64_t generation);

/* True when every word is right. `*ret_at` (bytes into the cell) is written when not. */
_Bool pattern_check(const void *buf, size_t len_bytes, uint64_t index,
		    uint64_t generation, size_t *ret_at);

/* The word a cell holds at byte `at` (a multiple of 8). */
uint64_t pattern_word(uint64_t index, uint64_t generation, size_t at);

#endif
