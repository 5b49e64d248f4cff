/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * I/O commands on an export: NVM Command Set 1.0. No locks, no allocation; on the
 * worker of the queue.
 */
#ifndef MEMSERVER_NVME_IO_H
#define MEMSERVER_NVME_IO_H

#include "memserver/nvme/queue.h"

/*
 * A command with `in_capsule` bytes of data in its capsule. On return the request is
 * answered (SENT), or wants its data (DATA): in_capsule bytes now, or by R2T, which has
 * been sent, or is a job of the queue (TAKEN).
 */
void nvme_io_command(struct nvme_queue *q, struct nvme_req *req,
		     const struct nvme_cmd *cmd, uint32_t in_capsule);

/* Where the next bytes of its data go and, in *len (at most what is left of the PDU),
 * how many at a time. */
uint8_t *nvme_io_where(struct nvme_queue *q, struct nvme_req *req, uint32_t *len);

/* `len` bytes have arrived where nvme_io_where said. */
void nvme_io_chunk(struct nvme_queue *q, struct nvme_req *req, uint32_t len);

/* A PDU's data is complete, and intact as far as a digest tells. */
void nvme_io_received(struct nvme_queue *q, struct nvme_req *req, bool intact);

/* The next slice of the queue's job. */
void nvme_io_work(struct nvme_queue *q);

#endif
