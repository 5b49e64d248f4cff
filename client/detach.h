/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Undoing an attachment, whatever state it is in: after a failed `on`, after a memswap
 * that died in the middle, and for `off`. Looks at the kernel for what there is to
 * undo. Main thread; failures have been said.
 */
#ifndef CLIENT_DETACH_H
#define CLIENT_DETACH_H

#include <stdbool.h>

#include "client/attachment.h"

/*
 * Everything that comes after swapoff(2): owner's mark, device, keeper, sysctl, state.
 * The state stays if the device couldn't be removed.
 */
int detach_device(struct attachment *a);

/*
 * The whole, in the safe order. Refuses when what is swapped there doesn't fit into
 * what is free (-ENOMEM), or when the server is gone (-EHOSTDOWN); with `force` tries
 * anyway, and makes I/O of a dead server fail, so that pages that are only there are
 * lost and swapoff(2) comes to an end. -EINTR: the swap is on as before.
 */
int detach_swap(struct attachment *a, bool force, bool verbose);

#endif
