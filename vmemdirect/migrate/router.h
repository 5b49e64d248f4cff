/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The router of a migration that comes in: takes the source's stream on a socket,
 * gives the guest's pages to place.h and everything else to a stock QEMU that waits
 * with -incoming, ends both return paths, and hands the VM over (handover.h).
 *
 * One thread of its own does all of it; the calls below are main's. What the router
 * needs from the world outside is asked for by callbacks, in the router's thread.
 */
#ifndef VMEMDIRECT_MIGRATE_ROUTER_H
#define VMEMDIRECT_MIGRATE_ROUTER_H

#include <stdbool.h>
#include <stdint.h>

#include "vmemdirect/guest.h"
#include "vmemdirect/migrate/handover.h"
#include "vmemdirect/migrate/place.h"

struct router;

enum router_source { ROUTER_SOURCE_GAVE_UP, ROUTER_SOURCE_KEEPS, ROUTER_SOURCE_SILENT };

struct router_ops {
	/* The destination QEMU's incoming channel: *ret_fd is given away. Afterwards it
	 * does not start by itself. Logs its failures. */
	int (*open_destination)(void *arg, int *ret_fd);
	/* The source's access history, a byte for each page of the guest: given away
	 * (free), *ret_samples looks are behind it. NULL: there is none. May wait. */
	uint8_t *(*history)(void *arg, uint32_t *ret_samples);
	/* All memory is in place: from now on the pager answers. */
	int (*memory_complete)(void *arg);
	/* The hand-over has moved: to be remembered before anything is done about it;
	 * `start`: the VM has to be started here when it is handed over. */
	void (*moved)(void *arg, enum handover state, bool start);
	/* Asks the source how its migration ended, waiting for the end of it. */
	enum router_source (*ask_source)(void *arg);
	/* The destination is the VM now: start it. 0: it runs. -errno: not yet; who is
	 * asked goes on trying, and notes DONE, when the router has ended. Logs its
	 * failures. */
	int (*start_vm)(void *arg);
	void *arg;
};

struct router_cfg {
	int listen_fd; /* given away */
	uint64_t limit_pages;
	/* The source's name of block i of the guest; NULL: the same. Borrowed. */
	const char *source_name[GUEST_BLOCKS_MAX];
	bool stay_paused;           /* never start_vm */
	unsigned int history_chunk; /* pages; as rule_learn */
	struct router_ops ops;
};

struct router_stats {
	enum handover state;
	struct place_stats place;
	uint64_t nr_pages;
	uint64_t received_bytes, forwarded_bytes;
	uint64_t receive_ns; /* since the source connected, until the memory was here */
	uint64_t downtime_ns; /* from the last byte of memory to the acknowledgement */
};

/* Starts to listen. `g`, `t`, `tier` are borrowed until router_free. */
int router_start(const struct router_cfg *cfg, const struct guest *g,
		 struct page_table *t, struct tier *tier, struct router **ret);

/* Readable when the state has become DONE, FAILED, UNCLEAR, or COMMITTED for good (a
 * destination that does not run yet): router_free may follow. */
int router_event_fd(const struct router *r);

/* Breaks off, where the source still has the VM; else lets it end. */
void router_stop(struct router *r);

void router_get_stats(const struct router *r, struct router_stats *ret);

void router_free(struct router *r); /* NULL is fine; stops and waits for the thread */

#endif
