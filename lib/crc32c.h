/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CRC32C (Castagnoli), the digest of NVMe/TCP and iSCSI: RFC 3720, appendix B.4.
 * SSE4.2's instruction on three streams at once where the processor has it (and
 * carry-less multiplication to join them), else eight bytes a step by tables. Pure,
 * any thread, does not allocate.
 */
#ifndef LIB_CRC32C_H
#define LIB_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/*
 * The CRC of what `crc` covered followed by `len` bytes at `data`; start with 0. The
 * value is the finished one (inverted), little-endian on the wire.
 */
uint32_t crc32c_add(uint32_t crc, const void *data, size_t len);

/* The same without the processor's help: what tests compare with. */
uint32_t crc32c_add_plain(uint32_t crc, const void *data, size_t len);

/* True when crc32c_add uses the processor's instructions. */
_Bool crc32c_is_fast(void);

#endif
