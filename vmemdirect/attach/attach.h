/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a pid to a `struct guest`: finds its shared memory objects, refuses what cannot
 * be paged safely (refuse.h), puts a userfaultfd into the process and takes a copy of
 * it out. Nothing is registered yet, so the process runs on undisturbed; the pager
 * registers when it is ready. Main thread; each reason for a refusal is logged here,
 * once, with its remedy.
 */
#ifndef VMEMDIRECT_ATTACH_ATTACH_H
#define VMEMDIRECT_ATTACH_ATTACH_H

#include <stdbool.h>

#include "vmemdirect/guest.h"

/* One memory backend that QMP named: what must be found in the process. */
struct attach_want {
	char id[GUEST_NAME_MAX];
	uint64_t size_bytes;
};

struct attach_cfg {
	const char *name; /* of the VM, borrowed for the call */
	pid_t pid;
	unsigned int nr_want; /* 0: take every shared RAM object there is */
	struct attach_want want[GUEST_BLOCKS_MAX];
	bool pin_check; /* pinned pages can be told, so O_DIRECT is safe */
	bool force;     /* go on where only safety speaks against it */
	bool exact; /* backends of one size are refused: which is which is not known */
};

/* Fills *ret. -ENOTSUP: refused, the log says why; other -errno: logged too. */
int attach_open(const struct attach_cfg *cfg, struct guest *ret);

/*
 * Only finds and checks: *ret has everything but a userfaultfd, the process is as it
 * was and may be attached by another. Refused is what cannot be watched; a disk, a
 * passed-through device or a second process that maps the memory are none of that.
 */
int attach_look(const struct attach_cfg *cfg, struct guest *ret);

/* May the host's own swap take its pages, now? */
bool attach_may_be_swapped(const struct guest *g);

/*
 * For a restart: `g` comes from the journal with its descriptors -1; finds the same
 * process, objects and userfaultfd again. -ESRCH: the process is gone; -ESTALE: it is
 * another one, or has lost the userfaultfd.
 */
int attach_resume(struct guest *g);

/* And may it go on so? -ENOTSUP, said: a disk is O_DIRECT, pinned pages cannot be told any
 * more, and nobody has said --force. */
int attach_check_pins(const struct guest *g, const struct attach_cfg *cfg);

/* Closes the userfaultfd inside the process too: an ordinary process again. The pager
 * must have brought back every page and unregistered. */
void attach_undo(struct guest *g);

/* Closes our descriptors; leaves the process as it is. */
void attach_close(struct guest *g);

#endif
