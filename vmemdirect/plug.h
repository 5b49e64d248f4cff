/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that a VM got or lost after the attach. vmemdirect pages the blocks it was
 * attached to; a DIMM plugged in later stays resident, beside the limit, and that is
 * said: in the log when it comes, in status and metrics as long as it is there. A block
 * that the process has no longer mapped was unplugged: nobody can ask for its pages.
 *
 * Looks at the process's mappings now and then, and asks QEMU, aside, only when they
 * grew. Main thread.
 */
#ifndef VMEMDIRECT_PLUG_H
#define VMEMDIRECT_PLUG_H

#include <stdatomic.h>
#include <stdint.h>

#include "vmemdirect/aside.h"
#include "vmemdirect/guest.h"

#define PLUG_LOOK_S 5

struct plug {
	const struct guest *g; /* borrowed */
	const char *qmp;       /* borrowed */
	struct aside *aside;   /* borrowed */
	struct aside_job job;
	uint64_t
		mapped_bytes; /* large writable mappings at the last look, ours left out */
	_Atomic uint64_t shared_bytes; /* of these: in memory objects */
	_Atomic uint64_t unpaged_bytes;
	_Atomic uint32_t unplugged; /* blocks, by index, bit by bit */
	uint64_t unplugged_bytes;
};

/* What is mapped now is what the VM was attached with. `qmp`: QEMU's monitor, "" for none:
 * then only shared memory is told. */
void plug_begin(struct plug *p, const struct guest *g, const char *qmp,
		struct aside *aside);

/* Never waits for QEMU. Returns the blocks that this look has found unplugged, bit by bit. */
uint32_t plug_look(struct plug *p);

/* Of memory backends that are not paged, as far as is known. */
uint64_t plug_unpaged(const struct plug *p);

#endif
