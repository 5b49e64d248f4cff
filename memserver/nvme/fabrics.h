/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fabrics commands (Base 2.0, 6): Connect, Property Get and Set, Disconnect, the
 * door to logins; and what
 * ends with the connection. On the worker of the queue.
 */
#ifndef MEMSERVER_NVME_FABRICS_H
#define MEMSERVER_NVME_FABRICS_H

#include "memserver/nvme/queue.h"

/* `data`: the capsule's, `len` bytes. Answers. 0, or -ESHUTDOWN: the host is done. */
int nvme_fabrics_command(struct nvme_queue *q, struct nvme_req *req,
			 const struct nvme_cmd *cmd, const uint8_t *data, uint32_t len);

/* The host has proved itself: the queue takes up its service. 0, or the status that says
 * why it cannot (its export or its place is gone); nothing is changed then. */
uint16_t nvme_fabrics_admit(struct nvme_queue *q);

/* Undoes Connect. */
void nvme_fabrics_leave(struct nvme_queue *q);

#endif
