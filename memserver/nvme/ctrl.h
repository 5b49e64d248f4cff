/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Controllers: what the queues of one association share. The queues are connections
 * and may live on different workers; each holds a reference. Control plane only: no
 * I/O command comes here.
 *
 * One lock guards the register and, in every controller, `cc`, `csts` and `queues`. A
 * connection that stands in `queues` is alive while the lock is held, since it takes
 * itself out on its own worker before it is freed. The other fields are constant, or
 * belong to the admin queue's worker. NVMe Base 2.0, 3.1; Fabrics: 3.3, 6.3.
 */
#ifndef MEMSERVER_NVME_CTRL_H
#define MEMSERVER_NVME_CTRL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/list.h"
#include "lib/proto/nvme.h"
#include "memserver/export.h"

#define NVME_IO_QUEUES   64u   /* most per controller */
#define NVME_QUEUE_SIZE  1024u /* most entries of an I/O queue */
#define NVME_ADMIN_SIZE  128u  /* most entries of the admin queue */
#define NVME_MDTS        5u    /* 4 KiB << 5: the most data of one command */
#define NVME_MDTS_BYTES  (EXPORT_BLOCK << NVME_MDTS)
#define NVME_CAPSULE     (128u << 10) /* data in an I/O capsule */
#define NVME_CAPSULE_ADM (8u << 10)
#define NVME_MAX_AER     4u

struct conn;

struct nvme_ctrl {
	struct list link; /* in the register */
	int refs;         /* under the lock */
	uint32_t cc, csts;
	struct conn *queues[1 + NVME_IO_QUEUES]; /* borrowed while they stand here */

	/* Constant. */
	uint16_t cntlid;
	bool discovery;
	bool encrypted;        /* came over TLS: so must its I/O queues */
	struct export *export; /* owned; NULL for discovery */
	uint8_t hostid[16];
	char subnqn[NVME_NQN_FIELD], hostnqn[NVME_NQN_FIELD];

	_Atomic uint64_t seen_ns; /* last sign of life on any queue */

	/* The admin queue's. */
	uint32_t kato_ms; /* 0: no keep-alive */
	uint32_t aen_config;
	bool aen_masked; /* told, and the log page not read since */
	bool aen_due;
	bool ns_changed;     /* for the changed namespace list */
	uint64_t known_size; /* the export's, as the host was last told */
	uint64_t known_genctr;
};

/* A new I/O or (`export` NULL) discovery controller with `admin` as its queue 0 and
 * one reference, which is that queue's. Takes over nothing. -ENOMEM, -EBUSY: all
 * controller numbers are in use. */
int nvme_ctrl_new(struct export *export, const struct nvme_connect_data *who,
		  struct conn *admin, struct nvme_ctrl **ret);

/*
 * A reference to the controller that `who` names, for its queue `qid`, whose place is
 * free. Else a status for the Connect, and *ret_dw0 which field.
 */
uint16_t nvme_ctrl_join(const struct nvme_connect_data *who, uint16_t qid,
			struct nvme_ctrl **ret, uint32_t *ret_dw0);

/* Puts `io`, which has joined, in as queue `qid`; a status when its place is taken by
 * now, or the controller disabled. */
uint16_t nvme_ctrl_enter(struct nvme_ctrl *ctrl, uint16_t qid, struct conn *io);

/* Takes an I/O queue out of service: another connection may become it. */
void nvme_ctrl_vacate(struct nvme_ctrl *ctrl, uint16_t qid, const struct conn *io);

/* Takes a queue out and its reference back. With the admin queue goes the controller:
 * its I/O queues are kicked. */
void nvme_ctrl_leave(struct nvme_ctrl *ctrl, uint16_t qid, const struct conn *c);

/* Property registers. A write to CC that disables or shuts down kicks the I/O queues;
 * *ret_disabled tells that EN fell. */
uint32_t nvme_ctrl_cc(struct nvme_ctrl *ctrl);
uint32_t nvme_ctrl_csts(struct nvme_ctrl *ctrl);
void nvme_ctrl_set_cc(struct nvme_ctrl *ctrl, uint32_t cc, bool *ret_disabled);
uint64_t nvme_ctrl_cap(void);

/* Enabled and ready: admin commands may come. */
bool nvme_ctrl_ready(struct nvme_ctrl *ctrl);

#endif
