/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Admin commands (Base 2.0, 5), asynchronous events and keep-alive. On the worker of
 * the admin queue. Replies with data are allocated: this is not the serving path.
 */
#ifndef MEMSERVER_NVME_ADMIN_H
#define MEMSERVER_NVME_ADMIN_H

#include "memserver/nvme/queue.h"

/* Answers, or holds an asynchronous event request. */
void nvme_admin_command(struct nvme_queue *q, struct nvme_req *req,
			const struct nvme_cmd *cmd);

/* About once a second and when exports changed: events, keep-alive. 0, or -ETIMEDOUT:
 * the host is gone. */
int nvme_admin_tick(struct nvme_queue *q, uint64_t now_ns);

/* The controller was disabled: held requests go unanswered, events are off. */
void nvme_admin_reset(struct nvme_queue *q);

/* The host has read what an event was about: the next one may be told. */
void nvme_admin_unmask(struct nvme_queue *q);

/* Get and Set Features (feature.c): answers. */
void nvme_feature_get(struct nvme_queue *q, struct nvme_req *req,
		      const struct nvme_cmd *cmd);
void nvme_feature_set(struct nvme_queue *q, struct nvme_req *req,
		      const struct nvme_cmd *cmd);

/* Answers with the first `len` bytes of a copy of `data`; the host must have asked for
 * just so many. */
void nvme_admin_reply(struct nvme_queue *q, struct nvme_req *req,
		      const struct nvme_cmd *cmd, const void *data, uint32_t len);

#endif
