/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What ThreadSanitizer cannot know; nothing in other builds. */
#ifndef LIB_TSAN_H
#define LIB_TSAN_H

#include <stddef.h>

/*
 * tsan_no_order(): memory whose accesses are ordered, if at all, by somebody outside of
 * the process. `why` is for the reader of a report. Any thread, once it is mapped.
 */
#ifdef __SANITIZE_THREAD__
/* Of libtsan: races on this memory are not reported. */
void AnnotateBenignRaceSized(const char *file, int line, const volatile void *at,
			     size_t size, const char *why);

static inline void tsan_no_order(const volatile void *at, size_t size, const char *why)
{
	AnnotateBenignRaceSized(__FILE__, __LINE__, at, size, why);
}
#else
static inline void tsan_no_order(const volatile void *at, size_t size, const char *why)
{
}
#endif

#endif
