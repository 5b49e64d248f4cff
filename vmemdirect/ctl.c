/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests on the control socket in, the VM's figures and changed settings out. */
#include "vmemdirect/ctl.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "lib/ctl_server.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "lib/size.h"
#include "vmemdirect/receive.h"

/* ---- status ---- */

static void put(json_object *o, const char *key, uint64_t n)
{
	json_object_object_add(o, key, json_object_new_uint64(n));
}

static void put_text(json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, json_object_new_string(text));
}

static json_object *latency(const struct hist *h)
{
	static const double percent[] = { 50, 90, 99, 99.9 };
	static const char *const name[] = { "p50_ns", "p90_ns", "p99_ns", "p999_ns" };
	json_object *o = json_object_new_object();

	put(o, "count", h->count);
	for (unsigned int i = 0; i < 4; i++)
		put(o, name[i], hist_percentile(h, percent[i]));
	put(o, "max_ns", h->max);
	return o;
}

static json_object *faults(const struct pager_stats *s)
{
	json_object *o = json_object_new_object();

	put(o, "zero", s->faults_zero);
	put(o, "tier", s->faults_tier);
	put(o, "inflight", s->faults_inflight);
	put(o, "cancelled_eviction", s->faults_cancel);
	put(o, "other", s->faults_other);
	put(o, "waited_for_room", s->waits);
	put(o, "reading", s->reading);
	put(o, "reading_most", s->reading_most);
	json_object_object_add(o, "latency", latency(&s->fault_ns));
	return o;
}

static json_object *evictions(const struct pager_stats *s)
{
	json_object *o = json_object_new_object();

	put(o, "zero", s->evicted_zero);
	put(o, "clean", s->evicted_clean);
	put(o, "written", s->evicted_written);
	put(o, "cancelled", s->evict_cancelled);
	put(o, "failed", s->evict_failed);
	put(o, "pinned", s->evict_pinned);
	return o;
}

static json_object *prefetch(const struct pager_stats *s)
{
	json_object *o = json_object_new_object();

	put(o, "pages", s->prefetched);
	put(o, "sampled_hits", s->probe_hits);
	put(o, "sampled_misses", s->probe_misses);
	return o;
}

static json_object *sampling(const struct pager_stats *s)
{
	json_object *o = json_object_new_object();
	uint64_t pages = s->sampled_touched + s->sampled_untouched;

	put(o, "touched", s->sampled_touched);
	put(o, "untouched", s->sampled_untouched);
	put(o, "ns_per_page", pages ? s->sampled_ns / pages : 0);
	put(o, "came_back", s->ghost_hits);
	put(o, "hot_bytes", s->hot_pages << GUEST_PAGE_SHIFT);
	return o;
}

/* The places of a tier that is composed of some. */
static void put_places(json_object *o, const struct tier *t)
{
	json_object *list = json_object_new_array();
	struct tier_place p;
	struct tier_health h;

	for (unsigned int i = 0; !tier_get_place(t, i, &p); i++) {
		json_object *x = json_object_new_object();

		put_text(x, "name", p.name);
		put_text(x, "state", p.state);
		put(x, "up", !strcmp(p.state, "up"));
		put(x, "size_bytes", p.size_bytes);
		put(x, "used_bytes", p.used_bytes);
		put(x, "unused_bytes", p.unused_bytes);
		put(x, "losses", p.losses);
		put(x, "reads", p.reads);
		put(x, "read_bytes", p.read_bytes);
		put(x, "writes", p.writes);
		put(x, "written_bytes", p.written_bytes);
		json_object_array_add(list, x);
	}
	if (!tier_get_health(t, &h)) {
		json_object_put(list);
		return;
	}
	json_object_object_add(o, "places", list);
	put(o, "copies", h.copies);
	put(o, "degraded_pages", h.degraded);
	json_object_object_add(o, "alarm",
			       json_object_new_boolean(h.alarm || h.degraded));
}

static json_object *tier_status(const struct vm *v)
{
	json_object *o = json_object_new_object();
	struct tier_stats s;

	tier_get_stats(v->tier, &s);
	put_text(o, "kind", v->tier->ops->name);
	put_text(o, "path", vm_where(v));
	put(o, "size_bytes", s.size_bytes);
	put(o, "reads", s.reads);
	put(o, "read_bytes", s.read_bytes);
	put(o, "writes", s.writes);
	put(o, "written_bytes", s.written_bytes);
	put_places(o, v->tier);
	return o;
}

static json_object *trouble(const struct vm *v, const struct pager_stats *s)
{
	json_object *o = json_object_new_object();

	put(o, "read_errors", s->read_errors);
	put(o, "bad_hashes", s->bad_hashes);
	put(o, "write_errors", s->write_errors);
	put(o, "lost_pages", s->lost_pages);
	json_object_object_add(o, "writes_fail_now",
			       json_object_new_boolean(v->storing_fails));
	json_object_object_add(
		o, "vm_stopped",
		json_object_new_boolean(order_state(&v->order) == ORDER_STOPPED));
	put_text(o, "vm_order", order_text(&v->order));
	return o;
}

json_object *ctl_status(const struct vm *v)
{
	json_object *o = json_object_new_object();
	struct pager_stats s;

	pager_get_stats(v->pager, &s);
	put_text(o, "name", v->guest.name);
	put_text(o, "state", vm_state_name(v->state));
	put(o, "pid", (uint64_t)v->guest.pid);
	put(o, "memory_bytes", s.nr_pages << GUEST_PAGE_SHIFT);
	put(o, "limit_bytes", s.limit << GUEST_PAGE_SHIFT);
	put(o, "resident_bytes", s.resident << GUEST_PAGE_SHIFT);
	put(o, "unpaged_bytes", plug_unpaged(&v->plug));
	put(o, "unplugged_bytes", v->plug.unplugged_bytes);
	put_text(o, "policy", policy_name(v->cfg.policy));
	put_text(o, "pin_check", pin_name(v->pin));
	if (v->receive)
		json_object_object_add(o, "migration", receive_status(v->receive));
	json_object_object_add(o, "faults", faults(&s));
	json_object_object_add(o, "prefetch", prefetch(&s));
	json_object_object_add(o, "sampling", sampling(&s));
	json_object_object_add(o, "evictions", evictions(&s));
	json_object_object_add(o, "tier", tier_status(v));
	json_object_object_add(o, "trouble", trouble(v, &s));
	return o;
}

static int do_status(struct ctl_call *call, void *arg)
{
	call->result = ctl_status(arg);
	return 0;
}

#define CELLS_MAX 8192

static int do_heat(struct ctl_call *call, void *arg)
{
	static uint8_t resident[CELLS_MAX], heat[CELLS_MAX];
	json_object *r = json_object_new_array(), *h = json_object_new_array();
	const struct vm *v = arg;
	uint64_t cells;

	if (ctl_arg_u64(call->req, "cells", &cells) < 0 || !cells ||
	    cells > CELLS_MAX) {
		json_object_put(r);
		json_object_put(h);
		return ctl_fail(call, EINVAL, "cells: 1 to %u", CELLS_MAX);
	}
	pager_heat(v->pager, (unsigned int)cells, resident, heat);
	for (uint64_t i = 0; i < cells; i++) {
		json_object_array_add(r, json_object_new_int(resident[i]));
		json_object_array_add(h, json_object_new_int(heat[i]));
	}
	call->result = json_object_new_object();
	json_object_object_add(call->result, "resident", r);
	json_object_object_add(call->result, "heat", h);
	return 0;
}

/* ---- orders ---- */

static int do_set(struct ctl_call *call, void *arg)
{
	struct vm *v = arg;
	enum policy_kind kind = v->cfg.policy;
	const char *policy;
	uint64_t ram;
	int r = ctl_arg_size(call->req, "ram", &ram), p;

	if (v->state != VM_PAGED)
		return ctl_fail(call, EBUSY, "the VM is %s", vm_state_name(v->state));
	p = ctl_arg_string(call->req, "policy", &policy);
	if (r == -ENOENT && p == -ENOENT)
		return ctl_fail(call, EINVAL, "nothing to set: \"ram\", \"policy\"");
	if (r != -ENOENT && (r < 0 || ram < (1 << 20)))
		return ctl_fail(call, EINVAL, "ram: a size from 1M on");
	if (p != -ENOENT && (p < 0 || policy_parse(policy, &kind) < 0))
		return ctl_fail(call, EINVAL, "policy: s3fifo or fifo");
	if (!r && v->tier->room_pages + pager_room(ram >> GUEST_PAGE_SHIFT) <
			  v->tier->nr_pages)
		return ctl_fail(call, ENOSPC,
				"ram: SSD and exports do not hold the rest of the VM");
	if (!r) {
		pager_set_limit(v->pager, ram >> GUEST_PAGE_SHIFT);
		v->cfg.ram_bytes = ram;
		vm_note(&v->guest, "limit is now %" PRIu64 " KiB (%s)", ram >> 10,
			call->peer->text);
	}
	if (!p) {
		pager_set_policy(v->pager, kind);
		v->cfg.policy = kind;
		vm_note(&v->guest, "policy is now %s (%s)", policy_name(kind),
			call->peer->text);
	}
	return 0;
}

static int do_detach(struct ctl_call *call, void *arg)
{
	char need[SIZE_FORMAT_MAX], have[SIZE_FORMAT_MAX];
	struct vm *v = arg;
	uint64_t n, h;

	if (v->state == VM_RECEIVING)
		return ctl_fail(call, EBUSY, "a migration comes in");
	if (vm_detach(v, &n, &h) < 0)
		return ctl_fail(call, ENOMEM,
				"%s have to come back and the host has %s available",
				size_format(n, need, sizeof(need)),
				size_format(h, have, sizeof(have)));
	vm_note(&v->guest, "detaching (%s)", call->peer->text);
	return 0;
}

static void add_fault(const struct fault_info *info, void *arg)
{
	json_object *o = json_object_new_object();

	put_text(o, "name", info->name);
	if (info->error)
		put_text(o, "error", strerrorname_np(info->error));
	put(o, "passes", info->passes);
	put(o, "fired", info->fired);
	json_object_array_add(arg, o);
}

static int do_fault(struct ctl_call *call, void *arg)
{
	const char *spec, *why = "";
	int r = ctl_arg_string(call->req, "spec", &spec);

	if (r == -EINVAL)
		return ctl_fail(call, EINVAL, "spec must be text");
	if (!r) {
		r = fault_set(spec, &why);
		return r < 0 ? ctl_fail(call, -r, "%s: %s", spec, why) : 0;
	}
	call->result = json_object_new_array();
	fault_each(add_fault, call->result);
	return 0;
}

static const struct ctl_handler table[] = {
	{ "status", do_status, "all that is known of the VM", CTL_NOBODY },
	{ "heat", do_heat, "cells=N: residency and heat along the memory", CTL_NOBODY },
	{ "set", do_set, "ram=SIZE, policy=NAME", CTL_NOBODY },
	{ "detach", do_detach, "bring everything back and end", CTL_NOBODY },
	{ "fault", do_fault,
	  "spec=NAME=ERRNO...: make a fault point fail; or list them", CTL_NOBODY },
	{ 0 },
};

int ctl_open(struct loop *l, struct vm *v, struct ctl_server **ret)
{
	char path[sizeof(v->dir) + 16];
	int r;

	snprintf(path, sizeof(path), "%s/control", v->dir);
	r = ctl_server_open(l, path, table, v, ret);
	if (r < 0)
		vm_err(&v->guest, "%s: %s", path, strerror(-r));
	return r;
}

void ctl_close(struct ctl_server *s)
{
	ctl_server_close(s);
}
