/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Words that the files of NVMe hosts have in common: "host NQN WORD… [exports=A,B]", a
 * line each; blank lines and those that begin with '#' say nothing. Any thread.
 */
#ifndef MEMSERVER_NVME_HOST_LINE_H
#define MEMSERVER_NVME_HOST_LINE_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/proto/nvme.h"

/* The next word of a line; its length, 0 at the end. */
size_t host_line_word(const char **at, const char *end, const char **ret);

/* "host" and the NQN, into NVME_NQN_LEN + 1 bytes. -EINVAL and *ret_why. */
int host_line_begin(const char **at, const char *end, char *ret_nqn,
		    const char **ret_why);

/* "a,b" becomes ",a,b,", to be freed. -EINVAL and *ret_why, or -ENOMEM. */
int host_line_exports(const char *names, size_t len, char **ret, const char **ret_why);

/* Is `export` (NULL: any) one of `exports` (as made above; NULL: all)? */
bool host_line_covers(const char *exports, const char *export);

/*
 * Calls `take` for each line that says something, until it fails. -EINVAL or -ENOMEM,
 * with *ret_line and (by `take`) *ret_why.
 */
int host_line_each(const char *text, size_t len,
		   int (*take)(void *arg, const char *at, const char *end,
			       const char **ret_why),
		   void *arg, unsigned int *ret_line, const char **ret_why);

/* Room for one more of `size` bytes in *list, which has `nr` that hold secrets: what is
 * left behind is wiped. -ENOMEM. */
int host_line_grow(void *list, size_t nr, size_t size);

#endif
