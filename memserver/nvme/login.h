/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One login of a host on one queue: the controller's side of a DH-HMAC-CHAP transaction
 * (NVMe Base 2.0, 8.13.5). A queue that must authenticate does so between Connect and
 * anything else; a queue in service may again at any time, while its I/O goes on. A login
 * may generate a key for TLS (concat.h): then the queue is not put into service. What
 * goes wrong is answered by AUTH_Failure1, if the host comes to fetch it, and by the
 * end of the connection. On the queue's worker.
 */
#ifndef MEMSERVER_NVME_LOGIN_H
#define MEMSERVER_NVME_LOGIN_H

#include "memserver/nvme/queue.h"

/* Authentication Send with the `len` bytes that came in its capsule, and Receive. Each
 * answers, or holds the request until there is an answer. 0 or negative: the connection
 * is to end (see front.h). */
int nvme_login_send(struct nvme_queue *q, struct nvme_req *req,
		    const struct nvme_auth_cmd *cmd, const uint8_t *data, uint32_t len);
int nvme_login_receive(struct nvme_queue *q, struct nvme_req *req,
		       const struct nvme_auth_cmd *cmd);

/* What was computed meanwhile is answered; a login that takes too long ends. 0 or
 * negative as above. */
int nvme_login_tick(struct nvme_queue *q, uint64_t now_ns);

/* The queue goes. */
void nvme_login_leave(struct nvme_queue *q);

#endif
