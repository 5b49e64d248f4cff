/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The head of an attached block device: may it be taken, and the marks that are put
 * there. Main thread; failures have been said.
 */
#ifndef CLIENT_DEVICE_H
#define CLIENT_DEVICE_H

#include <stdbool.h>

#include "client/attachment.h"

/*
 * Makes the device ready for swapon(2): refuses one that holds something else, unless
 * `force`, or on which another host swaps; writes a swap header where there is no
 * fitting one, and this attachment as its owner. Fills a->swap_uuid. 0, -EEXIST it
 * holds something else, -EBUSY somebody uses it, or -errno.
 */
int device_prepare(struct attachment *a, bool force);

/*
 * After swapoff(2), if the area is still this attachment's: gives all its memory back to
 * the lender, unless discards are off, and takes the owner's mark away. Reads and writes:
 * only while the server is there. Says nothing; a mark that stays is known for an old one
 * by this host.
 */
void device_release(const struct attachment *a);

#endif
