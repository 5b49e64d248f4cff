/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Status objects (ctl_status) as Prometheus' text format: one family after the other,
 * all VMs in each. One thread.
 */
#ifndef VMEMDIRECT_METRICS_H
#define VMEMDIRECT_METRICS_H

#include <json-c/json.h>
#include <stdio.h>

#define METRICS_VMS_MAX 256

void metrics_begin(void);
void metrics_add(json_object *status); /* a reference is taken */
void metrics_print(FILE *f);           /* and all are dropped */

/* The text of one VM, free(3)d by the caller; `status` is taken. NULL: no memory. */
char *metrics_text(json_object *status, size_t *ret_len);

#endif
