/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which VM is meant: what the command line and QEMU itself say, as attach/ wants to
 * have it. Main thread; failures are logged here, once.
 */
#ifndef VMEMDIRECT_FIND_H
#define VMEMDIRECT_FIND_H

#include <stdint.h>

#include "vmemdirect/attach/attach.h"
#include "vmemdirect/config.h"

/* Asks c->qmp for what is missing in `c` (pid, name) and for the memory backends. */
int find_by_qmp(struct config *c, struct attach_cfg *a);

/* The VM's uuid, 16 bytes; zeros where it has none, or does not say. */
void find_uuid(const char *qmp_path, uint8_t *ret);

/* Without a name: that of its program. */
void find_default_name(struct config *c);

#endif
