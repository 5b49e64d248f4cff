/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fault points: places that can be told to fail, so that error paths are run by
 * tests and by operators who rehearse. `r = fault_point("pool.populate");` is 0
 * unless the point is armed, else the -errno it was armed with. Compiled in always;
 * a point that is not armed costs one load and one predictable branch.
 *
 * Armed by the environment, REMEM_FAULTS="pool.populate=ENOMEM@3,conn.send=EIO%5",
 * or by the control socket, in the same words:
 *
 *	NAME=ERRNO	each pass fails
 *	NAME=ERRNO@N	the Nth pass from now fails, the others go through
 *	NAME=ERRNO@N+	the Nth pass and all after it fail
 *	NAME=ERRNO%P	P passes of a hundred fail (0 < P <= 100, decimals allowed), in
 *			an order that is the same in every run
 *	NAME=off	disarms the point
 *	off		disarms all
 *
 * ERRNO is a name (ENOSPC) or a number. All calls from any thread; none allocates.
 */
#ifndef LIB_FAULT_H
#define LIB_FAULT_H

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>

#define FAULT_NAME_MAX 48
#define FAULT_MAX      32 /* points armed at a time */

struct fault_arm;

/* One place in the code. Places of the same name are armed together. */
struct fault_site {
	const char *name;
	_Atomic(struct fault_arm *) arm; /* NULL: off */
};

/* The slow half of fault_point. */
int fault_hit(struct fault_arm *arm);

/* Every site puts its address in this section, so that a name nobody has is an error
 * and not a test that silently tests nothing. */
#define fault_point(NAME)                                                            \
	({                                                                           \
		static struct fault_site _site = { .name = (NAME) };                 \
		static struct fault_site *const _at                                  \
			__attribute__((section("fault_sites"), used)) = &_site;      \
		struct fault_arm *_arm =                                             \
			atomic_load_explicit(&_at->arm, memory_order_relaxed);       \
		__builtin_expect(_arm != (struct fault_arm *)0, 0) ? fault_hit(_arm) \
								   : 0;              \
	})

/* In place of a call that reports by errno: true, and errno set, when it is to fail. */
#define fault_errno(NAME)                   \
	({                                  \
		int _r = fault_point(NAME); \
		if (_r < 0)                 \
			errno = -_r;        \
		_r < 0;                     \
	})

/*
 * Does what `spec` says, all or nothing. -EINVAL: not the syntax above; -ENOENT: no
 * such point; -ENOSPC: too many armed. *ret_why (may be NULL; static text) tells.
 */
int fault_set(const char *spec, const char **ret_why);

/* Does what REMEM_FAULTS says; logs what is armed, or why not and returns -errno.
 * Absent: 0. */
int fault_init(void);

struct fault_info {
	const char *name;
	int error;       /* 0: not armed */
	uint64_t passes; /* since it was armed */
	uint64_t fired;
};

/* Calls `fn` once for every name. */
void fault_each(void (*fn)(const struct fault_info *info, void *arg), void *arg);

#endif
