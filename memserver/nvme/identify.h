/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Identify (Base 2.0, 5.17): who a controller and its one namespace are, and what they
 * can do. Pure but for reading the export's size. On the worker of the admin queue.
 */
#ifndef MEMSERVER_NVME_IDENTIFY_H
#define MEMSERVER_NVME_IDENTIFY_H

#include "memserver/nvme/ctrl.h"

/* Fills `out` (NVME_IDENTIFY_LEN zeroed bytes). A status, without DNR. */
uint16_t nvme_identify(const struct nvme_ctrl *ctrl, const struct nvme_cmd *cmd,
		       void *out);

/* Writes an ASCII field, padded with blanks and not terminated (Base 2.0, 1.4.3). */
void nvme_identify_text(char *field, size_t len, const char *text);

#endif
