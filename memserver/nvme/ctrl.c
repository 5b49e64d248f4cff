/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The register of controllers: which connections are whose queues, CC and CSTS, and
 * who goes with whom. Called on the workers of the queues, under one lock that is
 * only ever taken by control commands.
 */
#include "memserver/nvme/ctrl.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "memserver/conn.h"

/* FFF0h and above are reserved (Base 2.0, figure 546). */
#define CNTLID_MAX 0xffefu

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list ctrls = LIST_INIT(ctrls);
static uint16_t last_cntlid;

static struct nvme_ctrl *find(uint16_t cntlid)
{
	struct nvme_ctrl *ctrl;

	list_for_each_entry(ctrl, &ctrls, link)
		if (ctrl->cntlid == cntlid)
			return ctrl;
	return NULL;
}

/* Goes round, so that a number just freed is not met again soon. 0: none is free. */
static uint16_t free_cntlid(void)
{
	for (unsigned int i = 0; i < CNTLID_MAX; i++) {
		last_cntlid = last_cntlid < CNTLID_MAX ? last_cntlid + 1 : 1;
		if (!find(last_cntlid))
			return last_cntlid;
	}
	return 0;
}

int nvme_ctrl_new(struct export *export, const struct nvme_connect_data *who,
		  struct conn *admin, struct nvme_ctrl **ret)
{
	struct nvme_ctrl *ctrl = calloc(1, sizeof(*ctrl));
	int r = 0;

	if (!ctrl)
		return -ENOMEM;
	ctrl->refs = 1;
	ctrl->queues[0] = admin;
	ctrl->discovery = !export;
	if (export)
		ctrl->export = export_get(export);
	memcpy(ctrl->hostid, who->hostid, sizeof(ctrl->hostid));
	memcpy(ctrl->subnqn, who->subnqn, sizeof(ctrl->subnqn));
	memcpy(ctrl->hostnqn, who->hostnqn, sizeof(ctrl->hostnqn));

	pthread_mutex_lock(&lock);
	ctrl->cntlid = free_cntlid();
	if (ctrl->cntlid)
		list_add_tail(&ctrls, &ctrl->link);
	else
		r = -EBUSY;
	pthread_mutex_unlock(&lock);

	if (r < 0) {
		if (ctrl->export)
			export_put(ctrl->export);
		free(ctrl);
		return r;
	}
	*ret = ctrl;
	return 0;
}

/* Is the host behind this Connect the one the controller belongs to? */
static bool same_association(const struct nvme_ctrl *ctrl,
			     const struct nvme_connect_data *who)
{
	return !strcmp(ctrl->subnqn, who->subnqn) &&
	       !strcmp(ctrl->hostnqn, who->hostnqn) &&
	       !memcmp(ctrl->hostid, who->hostid, sizeof(ctrl->hostid));
}

static uint16_t check_place(const struct nvme_ctrl *ctrl, uint16_t qid)
{
	bool is_free = ctrl->csts & NVME_CSTS_RDY && !ctrl->queues[qid];

	return is_free ? NVME_SC_SUCCESS : NVME_SC_CMD_SEQ | NVME_SC_DNR;
}

static uint16_t join_locked(const struct nvme_connect_data *who, uint16_t qid,
			    struct nvme_ctrl **ret, uint32_t *ret_dw0)
{
	struct nvme_ctrl *ctrl = find(le16toh(who->cntlid));
	uint16_t status;

	if (!ctrl || !ctrl->queues[0] || !same_association(ctrl, who)) {
		*ret_dw0 = NVME_CONNECT_BAD_DATA(cntlid);
		return NVME_SC_CONNECT_PARAM | NVME_SC_DNR;
	}
	if (ctrl->discovery || qid > NVME_IO_QUEUES) {
		*ret_dw0 = NVME_CONNECT_BAD_CMD(qid);
		return NVME_SC_CONNECT_PARAM | NVME_SC_DNR;
	}
	status = check_place(ctrl, qid);
	if (status)
		return status;
	ctrl->refs++;
	*ret = ctrl;
	return NVME_SC_SUCCESS;
}

uint16_t nvme_ctrl_join(const struct nvme_connect_data *who, uint16_t qid,
			struct nvme_ctrl **ret, uint32_t *ret_dw0)
{
	uint16_t status;

	pthread_mutex_lock(&lock);
	status = join_locked(who, qid, ret, ret_dw0);
	pthread_mutex_unlock(&lock);
	return status;
}

uint16_t nvme_ctrl_enter(struct nvme_ctrl *ctrl, uint16_t qid, struct conn *io)
{
	uint16_t status;

	pthread_mutex_lock(&lock);
	status = check_place(ctrl, qid);
	if (!status)
		ctrl->queues[qid] = io;
	pthread_mutex_unlock(&lock);
	return status;
}

/* They end soon, on their workers; their places are free at once. */
static void kick_io_queues(struct nvme_ctrl *ctrl)
{
	for (unsigned int i = 1; i <= NVME_IO_QUEUES; i++) {
		if (ctrl->queues[i])
			conn_kick(ctrl->queues[i]);
		ctrl->queues[i] = NULL;
	}
}

static void vacate_locked(struct nvme_ctrl *ctrl, uint16_t qid, const struct conn *c)
{
	if (ctrl->queues[qid] == c)
		ctrl->queues[qid] = NULL;
}

void nvme_ctrl_vacate(struct nvme_ctrl *ctrl, uint16_t qid, const struct conn *io)
{
	pthread_mutex_lock(&lock);
	vacate_locked(ctrl, qid, io);
	pthread_mutex_unlock(&lock);
}

void nvme_ctrl_leave(struct nvme_ctrl *ctrl, uint16_t qid, const struct conn *c)
{
	bool last;

	pthread_mutex_lock(&lock);
	vacate_locked(ctrl, qid, c);
	if (!qid) {
		list_del(&ctrl->link);
		ctrl->csts = 0;
		kick_io_queues(ctrl);
	}
	last = !--ctrl->refs;
	pthread_mutex_unlock(&lock);

	if (!last)
		return;
	if (ctrl->export)
		export_put(ctrl->export);
	free(ctrl);
}

uint32_t nvme_ctrl_cc(struct nvme_ctrl *ctrl)
{
	uint32_t v;

	pthread_mutex_lock(&lock);
	v = ctrl->cc;
	pthread_mutex_unlock(&lock);
	return v;
}

uint32_t nvme_ctrl_csts(struct nvme_ctrl *ctrl)
{
	uint32_t v;

	pthread_mutex_lock(&lock);
	v = ctrl->csts;
	pthread_mutex_unlock(&lock);
	return v;
}

bool nvme_ctrl_ready(struct nvme_ctrl *ctrl)
{
	return nvme_ctrl_csts(ctrl) & NVME_CSTS_RDY;
}

/* 4 KiB memory pages, round robin, our command set, 64 B and 16 B entries. A discovery
 * controller has no I/O queues, and hosts leave those sizes zero. */
static bool config_ok(const struct nvme_ctrl *ctrl, uint32_t cc)
{
	bool sizes = NVME_CC_IOSQES(cc) == 6 && NVME_CC_IOCQES(cc) == 4;

	return !NVME_CC_MPS(cc) && !NVME_CC_AMS(cc) &&
	       (NVME_CC_CSS(cc) == 0 || NVME_CC_CSS(cc) == 6) &&
	       (sizes || ctrl->discovery);
}

void nvme_ctrl_set_cc(struct nvme_ctrl *ctrl, uint32_t cc, bool *ret_disabled)
{
	bool was, is = cc & NVME_CC_EN;

	pthread_mutex_lock(&lock);
	was = ctrl->cc & NVME_CC_EN;
	if (is && !was)
		ctrl->csts = config_ok(ctrl, cc) ? NVME_CSTS_RDY : NVME_CSTS_CFS;
	if (!is && was)
		ctrl->csts = 0;
	/* Nothing is volatile that is not so after a shutdown too: done at once. */
	if (NVME_CC_SHN(cc) && !NVME_CC_SHN(ctrl->cc))
		ctrl->csts |= NVME_CSTS_SHST_COMPLETE;
	if ((!is && was) || NVME_CC_SHN(cc))
		kick_io_queues(ctrl);
	ctrl->cc = cc;
	pthread_mutex_unlock(&lock);
	*ret_disabled = !is && was;
}

uint64_t nvme_ctrl_cap(void)
{
	return NVME_CAP_MQES(NVME_QUEUE_SIZE - 1) | NVME_CAP_CQR | NVME_CAP_TO(15) |
	       NVME_CAP_CSS_NVM | NVME_CAP_CSS_CSI;
}
