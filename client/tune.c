/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's RAM in, one sysctl up and later down again. Main thread. */
#include "client/tune.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/file.h"
#include "client/meminfo.h"
#include "client/say.h"
#include "client/state.h"

#define SYSCTL "/proc/sys/vm/min_free_kbytes"

/*
 * Measured (tests/vm/memswap-tiny.sh has the experiment): guests of 128 to 256 MB hang
 * now and then with the kernel's 1.5 MB and never with a sixteenth of their RAM. From
 * 8 GB up the kernel's own rule grows too slowly for fast networks, whose receive
 * rings alone hold tens of megabytes.
 */
uint64_t tune_min_free_kb(uint64_t ram_kb)
{
	uint64_t small = ram_kb / 16, large = ram_kb / 512;

	if (small > 16384)
		small = 16384;
	if (large > 131072)
		large = 131072;
	return small > large ? small : large;
}

/* "WAS SET": what was there, and what we wrote. */
static int remembered(uint64_t *ret_was, uint64_t *ret_set)
{
	char text[64], path[512];
	int r = file_read(text, sizeof(text), "%s",
			  state_file("min_free_kbytes", path, sizeof(path)));

	if (r < 0)
		return r;
	return sscanf(text, "%" SCNu64 " %" SCNu64, ret_was, ret_set) == 2 ? 0 : -EIO;
}

static int write_sysctl(uint64_t kb)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu64 "\n", kb);
	return file_write(SYSCTL, text);
}

void tune_raise(uint64_t want_kb)
{
	uint64_t now, was, set;
	struct meminfo m;
	char text[64], path[512];
	int r;

	r = meminfo_read(&m);
	if (!r)
		r = file_read_number(&now, SYSCTL);
	if (r)
		goto fail;
	if (!want_kb)
		want_kb = tune_min_free_kb(m.total_bytes >> 10);
	if (now >= want_kb)
		return;
	if (remembered(&was, &set))
		was = now;
	snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64 "\n", was, want_kb);
	/* First remember: a memswap that dies in between has changed nothing. */
	r = file_create(state_file("min_free_kbytes", path, sizeof(path)), text);
	if (!r)
		r = write_sysctl(want_kb);
	if (!r) {
		say_step("vm.min_free_kbytes %" PRIu64 " -> %" PRIu64, now, want_kb);
		return;
	}
fail:
	say_warning("can't raise vm.min_free_kbytes: %s; under memory pressure network "
		    "swap may stall",
		    strerror(-r));
}

void tune_restore(void)
{
	uint64_t now, was, set;
	char path[512];

	if (remembered(&was, &set))
		return;
	if (!file_read_number(&now, SYSCTL) && now == set && !write_sysctl(was))
		say_step("vm.min_free_kbytes %" PRIu64 " -> %" PRIu64, now, was);
	unlink(state_file("min_free_kbytes", path, sizeof(path)));
}
