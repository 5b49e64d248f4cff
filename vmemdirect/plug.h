/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that a VM got after the attach. vmemdirect pages the blocks it was attached
 * to; a DIMM plugged in later stays resident, beside the limit, and that is said: in
 * the log when it comes, in status and metrics as long as it is there.
 *
 * Looks at the process's mappings now and then, and asks QEMU only when they grew.
 * Main thread.
 */
#ifndef VMEMDIRECT_PLUG_H
#define VMEMDIRECT_PLUG_H

#include <stdint.h>

#include "vmemdirect/guest.h"

#define PLUG_LOOK_S 5

struct plug {
	uint64_t
		mapped_bytes; /* large writable mappings at the last look, ours left out */
	uint64_t unpaged_bytes; /* of memory backends that are not paged */
};

/* What is mapped now is what the VM was attached with. */
void plug_begin(struct plug *p, const struct guest *g);

/* `qmp`: QEMU's monitor, "" for none: then only shared memory is told. Waits for QEMU,
 * at most as long as qmp.h says, if the mappings changed. */
void plug_look(struct plug *p, const struct guest *g, const char *qmp);

#endif
