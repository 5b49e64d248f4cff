/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Admin commands in, answers out: dispatch, asynchronous events, abort, keep-alive. On
 * the worker of the admin queue, which owns all that is touched here.
 */
#include "memserver/nvme/admin.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "memserver/exports.h"
#include "memserver/nvme/identify.h"
#include "memserver/nvme/logpage.h"

#define SECOND UINT64_C(1000000000)

/* ---- replies ---- */

/* Room for the reply's data, or the command is answered with an error and NULL. */
static void *reply_room(struct nvme_queue *q, struct nvme_req *req,
			const struct nvme_cmd *cmd, uint32_t len)
{
	uint16_t status = NVME_SC_INTERNAL;

	if (cmd->sgl.type != NVME_SGL_TRANSPORT)
		status = NVME_SC_SGL_TYPE;
	else if (le32toh(cmd->sgl.len) != len)
		status = NVME_SC_SGL_LEN;
	else
		req->buf = calloc(1, len);
	if (!req->buf)
		nvme_req_fail(q, req, status);
	req->len = len;
	return req->buf;
}

static void reply(struct nvme_queue *q, struct nvme_req *req, uint16_t status)
{
	if (!status) {
		nvme_req_complete_data(q, req);
		return;
	}
	free(req->buf);
	req->buf = NULL;
	nvme_req_fail(q, req, status);
}

void nvme_admin_reply(struct nvme_queue *q, struct nvme_req *req,
		      const struct nvme_cmd *cmd, const void *data, uint32_t len)
{
	void *out = reply_room(q, req, cmd, len);

	if (!out)
		return;
	memcpy(out, data, len);
	reply(q, req, NVME_SC_SUCCESS);
}

static void do_identify(struct nvme_queue *q, struct nvme_req *req,
			const struct nvme_cmd *cmd)
{
	void *out = reply_room(q, req, cmd, NVME_IDENTIFY_LEN);

	if (out)
		reply(q, req, nvme_identify(q->ctrl, cmd, out));
}

static void do_get_log(struct nvme_queue *q, struct nvme_req *req,
		       const struct nvme_cmd *cmd)
{
	uint64_t dwords = (le32toh(cmd->cdw10) >> 16 |
			   (uint64_t)(le32toh(cmd->cdw11) & 0xffff) << 16) +
			  1;
	struct nvme_window w = {
		.offset = le32toh(cmd->cdw12) | (uint64_t)le32toh(cmd->cdw13) << 32,
	};

	if (dwords > NVME_MDTS_BYTES / 4 || w.offset % 4) {
		nvme_req_fail(q, req, NVME_SC_INVALID_FIELD);
		return;
	}
	w.len = (uint32_t)dwords * 4;
	w.out = reply_room(q, req, cmd, w.len);
	if (w.out)
		reply(q, req, nvme_logpage_read(q, cmd, &w));
}

/* ---- asynchronous events ---- */

/* The only event of either kind of controller: its one log page has changed. */
static uint32_t event_of(const struct nvme_ctrl *ctrl)
{
	return ctrl->discovery ? NVME_AEN(NVME_AEN_NOTICE, NVME_AEN_NOTICE_DISCOVERY,
					  NVME_LOG_DISCOVERY)
			       : NVME_AEN(NVME_AEN_NOTICE, NVME_AEN_NOTICE_NS_CHANGED,
					  NVME_LOG_CHANGED_NS);
}

/* Takes a held request out. */
static struct nvme_req *unhold(struct nvme_queue *q, unsigned int i)
{
	struct nvme_req *req = q->held[i];

	q->nr_held--;
	memmove(&q->held[i], &q->held[i + 1], (q->nr_held - i) * sizeof(q->held[0]));
	return req;
}

static void tell_event(struct nvme_queue *q)
{
	struct nvme_ctrl *ctrl = q->ctrl;

	if (!ctrl->aen_due || ctrl->aen_masked || !q->nr_held)
		return;
	ctrl->aen_due = false;
	ctrl->aen_masked = true; /* one at a time, until its log page has been read */
	nvme_req_complete(q, unhold(q, 0), NVME_SC_SUCCESS, event_of(ctrl), 0);
}

static void look_for_events(struct nvme_queue *q)
{
	struct nvme_ctrl *ctrl = q->ctrl;
	uint64_t genctr = exports_generation(conn_exports(q->c));

	if (ctrl->discovery && genctr != ctrl->known_genctr) {
		ctrl->known_genctr = genctr;
		ctrl->aen_due |= (ctrl->aen_config & NVME_OAES_DISCOVERY) != 0;
	}
	if (!ctrl->discovery && export_size(ctrl->export) != ctrl->known_size) {
		ctrl->known_size = export_size(ctrl->export);
		ctrl->ns_changed = true;
		ctrl->aen_due |= (ctrl->aen_config & NVME_OAES_NS_ATTR) != 0;
	}
	tell_event(q);
}

static void do_aer(struct nvme_queue *q, struct nvme_req *req)
{
	req->tx.arrived_ns = 0; /* its wait is no latency */
	if (q->nr_held == NVME_MAX_AER) {
		nvme_req_fail(q, req, NVME_SC_AER_LIMIT);
		return;
	}
	req->state = NVME_REQ_HELD;
	q->held[q->nr_held++] = req;
	tell_event(q);
}

void nvme_admin_unmask(struct nvme_queue *q)
{
	q->ctrl->aen_masked = false;
	tell_event(q);
}

void nvme_admin_reset(struct nvme_queue *q)
{
	while (q->nr_held)
		nvme_req_forget(q, unhold(q, 0));
	q->ctrl->aen_config = 0;
	q->ctrl->aen_due = q->ctrl->aen_masked = false;
}

/* Only event requests are ever there to be aborted: all else on this queue is answered
 * at once, and the I/O queues' workers own theirs. */
static void do_abort(struct nvme_queue *q, struct nvme_req *req,
		     const struct nvme_cmd *cmd)
{
	uint16_t sqid = le32toh(cmd->cdw10) & 0xffff;
	uint16_t cid = (uint16_t)(le32toh(cmd->cdw10) >> 16);
	uint32_t not_aborted = 1;

	for (unsigned int i = 0; !sqid && i < q->nr_held; i++)
		if (q->held[i]->cid == cid) {
			nvme_req_complete(q, unhold(q, i), NVME_SC_ABORT_REQ, 0, 0);
			not_aborted = 0;
			break;
		}
	nvme_req_complete(q, req, NVME_SC_SUCCESS, not_aborted, 0);
}

/* ---- keep-alive ---- */

/*
 * Ticks come once a second. When they did not (we were stopped, or starved), what the
 * host sent meanwhile is still in the socket: that time does not count against it.
 */
static bool host_is_gone(struct nvme_queue *q, uint64_t now)
{
	struct nvme_ctrl *ctrl = q->ctrl;
	uint64_t seen = atomic_load_explicit(&ctrl->seen_ns, memory_order_relaxed);

	if (q->seen_ns > seen)
		seen = q->seen_ns;
	if (q->tick_ns && now > q->tick_ns + 3 * SECOND) {
		seen = now;
		atomic_store_explicit(&ctrl->seen_ns, now, memory_order_relaxed);
	}
	q->tick_ns = now;
	/* The I/O queues report their traffic with a tick's delay. */
	return ctrl->kato_ms &&
	       now > seen + ctrl->kato_ms * UINT64_C(1000000) + 2 * SECOND;
}

int nvme_admin_tick(struct nvme_queue *q, uint64_t now_ns)
{
	if (host_is_gone(q, now_ns)) {
		conn_warn(q->c, "host %s of controller %u: no keep-alive for %u ms",
			  q->ctrl->hostnqn, q->ctrl->cntlid, q->ctrl->kato_ms);
		return -ETIMEDOUT;
	}
	look_for_events(q);
	return 0;
}

/* ---- dispatch ---- */

void nvme_admin_command(struct nvme_queue *q, struct nvme_req *req,
			const struct nvme_cmd *cmd)
{
	if (!nvme_ctrl_ready(q->ctrl)) {
		nvme_req_fail(q, req, NVME_SC_CMD_SEQ);
		return;
	}
	if (cmd->flags & NVME_CMD_FUSED_MASK ||
	    (cmd->flags & NVME_CMD_PSDT_MASK) != NVME_CMD_PSDT_SGL) {
		nvme_req_fail(q, req, NVME_SC_INVALID_FIELD);
		return;
	}
	switch (cmd->opcode) {
	case NVME_ADMIN_IDENTIFY:
		do_identify(q, req, cmd);
		break;
	case NVME_ADMIN_GET_LOG:
		do_get_log(q, req, cmd);
		break;
	case NVME_ADMIN_SET_FEATURES:
		nvme_feature_set(q, req, cmd);
		break;
	case NVME_ADMIN_GET_FEATURES:
		nvme_feature_get(q, req, cmd);
		break;
	case NVME_ADMIN_AER:
		do_aer(q, req);
		break;
	case NVME_ADMIN_ABORT:
		do_abort(q, req, cmd);
		break;
	case NVME_ADMIN_KEEP_ALIVE:
		req->tx.arrived_ns = 0;
		nvme_req_complete(q, req, NVME_SC_SUCCESS, 0, 0);
		break;
	default:
		nvme_req_fail(q, req, NVME_SC_INVALID_OPCODE);
	}
}
