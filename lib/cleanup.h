/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Scope-bound ownership: a variable that frees itself, and the visible act of
 * giving it away (`return take_fd(&fd);`). No allocation, any thread.
 */
#ifndef LIB_CLEANUP_H
#define LIB_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

#define _cleanup_close_ __attribute__((cleanup(cleanup_close)))
#define _cleanup_free_  __attribute__((cleanup(cleanup_free)))

/* Moves a descriptor out of a scope-bound variable. */
static inline int take_fd(int *fd)
{
	int ret = *fd;

	*fd = -1;
	return ret;
}

/* Moves a pointer out of a scope-bound variable. */
#define take_ptr(p)                      \
	({                               \
		__auto_type _pp = &(p);  \
		__auto_type _ret = *_pp; \
		*_pp = NULL;             \
		_ret;                    \
	})

#endif
