/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The reasons not to attach. Each is its own question with its own message and remedy,
 * logged here; all are asked, so that one run shows all. Main thread.
 */
#ifndef VMEMDIRECT_ATTACH_REFUSE_H
#define VMEMDIRECT_ATTACH_REFUSE_H

#include "vmemdirect/attach/attach.h"
#include "vmemdirect/attach/proc.h"

/* About the mapping chosen as guest memory: private, hugetlbfs, not shmem, huge pages.
 * 0 or -ENOTSUP. `fd` is the open object. */
int refuse_object(const struct guest *g, const struct guest_block *b, int fd);

/* About the process and the host: swap, VFIO, vhost-user, O_DIRECT, a userfaultfd that is
 * there. 0 or -ENOTSUP. */
int refuse_process(const struct guest *g, const struct attach_cfg *cfg);

/* Of that, whether disks may write into memory unseen (O_DIRECT without the pin check). */
int refuse_unpinnable(const struct guest *g, const struct attach_cfg *cfg);

/* The host's swap alone: 0 or -ENOTSUP; and the question without a word. */
int refuse_swap(const struct guest *g);
bool refuse_may_swap(const struct guest *g);

/* Explains why userfaultfd could not be had, `error` being -errno. */
void refuse_explain_uffd(const struct guest *g, int error);

#endif
