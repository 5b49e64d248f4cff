/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM's figures over time, into a file: one JSON object a line, the status and
 * "time_s" (seconds since the first line). bench/paging/plot draws it.
 */
#ifndef VMEMDIRECT_RECORD_H
#define VMEMDIRECT_RECORD_H

#include <json-c/json.h>
#include <stdint.h>

struct record {
	const char *path; /* made anew; "-": standard output */
	uint32_t every_ms;
	/* 0 and the status, owned by the caller; -EAGAIN: not now (nobody answers, a
	 * killed vmemdirect may be resumed); else it has ended. */
	int (*status)(void *arg, json_object **ret);
	void *arg;
};

/* Until the VM's paging has ended, or SIGINT or SIGTERM. 0 or -errno, said. */
int record_vm(const struct record *r);

#endif
