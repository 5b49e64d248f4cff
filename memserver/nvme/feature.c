/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Get and Set Features (Base 2.0, 5.15 and 5.27): what a host may read and change of a
 * controller. Nothing is saved over a reset. On the worker of the admin queue.
 */
#include <endian.h>

#include "memserver/nvme/admin.h"

#define QUEUES_GRANTED ((NVME_IO_QUEUES - 1) << 16 | (NVME_IO_QUEUES - 1))

static uint32_t events_of(const struct nvme_ctrl *ctrl)
{
	return ctrl->discovery ? NVME_OAES_DISCOVERY : NVME_OAES_NS_ATTR;
}

/* Mandatory ones of which we have the one setting, 0. */
static bool is_fixed(const struct nvme_ctrl *ctrl, uint8_t fid)
{
	switch (fid) {
	case NVME_FEAT_ARBITRATION:
	case NVME_FEAT_POWER:
	case NVME_FEAT_ERROR_RECOVERY:
	case NVME_FEAT_ATOMICITY:
		return !ctrl->discovery;
	default:
		return false;
	}
}

/* 0's based counts of submission (low) and completion queues: as many as asked for, but
 * no more than there are. */
static uint16_t set_queues(uint32_t asked, uint32_t *ret_dw0)
{
	uint32_t most = NVME_IO_QUEUES - 1;
	uint32_t sq = asked & 0xffff, cq = asked >> 16;

	if (sq == 0xffff || cq == 0xffff)
		return NVME_SC_INVALID_FIELD;
	*ret_dw0 = (cq < most ? cq : most) << 16 | (sq < most ? sq : most);
	return NVME_SC_SUCCESS;
}

static uint16_t set_events(struct nvme_ctrl *ctrl, uint32_t config)
{
	if (config & ~(events_of(ctrl) | 0xff)) /* 7:0: SMART warnings, never given */
		return NVME_SC_INVALID_FIELD;
	ctrl->aen_config = config;
	return NVME_SC_SUCCESS;
}

static uint16_t set(struct nvme_ctrl *ctrl, const struct nvme_cmd *cmd,
		    uint32_t *ret_dw0)
{
	uint8_t fid = le32toh(cmd->cdw10) & 0xff;
	uint32_t value = le32toh(cmd->cdw11);

	if (le32toh(cmd->cdw10) & NVME_FEAT_SAVE)
		return NVME_SC_FEATURE_NOT_SAVEABLE;
	if (is_fixed(ctrl, fid))
		return value ? NVME_SC_FEATURE_NOT_CHANGEABLE : NVME_SC_SUCCESS;
	switch (fid) {
	case NVME_FEAT_QUEUES:
		return ctrl->discovery ? NVME_SC_INVALID_FIELD
				       : set_queues(value, ret_dw0);
	case NVME_FEAT_ASYNC_EVENT:
		return set_events(ctrl, value);
	case NVME_FEAT_KATO:
		ctrl->kato_ms = value;
		return NVME_SC_SUCCESS;
	case NVME_FEAT_HOST_ID: /* Fabrics: Connect has set it */
		return NVME_SC_CMD_SEQ;
	default:
		return NVME_SC_INVALID_FIELD;
	}
}

void nvme_feature_set(struct nvme_queue *q, struct nvme_req *req,
		      const struct nvme_cmd *cmd)
{
	uint32_t dw0 = 0;
	uint16_t status = set(q->ctrl, cmd, &dw0);

	if (status)
		nvme_req_fail(q, req, status);
	else
		nvme_req_complete(q, req, NVME_SC_SUCCESS, dw0, 0);
}

static uint16_t get(const struct nvme_ctrl *ctrl, uint8_t fid, uint32_t *ret_dw0)
{
	if (is_fixed(ctrl, fid))
		*ret_dw0 = 0;
	else if (fid == NVME_FEAT_QUEUES && !ctrl->discovery)
		*ret_dw0 = QUEUES_GRANTED;
	else if (fid == NVME_FEAT_ASYNC_EVENT)
		*ret_dw0 = ctrl->aen_config;
	else if (fid == NVME_FEAT_KATO)
		*ret_dw0 = ctrl->kato_ms;
	else
		return NVME_SC_INVALID_FIELD;
	return NVME_SC_SUCCESS;
}

void nvme_feature_get(struct nvme_queue *q, struct nvme_req *req,
		      const struct nvme_cmd *cmd)
{
	uint8_t fid = le32toh(cmd->cdw10) & 0xff;
	uint16_t status = NVME_SC_INVALID_FIELD;
	uint32_t dw0 = 0;

	if (le32toh(cmd->cdw10) >> 8 & 7) /* only current values: ONCS says no Select */
		goto fail;
	/* Extended (16 bytes) is the only form of the host's identifier on Fabrics. */
	if (fid == NVME_FEAT_HOST_ID && le32toh(cmd->cdw11) & 1) {
		nvme_admin_reply(q, req, cmd, q->ctrl->hostid, sizeof(q->ctrl->hostid));
		return;
	}
	status = get(q->ctrl, fid, &dw0);
	if (status)
		goto fail;
	nvme_req_complete(q, req, NVME_SC_SUCCESS, dw0, 0);
	return;
fail:
	nvme_req_fail(q, req, status);
}
