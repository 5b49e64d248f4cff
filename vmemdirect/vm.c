/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A configuration in, a paged VM out. The order is what makes it safe: everything that
 * can fail comes before the registration, the journal before the first page that
 * leaves, and on the way out the registration ends when all pages are back.
 */
#include "vmemdirect/vm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/size.h"
#include "vmemdirect/attach/attach.h"
#include "vmemdirect/attach/proc.h"
#include "vmemdirect/find.h"
#include "vmemdirect/migrate/handover.h"
#include "vmemdirect/tier/spill.h"

#define RESUME_WAIT_S 30

void vm_path(const char *state_dir, const char *name, const char *file, char *buf,
	     size_t len)
{
	snprintf(buf, len, "%s/%s/%s", state_dir, name, file);
}

/* ---- opening ---- */

static int make_dir(const char *path)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST) {
		log_err("%s: %s", path, strerror(errno));
		return -errno;
	}
	return 0;
}

/* Where the spill tier keeps which page lies where. */
#define PLACES_FILE "places"

static const struct tier_ops *kind_of_tier(const struct config *c)
{
	return c->null_tier    ? &tier_null_ops
	       : c->spill_tier ? &tier_spill_ops
			       : &tier_ssd_ops;
}

static int open_tier(struct vm *v)
{
	const struct config *c = &v->cfg;
	char places[sizeof(v->dir) + 16];
	const struct spill_cfg spill = {
		.vm = c->name,
		.map_path = places,
		.ssd_bytes = c->ssd_bytes,
		.ram_pages = pager_room(c->ram_bytes >> GUEST_PAGE_SHIFT),
		.nr = c->nr_spills,
		.copies = c->mirror,
		.url = c->spill,
	};
	const struct tier_cfg cfg = {
		.path = c->ssd,
		.nr_pages = v->guest.nr_pages,
		.preallocate = c->preallocate,
		.resume = c->resume,
		.spill = &spill,
	};

	snprintf(places, sizeof(places), "%s/" PLACES_FILE, v->dir);
	return tier_open(kind_of_tier(c), &cfg, &v->tier);
}

const char *vm_where(const struct vm *v)
{
	if (v->cfg.null_tier)
		return "a null tier";
	if (v->cfg.spill_tier)
		return v->cfg.ssd[0] ? "its SSD and exports" : "exports";
	return v->cfg.ssd;
}

/* Is there a VM with pages out behind this journal? Then it must be resumed. */
static int refuse_orphan(const struct vm *v, const char *path)
{
	struct page_table t = { 0 };
	uint64_t start;
	int r = page_table_open(path, &t);

	if (r == -EBUSY) {
		log_err("%s: it is attached already", v->cfg.name);
		return r;
	}
	if (r == -ENOENT || r == -EPROTO)
		return 0; /* none, or not ours, or never finished: replaced */
	if (r < 0) {
		log_err("%s: %s", path, strerror(-r));
		return r;
	}
	if (atomic_load(&t.header->attached) &&
	    !proc_start_time(t.header->guest.pid, &start) &&
	    start == t.header->guest.start_time) {
		if (!v->cfg.auto_resume)
			log_err("%s: a vmemdirect that paged it was killed; its pages "
				"are only "
				"found "
				"by: vmemdirect attach --resume %s",
				v->cfg.name, v->cfg.name);
		r = -EEXIST;
	}
	page_table_close(&t);
	return r;
}

static int create_journal(struct vm *v)
{
	char path[sizeof(v->dir) + 16];
	int r;

	snprintf(path, sizeof(path), "%s/pages", v->dir);
	r = page_table_create(path, &v->guest, &v->table);
	if (r < 0) {
		log_err("%s: %s", path, strerror(-r));
		return r;
	}
	snprintf(v->table.header->tier, sizeof(v->table.header->tier), "%s",
		 kind_of_tier(&v->cfg)->name);
	snprintf(v->table.header->tier_path, sizeof(v->table.header->tier_path), "%s",
		 v->cfg.ssd);
	snprintf(v->table.header->qmp_path, sizeof(v->table.header->qmp_path), "%s",
		 v->cfg.qmp);
	snprintf(v->table.header->source_qmp_path,
		 sizeof(v->table.header->source_qmp_path), "%s", v->cfg.source_qmp);
	atomic_store(&v->table.header->untold, v->cfg.force && !v->pin);
	return 0;
}

static int start_pager(struct vm *v)
{
	const struct pager_cfg cfg = {
		.limit_pages = v->cfg.ram_bytes >> GUEST_PAGE_SHIFT,
		.spin_us = v->cfg.spin_us,
		.prefetch_pages = v->cfg.prefetch_pages,
		.policy = v->cfg.policy,
		.pin = v->pin,
	};
	int r = v->pin ? pin_watch(v->pin, &v->guest) : 0;

	if (!r)
		r = pager_new(&cfg, &v->guest, &v->table, v->tier, &v->pager);

	if (r < 0)
		vm_err(&v->guest, "the pager does not start: %s", strerror(-r));
	else if (v->cfg.receive)
		v->state = VM_RECEIVING;
	else
		r = vm_start(v);
	return r;
}

int vm_start(struct vm *v)
{
	int r = pager_start(v->pager, v->cfg.resume);

	if (r < 0)
		vm_err(&v->guest, "the pager does not start: %s", strerror(-r));
	return r;
}

#define RAM_MIN (UINT64_C(1) << 20)

/* Was a vmemdirect of this name killed while its VM lives on? */
static bool was_killed(struct vm *v)
{
	char path[sizeof(v->dir) + 16];

	snprintf(path, sizeof(path), "%s/%s/pages", v->cfg.state_dir, v->cfg.name);
	return refuse_orphan(v, path) == -EEXIST;
}

static int open_new(struct vm *v)
{
	struct attach_cfg a = { .force = v->cfg.force,
				.pin_check = v->pin,
				.exact = v->cfg.receive };
	char path[sizeof(v->dir) + 16];
	int r;

	if (v->cfg.ram_bytes < RAM_MIN) {
		log_err("--ram below 1M leaves no room to work in");
		return -EINVAL;
	}
	r = v->cfg.qmp[0] ? find_by_qmp(&v->cfg, &a) : 0;
	if (r < 0)
		return r;
	find_default_name(&v->cfg);
	snprintf(v->dir, sizeof(v->dir), "%s/%s", v->cfg.state_dir, v->cfg.name);
	snprintf(path, sizeof(path), "%s/pages", v->dir);
	r = make_dir(v->cfg.state_dir);
	if (!r)
		r = make_dir(v->dir);
	if (!r)
		r = refuse_orphan(v, path);
	if (r < 0)
		return r;
	a.name = v->cfg.name;
	a.pid = v->cfg.pid;
	r = attach_open(&a, &v->guest);
	if (r < 0)
		return r;
	/* Its lock first: of two that begin at once, one takes the tier. */
	r = create_journal(v);
	if (!r)
		r = open_tier(v);
	if (!r)
		r = start_pager(v);
	if (r < 0)
		attach_undo(&v->guest);
	return r;
}

/* The kernel may still be writing for the one that was killed: its files stay locked
 * until the last write is through. */
static int open_journal_again(struct vm *v, const char *path)
{
	struct timespec nap = { .tv_nsec = 10 * 1000000 };
	int r = -EBUSY;

	for (int i = 0; r == -EBUSY && i < RESUME_WAIT_S * 100; i++) {
		r = page_table_open(path, &v->table);
		if (r == -EBUSY)
			nanosleep(&nap, NULL);
	}
	if (r == -ENOENT)
		log_err("%s: nothing to resume: there is no journal %s", v->cfg.name,
			path);
	else if (r == -EBUSY)
		log_err("%s: another vmemdirect pages it", v->cfg.name);
	else if (r < 0)
		log_err("%s: %s", path, r == -EPROTO ? "not a journal" : strerror(-r));
	return r;
}

static int open_tier_again(struct vm *v)
{
	struct timespec nap = { .tv_nsec = 10 * 1000000 };
	int r = -EBUSY;

	for (int i = 0; r == -EBUSY && i < RESUME_WAIT_S * 100; i++) {
		r = open_tier(v);
		if (r == -EBUSY)
			nanosleep(&nap, NULL);
	}
	return r;
}

static int open_again(struct vm *v)
{
	struct attach_cfg a = { .nr_want = 0 };
	const struct page_header *h;
	char path[sizeof(v->dir) + 16];
	int r;

	snprintf(v->dir, sizeof(v->dir), "%s/%s", v->cfg.state_dir, v->cfg.name);
	snprintf(path, sizeof(path), "%s/pages", v->dir);
	r = open_journal_again(v, path);
	if (r < 0)
		return r;
	h = v->table.header;
	v->guest = h->guest;
	if (!handover_is_here((enum handover)atomic_load(&h->handover))) {
		log_err("%s: vmemdirect receive was killed before the hand-over: the "
			"source has kept the VM. End the QEMU that waits here (process "
			"%d); it must not run",
			v->cfg.name, h->guest.pid);
		return -ESTALE;
	}
	v->cfg.spill_tier = !strcmp(h->tier, "spill");
	if (!atomic_load(&h->attached) ||
	    (!v->cfg.spill_tier && strcmp(h->tier, "ssd") != 0)) {
		log_err("%s: %s", v->cfg.name,
			h->attached ? "its pages died with the daemon that was killed "
				      "(--tier null)"
				    : "nothing to resume: it was detached");
		return -ESTALE;
	}
	memcpy(v->cfg.ssd, h->tier_path, sizeof(v->cfg.ssd));
	memcpy(v->cfg.qmp, h->qmp_path, sizeof(v->cfg.qmp));
	memcpy(v->cfg.source_qmp, h->source_qmp_path, sizeof(v->cfg.source_qmp));
	v->cfg.source_qmp[sizeof(v->cfg.source_qmp) - 1] = 0;
	v->cfg.ssd[sizeof(v->cfg.ssd) - 1] = v->cfg.qmp[sizeof(v->cfg.qmp) - 1] = 0;
	v->cfg.ram_bytes = h->limit_pages << GUEST_PAGE_SHIFT;
	v->cfg.pid = v->guest.pid;
	a.pin_check = v->pin;
	a.force = v->cfg.force || atomic_load(&h->untold);
	r = attach_resume(&v->guest);
	if (!r)
		r = attach_check_pins(&v->guest, &a);
	if (!r)
		r = open_tier_again(v);
	if (!r)
		r = start_pager(v);
	return r;
}

int vm_open(const struct config *cfg, struct vm *ret)
{
	struct vm v = { .cfg = *cfg };
	char limit[SIZE_FORMAT_MAX], size[SIZE_FORMAT_MAX];
	int r;

	v.guest.uffd = v.guest.pidfd = v.guest.remote_uffd = -1;
	for (unsigned int i = 0; i < GUEST_BLOCKS_MAX; i++)
		v.guest.block[i].fd = -1;
	/* The pager keeps pointers into the struct. */
	*ret = v;
	r = aside_new(&ret->aside);
	if (r < 0) {
		log_err("no thread: %s", strerror(-r));
		return r;
	}
	pin_open(cfg->pin, &ret->pin);
	if (cfg->auto_resume && was_killed(ret))
		ret->cfg.resume = true;
	r = ret->cfg.resume ? open_again(ret) : open_new(ret);
	if (r < 0) {
		aside_free(ret->aside);
		pager_free(ret->pager);
		pin_close(ret->pin);
		if (!ret->cfg.resume) {
			tier_clear(ret->tier);
			page_table_discard(&ret->table);
		}
		tier_close(ret->tier);
		page_table_close(&ret->table);
		attach_close(&ret->guest);
		return r;
	}
	order_init(&ret->order, &ret->guest, ret->cfg.qmp, ret->table.header,
		   ret->aside);
	/* Which page was lost is not known any more: who wants it tells again. */
	if (ret->cfg.resume)
		order_start(&ret->order);
	plug_begin(&ret->plug, &ret->guest, ret->cfg.qmp, ret->aside);
	vm_info(&ret->guest, "%s process %d: %s of memory in %s, the rest on %s",
		ret->cfg.resume ? "again paging"
		: cfg->receive  ? "ready to receive into"
				: "paging",
		ret->guest.pid,
		size_format(ret->guest.nr_pages << GUEST_PAGE_SHIFT, size,
			    sizeof(size)),
		size_format(ret->cfg.ram_bytes, limit, sizeof(limit)), vm_where(ret));
	return 0;
}

/* ---- while it runs ---- */

void vm_on_events(struct vm *v, uint32_t events)
{
	if (events & PAGER_LOST) {
		v->lost_events++;
		if (!v->losing)
			vm_err(&v->guest,
			       "a page cannot be read back from %s: the VM is stopped, "
			       "the page is tried again every second",
			       vm_where(v));
		v->losing = true;
		order_stop(&v->order);
	}
	/* Both may have come at once. What is lost still is told again. */
	if (events & PAGER_RECOVERED) {
		vm_note(&v->guest, "the page could be read after all");
		v->losing = false;
		order_continue(&v->order);
	}
	if (events & PAGER_STORE_FAILED)
		v->storing_fails = true;
	if (events & PAGER_STORE_OK)
		v->storing_fails = false;
	if (events & PAGER_NO_MEMORY)
		vm_warn(&v->guest,
			"the host has no memory for a page of the VM; retrying");
	if (events & PAGER_GONE)
		vm_on_exit(v);
	if ((events & PAGER_BROUGHT_BACK) && v->state == VM_DETACHING) {
		v->state = VM_DETACHED;
		vm_note(&v->guest, "all pages are back; detached");
	}
}

void vm_look_at_memory(struct vm *v)
{
	uint32_t gone;

	if (v->state != VM_PAGED && v->state != VM_DETACHING)
		return;
	gone = plug_look(&v->plug);
	for (unsigned int i = 0; i < v->guest.nr_blocks; i++)
		if (gone & 1u << i)
			pager_unplugged(v->pager, i);
}

void vm_on_exit(struct vm *v)
{
	if (v->state == VM_ENDED)
		return;
	v->state = VM_ENDED;
	vm_note(&v->guest, "process %d has ended", v->guest.pid);
}

static uint64_t mem_available(void)
{
	char line[128];
	uint64_t kib = 0;
	FILE *f = fopen("/proc/meminfo", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib << 10;
}

int vm_detach(struct vm *v, uint64_t *ret_need, uint64_t *ret_have)
{
	uint64_t need, have;

	if (v->state != VM_PAGED)
		return 0;
	need = pager_stored_absent(v->pager) << GUEST_PAGE_SHIFT;
	have = mem_available();
	if (need > have) {
		*ret_need = need;
		*ret_have = have;
		return -ENOMEM;
	}
	v->state = VM_DETACHING;
	pager_bring_back(v->pager);
	return 0;
}

const char *vm_state_name(enum vm_state s)
{
	static const char *const names[] = { "paged", "detaching", "detached", "ended",
					     "receiving" };

	return names[s];
}

void vm_close(struct vm *v)
{
	/* (A migration that did not come in leaves nothing behind.) */
	bool over = v->state == VM_DETACHED || v->state == VM_ENDED ||
		    v->state == VM_RECEIVING;
	char path[sizeof(v->dir) + 16];

	aside_free(v->aside);
	if (v->state == VM_DETACHED)
		order_end(&v->order);
	pager_stop(v->pager, over);
	pager_free(v->pager);
	pin_close(v->pin);
	if (over)
		tier_clear(v->tier);
	tier_close(v->tier);
	page_table_close(&v->table);
	if (v->state == VM_DETACHED || v->state == VM_RECEIVING)
		attach_undo(&v->guest);
	attach_close(&v->guest);
	if (!over)
		return;
	snprintf(path, sizeof(path), "%s/pages", v->dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/" PLACES_FILE, v->dir);
	unlink(path);
}
