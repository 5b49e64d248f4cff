/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * process_madvise(MADV_PAGEOUT): takes pages out of a process's page table. Where the
 * host does not swap they stay where they are, and the next touch maps them again: a
 * reference bit for everybody. Any thread; does not allocate.
 */
#ifndef VMEMDIRECT_PAGEOUT_H
#define VMEMDIRECT_PAGEOUT_H

#include <stddef.h>
#include <sys/uio.h>

/* `iov` names memory of the process behind `pidfd`, and is used up. What is not
 * mapped there (any more) is passed over. 0 or -errno. */
int pageout(int pidfd, struct iovec *iov, size_t nr);

#endif
