/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Big-endian numbers at any address, aligned or not: what NBD, iSCSI and our own have on the
 * wire. Pure, any thread; the caller has checked that the bytes are there.
 */
#ifndef LIB_BE_H
#define LIB_BE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define BE_NUMBER(bits)                                            \
	static inline uint##bits##_t be_get##bits(const void *p)   \
	{                                                          \
		uint##bits##_t v;                                  \
                                                                   \
		memcpy(&v, p, sizeof(v));                          \
		return be##bits##toh(v);                           \
	}                                                          \
                                                                   \
	static inline void be_put##bits(void *p, uint##bits##_t v) \
	{                                                          \
		v = htobe##bits(v);                                \
		memcpy(p, &v, sizeof(v));                          \
	}

BE_NUMBER(16)
BE_NUMBER(32)
BE_NUMBER(64)
#undef BE_NUMBER

#endif
