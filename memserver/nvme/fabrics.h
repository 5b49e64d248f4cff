/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fabrics commands (Base 2.0, 6): Connect, Property Get and Set, Disconnect; and what
 * ends with the connection. On the worker of the queue.
 */
#ifndef MEMSERVER_NVME_FABRICS_H
#define MEMSERVER_NVME_FABRICS_H

#include "memserver/nvme/queue.h"

/* `data`: the capsule's, `len` bytes. Answers. 0, or -ESHUTDOWN: the host is done. */
int nvme_fabrics_command(struct nvme_queue *q, struct nvme_req *req,
			 const struct nvme_cmd *cmd, const uint8_t *data, uint32_t len);

/* Undoes Connect. */
void nvme_fabrics_leave(struct nvme_queue *q);

#endif
