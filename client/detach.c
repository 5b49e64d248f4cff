/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An attachment in, nothing left out: drain, swapoff, disconnect, restore, forget.
 * Main thread.
 */
#include "client/detach.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/cgroups.h"
#include "client/device.h"
#include "client/file.h"
#include "client/meminfo.h"
#include "client/say.h"
#include "client/state.h"
#include "client/swaps.h"
#include "client/transport.h"
#include "client/tune.h"
#include "lib/size.h"

int detach_device(struct attachment *a)
{
	const struct transport *t = transport_of(&a->url);
	struct transport_status s;
	struct attachment other;
	int r;

	t->status(a, &s);
	if (a->kdev[0] && s.state == TRANSPORT_LIVE)
		device_release(a);
	r = t->disconnect(a);
	if (r)
		return r;
	state_remove(&a->url);
	if (!state_list(&other, 1))
		tune_restore();
	return 0;
}

struct drain {
	struct attachment *a;
	bool force, verbose, cut;
	unsigned int ticks;
};

static void tick(void *arg)
{
	struct drain *d = arg;
	const struct transport *t = transport_of(&d->a->url);
	const struct swaps_entry *e;
	struct transport_status s;
	struct swaps now;
	char used[SIZE_FORMAT_MAX];

	if (d->verbose && !swaps_read(&now) && (e = swaps_find(&now, d->a->kdev)))
		say_step("%s left on /dev/%s",
			 size_format(e->used_bytes, used, sizeof(used)), d->a->kdev);
	/*
	 * swapoff(2) has the device by now and waits for a server that isn't there.
	 * Cutting it off first would be wrong for NVMe: a removed device can't be
	 * named to swapoff any more.
	 */
	if (!d->force || d->cut || ++d->ticks < 2)
		return;
	t->status(d->a, &s);
	if (s.state == TRANSPORT_LIVE)
		return;
	say_warning("the server is gone: pages that are only there are lost");
	d->cut = true;
	t->disconnect(d->a);
}

static uint64_t room_elsewhere(const struct swaps *s, const struct swaps_entry *e)
{
	uint64_t room = 0;

	for (size_t i = 0; i < s->nr; i++)
		if (&s->entry[i] != e)
			room += s->entry[i].size_bytes - s->entry[i].used_bytes;
	return room;
}

/* Does what is swapped there fit into RAM and the other swap areas? */
static int check_room(const struct swaps *s, const struct swaps_entry *e)
{
	char used[SIZE_FORMAT_MAX], ram[SIZE_FORMAT_MAX], other[SIZE_FORMAT_MAX];
	uint64_t elsewhere = room_elsewhere(s, e), needed, margin;
	struct meminfo m;

	if (meminfo_read(&m))
		return 0;
	needed = swaps_not_in_memory(s, e, m.swap_cached_bytes);
	margin = m.total_bytes / 64;
	if (!needed || needed + margin <= m.available_bytes + elsewhere)
		return 0;
	say_error(
		"%s are swapped out there, and only %s of RAM and %s of other swap are "
		"free: add swap or end something first; --force lets the kernel try, "
		"and its OOM killer decide",
		size_format(needed, used, sizeof(used)),
		size_format(m.available_bytes, ram, sizeof(ram)),
		size_format(elsewhere, other, sizeof(other)));
	return -ENOMEM;
}

/* And what control groups have there into their limits? */
static int check_cgroups(const struct swaps *s, const struct swaps_entry *e)
{
	char swapped[SIZE_FORMAT_MAX], room[SIZE_FORMAT_MAX], max[SIZE_FORMAT_MAX];
	struct cgroups_short g;

	if (!cgroups_find_short(CGROUPS_ROOT, e->used_bytes, room_elsewhere(s, e), &g))
		return 0;
	say_error("the control group %s has %s swapped out and room for %s within its "
		  "limit of %s: raise its memory.max, add swap or end something in it "
		  "first; --force lets the kernel try, and its OOM killer decide",
		  g.path, size_format(g.swapped_bytes, swapped, sizeof(swapped)),
		  size_format(g.room_bytes, room, sizeof(room)),
		  size_format(g.max_bytes, max, sizeof(max)));
	return -ENOMEM;
}

/* Without one nobody would connect it again, nor tell that its server is gone. */
static int bring_keeper(struct attachment *a, bool force)
{
	int r = transport_rearm(a);

	if (r > 0)
		say_step("/dev/%s has a keeper again", a->kdev);
	return r > 0 || force ? 0 : r;
}

static int check_server(const struct attachment *a, const struct swaps_entry *e)
{
	char used[SIZE_FORMAT_MAX];
	struct transport_status s;

	transport_of(&a->url)->status(a, &s);
	if (s.state == TRANSPORT_LIVE || !e->used_bytes)
		return 0;
	say_error(
		"%s are swapped out to a server that can't be read now (%s): bring it "
		"back, or, if it is gone for good, --force: what is only there is "
		"lost, "
		"and programs that need it die",
		size_format(e->used_bytes, used, sizeof(used)), s.detail);
	return -EHOSTDOWN;
}

static int say_swapoff(struct attachment *a, int r)
{
	switch (-r) {
	case EINTR:
		say_error("interrupted: /dev/%s is still on", a->kdev);
		break;
	case ENOMEM:
		say_error("/dev/%s can't be switched off: there isn't room for what is "
			  "swapped there",
			  a->kdev);
		break;
	default:
		say_error("can't switch off /dev/%s: %s", a->kdev, strerror(-r));
	}
	a->phase = PHASE_ON;
	state_save(a);
	return r;
}

static bool is_removed(const char *kdev)
{
	uint64_t sectors;

	return file_read_number(&sectors, "/sys/block/%s/size", kdev) == -ENOENT;
}

static int drain(struct attachment *a, bool force, bool verbose)
{
	struct drain d = { .a = a, .force = force, .verbose = verbose };
	char path[64];
	int r;

	a->phase = PHASE_OFF;
	r = state_save(a);
	if (r)
		return r;
	snprintf(path, sizeof(path), "/dev/%s", a->kdev);
	say_step("switching off %s", path);
	r = swaps_off(path, tick, &d);
	if (r == -EINVAL) /* not on; or systemd's swapoff, at shutdown, was faster */
		r = swaps_wait_gone(a->kdev, tick, &d);
	/* Cut off in the middle, swapoff(2) may still fail, of lack of memory say. */
	if (r == -ENOENT || r == -ENXIO || r == -ENODEV ||
	    (r && d.cut && is_removed(a->kdev))) {
		/* mm/swapfile.c finds an area by opening its path again. */
		say_warning(
			"the kernel has removed /dev/%s, and keeps a swap area whose "
			"device is gone until it reboots; programs that need pages "
			"from there die",
			a->kdev);
		return 0;
	}
	return r ? say_swapoff(a, r) : 0;
}

int detach_swap(struct attachment *a, bool force, bool verbose)
{
	const struct swaps_entry *e;
	struct swaps s;
	int r = swaps_read(&s);

	if (r) {
		say_error("can't read /proc/swaps: %s", strerror(-r));
		return r;
	}
	e = a->kdev[0] ? swaps_find(&s, a->kdev) : NULL;
	if (e && e->used_bytes)
		r = bring_keeper(a, force);
	if (e && !force && !r) {
		r = check_server(a, e);
		if (!r)
			r = check_room(&s, e);
		if (!r)
			r = check_cgroups(&s, e);
	}
	if (e && !r)
		r = drain(a, force, verbose);
	return r ? r : detach_device(a);
}
