/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One paged VM from attach to detach: attach/, tier/ and pager/ put together. Main
 * thread. What can go wrong is logged here or below, once.
 */
#ifndef VMEMDIRECT_VM_H
#define VMEMDIRECT_VM_H

#include <stdbool.h>
#include <stdint.h>

#include "vmemdirect/aside.h"
#include "vmemdirect/config.h"
#include "vmemdirect/guest.h"
#include "vmemdirect/order.h"
#include "vmemdirect/pager/page.h"
#include "vmemdirect/pager/pager.h"
#include "vmemdirect/pager/pin.h"
#include "vmemdirect/plug.h"
#include "vmemdirect/tier/tier.h"

struct receive;

enum vm_state {
	VM_PAGED,
	VM_DETACHING, /* everything is being brought back */
	VM_DETACHED,  /* an ordinary process again */
	VM_ENDED,     /* the process is gone */
	VM_RECEIVING, /* a migration comes in: not paged yet */
};

struct vm {
	struct config cfg;
	struct guest guest;
	struct page_table table;
	struct tier *tier;   /* owned */
	struct pager *pager; /* owned */
	struct pin *pin;     /* owned; NULL: pinned pages cannot be told */
	enum vm_state state;
	struct plug plug;
	bool storing_fails;
	uint64_t lost_events;
	struct receive *receive; /* borrowed; NULL: it did not migrate in */
	bool losing;             /* a page that cannot be read is said already */
	struct aside *aside;     /* owned: what may wait for QEMU */
	struct order order;      /* to stop, because a page was lost, and to go on */
	char dir[CONFIG_PATH_MAX + GUEST_NAME_MAX]; /* journal and control socket */
};

/* Attaches (or resumes) and starts to page; where cfg->receive, only makes everything
 * ready for that (VM_RECEIVING). 0 or -errno, logged. */
int vm_open(const struct config *cfg, struct vm *ret);

/* Starts to page a VM that was being received. Any one thread. 0 or -errno, logged. */
int vm_start(struct vm *v);

/* Where the files of a VM are. Buffers of CONFIG_PATH_MAX + GUEST_NAME_MAX + 16. */
void vm_path(const char *state_dir, const char *name, const char *file, char *buf,
	     size_t len);

/* Begins to bring everything back. -ENOMEM: it does not fit into the host's free
 * memory, *ret_need and *ret_have say by how much. */
int vm_detach(struct vm *v, uint64_t *ret_need, uint64_t *ret_have);

/* What the pager told: events of pager.h. Never waits. */
void vm_on_events(struct vm *v, uint32_t events);

/* The process has ended. */
void vm_on_exit(struct vm *v);

/* To be called now and then: tells what memory the VM got (plug.h), and drops the pages of
 * what it gave back. */
void vm_look_at_memory(struct vm *v);

/* Where its pages go, for people. */
const char *vm_where(const struct vm *v);

const char *vm_state_name(enum vm_state s);

/* Ends the threads; leaves the VM as `state` says. Removes the journal if nothing is
 * out any more. */
void vm_close(struct vm *v);

#endif
