/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPUs in, queues out; a disk's folder in sysfs in, two of its queue's limits changed.
 * Main thread. */
#include "client/request_queue.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "client/file.h"
#include "client/say.h"

unsigned int request_queues(long cpus)
{
	if (cpus < 1)
		return 1;
	return cpus < REQUEST_QUEUES_MAX ? (unsigned int)cpus : REQUEST_QUEUES_MAX;
}

static void set(const char *disk, const char *limit, unsigned int n)
{
	char path[PATH_MAX], text[16];
	int r;

	snprintf(path, sizeof(path), "%s/queue/%s", disk, limit);
	snprintf(text, sizeof(text), "%u", n);
	r = file_write(path, text);
	if (r)
		say_warning("%s stays as it was, the kernel doesn't take %s: %s", path,
			    text, strerror(-r));
}

void request_queue_bound(const char *disk)
{
	uint64_t kb;

	if (file_read_number(&kb, "%s/queue/max_sectors_kb", disk) ||
	    kb > REQUEST_QUEUE_KB)
		set(disk, "max_sectors_kb", REQUEST_QUEUE_KB);
}

void request_queue_resize(const char *disk, unsigned int n)
{
	set(disk, "nr_requests", n);
}
