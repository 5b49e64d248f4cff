/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `vmemdirect attach`, `receive` or `watch` was told: its command line as a struct. Main thread.
 */
#ifndef VMEMDIRECT_CONFIG_H
#define VMEMDIRECT_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/addr.h"
#include "vmemdirect/guest.h"
#include "vmemdirect/pager/pin.h"
#include "vmemdirect/pager/policy.h"

#define CONFIG_PATH_MAX   256
#define CONFIG_SPILLS_MAX 16

struct config {
	char name[GUEST_NAME_MAX]; /* "" until known */
	char qmp[CONFIG_PATH_MAX];
	pid_t pid;
	unsigned int nr_memdevs;
	const char *memdev[GUEST_BLOCKS_MAX]; /* borrowed from argv */
	uint64_t ram_bytes;
	char ssd[CONFIG_PATH_MAX];
	uint64_t ssd_bytes; /* of it, at most; 0: all it has */
	unsigned int nr_spills, mirror;
	const char *spill[CONFIG_SPILLS_MAX]; /* borrowed from argv */
	bool spill_tier;                      /* there are some */
	bool null_tier;
	bool preallocate, force;
	bool resume;      /* go on with what was killed */
	bool auto_resume; /* if something was, else attach anew */
	uint32_t spin_us, prefetch_pages;
	enum policy_kind policy;
	enum pin_method pin;
	bool metrics_on;
	struct addr metrics;
	/* receive only */
	bool receive, stay_paused, json;
	char listen[CONFIG_PATH_MAX], source_qmp[CONFIG_PATH_MAX];
	unsigned int nr_source_memdevs; /* the source's names of memdev[], in order */
	const char *source_memdev[GUEST_BLOCKS_MAX]; /* borrowed from argv */
	char history[CONFIG_PATH_MAX]; /* where watchers may come, or "" */
	uint32_t history_chunk;        /* pages */
	/* watch only */
	bool watch;
	char to[CONFIG_PATH_MAX];
	uint32_t period_ms;
	char state_dir[CONFIG_PATH_MAX]; /* journals and sockets of all VMs */
};

#define CONFIG_METRICS_PORT 9403

#define CONFIG_STATE_DIR "/run/vmemdirect"

/*
 * Reads the words behind "attach". 0; 1: --help, printed; -EINVAL: said on standard
 * error what is wrong.
 */
int config_parse_attach(int argc, char **argv, struct config *ret);

/* The same for "receive". */
int config_parse_receive(int argc, char **argv, struct config *ret);

/* The same for "watch". */
int config_parse_watch(int argc, char **argv, struct config *ret);

/* A VM's name becomes a folder: letters, digits, "-_.+@", not beginning with a dot. */
bool config_name_ok(const char *name);

#endif
