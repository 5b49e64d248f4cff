/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Log pages (Base 2.0, 5.16). A host asks for any part of a page, so a page is written
 * through a window that keeps what was asked for. On the worker of the admin queue.
 */
#ifndef MEMSERVER_NVME_LOGPAGE_H
#define MEMSERVER_NVME_LOGPAGE_H

#include "memserver/nvme/queue.h"

struct nvme_window {
	uint8_t *out;    /* borrowed; `len` zeroed bytes */
	uint64_t offset; /* of the page, bytes */
	uint32_t len;
};

/* Writes what of [at, at + len) lies in the window. */
void nvme_window_put(struct nvme_window *w, uint64_t at, const void *data,
		     uint64_t len);

/* Fills the window with the page the command names. A status, without DNR. */
uint16_t nvme_logpage_read(struct nvme_queue *q, const struct nvme_cmd *cmd,
			   struct nvme_window *w);

/* The discovery log page as this host, on this connection, may see it. */
void nvme_discovery_read(struct nvme_queue *q, struct nvme_window *w);

#endif
