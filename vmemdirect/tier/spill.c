/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A list of places in, one tier out: opening, closing, choosing, figures. */
#include "vmemdirect/tier/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/size.h"
#include "vmemdirect/tier/spill_priv.h"

#define SSD_SPARE_BYTES (UINT64_C(16) << 20) /* left free on its file system */

int spill_choose(struct spill_tier *t, bool local, int but)
{
	int64_t now = clock_ms();
	struct spill_usage u;
	uint64_t most = 0;
	int best = -1;

	for (unsigned int i = 0; i < t->places.nr; i++) {
		const struct spill_place *p = &t->places.place[i];

		if ((p->local && !local) || !spill_is_up(t, i) ||
		    (!p->local && (int)p->export.host == but) ||
		    atomic_load_explicit(&t->full_until_ms[i], memory_order_relaxed) >
			    now)
			continue;
		spill_map_usage(t->map, i, &u);
		if (p->local && u.free)
			return (int)i;
		if (u.free + u.to_trim > most) {
			most = u.free + u.to_trim;
			best = (int)i;
		}
	}
	return best;
}

uint32_t spill_down(const struct spill_tier *t)
{
	uint32_t down = 0;

	for (unsigned int i = 0; i < t->places.nr; i++)
		down |= (uint32_t)!spill_is_up(t, i) << i;
	return down;
}

/* ---- the SSD's share ---- */

/* How much the path can hold, for a new file: what its file system has free. */
static int ssd_room(const char *path, uint64_t *ret)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct statvfs v;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || fstatvfs(fd, &v) < 0) {
		int r = -errno;

		log_err("%s: %s", path, strerror(-r));
		return r;
	}
	if (S_ISBLK(st.st_mode))
		return ioctl(fd, BLKGETSIZE64, ret) < 0 ? -errno : 0;
	*ret = (uint64_t)v.f_bavail * v.f_frsize + (uint64_t)st.st_blocks * 512;
	*ret = *ret > SSD_SPARE_BYTES ? *ret - SSD_SPARE_BYTES : 0;
	return 0;
}

static int add_ssd(const struct tier_cfg *cfg, struct spill_places *p)
{
	uint64_t room, most = cfg->spill->ssd_bytes;
	struct spill_place *x = &p->place[p->nr];
	int r = ssd_room(cfg->path, &room);

	if (r < 0)
		return r;
	if (!most || most > room)
		most = room;
	x->local = true;
	x->nr_slots = most / TIER_PAGE_SIZE;
	if (x->nr_slots > cfg->nr_pages)
		x->nr_slots = cfg->nr_pages;
	if (x->nr_slots > SPILL_SLOTS_MAX)
		x->nr_slots = SPILL_SLOTS_MAX;
	if (strlen(cfg->path) >= sizeof(x->path))
		return -ENAMETOOLONG;
	strcpy(x->path, cfg->path);
	if (x->nr_slots)
		p->nr++;
	else
		log_warn("%s has no room: all goes to the exports", cfg->path);
	return 0;
}

/* ---- the exports ---- */

static uint32_t host_of(const struct spill_places *p, const struct nbd_export *x)
{
	for (unsigned int i = 0; i < p->nr; i++) {
		const struct nbd_export *o = &p->place[i].export;

		if (!p->place[i].local && o->addr_len == x->addr_len &&
		    !memcmp(&o->addr, &x->addr, x->addr_len))
			return o->host;
	}
	return p->nr;
}

/* (One that was asked is called NAME@GENERATION.) */
static bool same_export(const struct nbd_export *a, const struct nbd_export *b)
{
	size_t n = strlen(b->name);

	return !strncmp(a->name, b->name, n) && (!a->name[n] || a->name[n] == '@');
}

static int add_export(const struct spill_cfg *s, const char *url,
		      struct spill_places *p)
{
	struct spill_place *x = &p->place[p->nr];
	int r = nbd_export_parse(url, &x->export);

	if (!r)
		x->export.host = host_of(p, &x->export);
	for (unsigned int i = 0; !r && i < p->nr; i++)
		if (!p->place[i].local && p->place[i].export.host == x->export.host &&
		    same_export(&p->place[i].export, &x->export)) {
			log_err("--spill %s: given twice", url);
			r = -EINVAL;
		}
	if (!r)
		r = nbd_export_claim(&x->export, s->vm);
	if (r < 0)
		return r;
	x->nr_slots = x->export.nr_pages;
	if (x->nr_slots > SPILL_SLOTS_MAX)
		x->nr_slots = SPILL_SLOTS_MAX;
	p->nr++;
	return 0;
}

/* How many pages all places hold: of the exports, as many as have `copies` hosts. */
static uint64_t room_of(const struct spill_places *p)
{
	uint64_t local = 0, all = 0, host[SPILL_PLACES_MAX] = { 0 }, biggest = 0;

	for (unsigned int i = 0; i < p->nr; i++) {
		const struct spill_place *x = &p->place[i];

		if (x->local) {
			local += x->nr_slots;
			continue;
		}
		all += x->nr_slots - 1;
		host[x->export.host] += x->nr_slots - 1;
		if (host[x->export.host] > biggest)
			biggest = host[x->export.host];
	}
	if (p->copies < 2)
		return local + all;
	return local + (all / 2 < all - biggest ? all / 2 : all - biggest);
}

static int check_room(const struct spill_places *p, const struct spill_cfg *s)
{
	char need[SIZE_FORMAT_MAX], have[SIZE_FORMAT_MAX], miss[SIZE_FORMAT_MAX];
	uint64_t room = s->ram_pages + room_of(p);

	if (room >= p->nr_pages)
		return 0;
	log_err("the VM has %s; memory, SSD and exports hold %s together%s: %s are "
		"missing",
		size_format(p->nr_pages * TIER_PAGE_SIZE, need, sizeof(need)),
		size_format(room * TIER_PAGE_SIZE, have, sizeof(have)),
		p->copies > 1 ? " (every page on two hosts)" : "",
		size_format((p->nr_pages - room) * TIER_PAGE_SIZE, miss, sizeof(miss)));
	return -ENOSPC;
}

static void release_exports(const struct spill_places *p)
{
	for (unsigned int i = 0; i < p->nr; i++)
		if (!p->place[i].local)
			nbd_export_release(&p->place[i].export);
}

static int make_places(const struct tier_cfg *cfg, struct spill_tier *t)
{
	const struct spill_cfg *s = cfg->spill;
	struct spill_places *p = &t->places;
	int r;

	p->nr_pages = cfg->nr_pages;
	p->copies = s->copies;
	r = cfg->path[0] ? add_ssd(cfg, p) : 0;
	for (unsigned int i = 0; !r && i < s->nr; i++)
		r = add_export(s, s->url[i], p);
	if (!r)
		r = check_room(p, s);
	if (!r) {
		r = spill_map_create(s->map_path, p, &t->map);
		if (r < 0)
			log_err("%s: %s", s->map_path, strerror(-r));
	}
	if (r < 0)
		release_exports(p);
	return r;
}

static int open_places_again(const struct tier_cfg *cfg, struct spill_tier *t)
{
	int r = spill_map_open(cfg->spill->map_path, &t->places, &t->map);

	if (!r && t->places.nr_pages != cfg->nr_pages)
		r = -EPROTO;
	if (r < 0)
		log_err("%s: %s: where the pages lie is not known any more",
			cfg->spill->map_path,
			r == -EPROTO ? "not a table of ours" : strerror(-r));
	return r;
}

/* ---- life ---- */

static void spill_close(struct tier *tier)
{
	struct spill_tier *t = (struct spill_tier *)tier;

	spill_keeper_stop(t->keeper);
	for (unsigned int i = 0; i < t->places.nr; i++)
		tier_close(t->place[i]);
	spill_map_close(t->map);
	free(t);
}

/* (The keeper has used its queues until here.) */
static void spill_clear(struct tier *tier)
{
	struct spill_tier *t = (struct spill_tier *)tier;

	spill_keeper_stop(t->keeper);
	t->keeper = NULL;
	release_exports(&t->places);
}

static int open_place(struct spill_tier *t, unsigned int i, const struct tier_cfg *cfg)
{
	const struct spill_place *p = &t->places.place[i];
	const struct tier_cfg c = {
		.path = p->path,
		.nr_pages = p->nr_slots,
		.preallocate = cfg->preallocate,
		.resume = cfg->resume,
		.export = &p->export,
	};
	int r = tier_open(p->local ? &tier_ssd_ops : &tier_nbd_ops, &c, &t->place[i]);

	if (!r)
		t->tier.size_bytes += t->place[i]->size_bytes;
	return r;
}

static int spill_open(const struct tier_cfg *cfg, struct tier **ret)
{
	struct spill_tier *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->tier.ops = &tier_spill_ops;
	t->tier.nr_pages = cfg->nr_pages;
	r = cfg->resume ? open_places_again(cfg, t) : make_places(cfg, t);
	if (r < 0)
		t->places.nr = 0;
	t->tier.room_pages = room_of(&t->places);
	for (unsigned int i = 0; !r && i < t->places.nr; i++)
		r = open_place(t, i, cfg);
	if (!r)
		r = spill_keeper_start(t, &t->keeper);
	if (r < 0) {
		if (!cfg->resume)
			release_exports(&t->places);
		spill_close(&t->tier);
		return r;
	}
	*ret = &t->tier;
	return 0;
}

static bool spill_holds(const struct tier *tier, uint64_t pfn)
{
	const struct spill_tier *t = (const struct spill_tier *)tier;
	struct spill_copies c = spill_map_get(t->map, pfn);

	for (unsigned int k = 0; k < SPILL_COPIES_MAX; k++)
		if (c.copy[k] && spill_is_up(t, spill_place_of(c.copy[k])))
			return true;
	return false;
}

static void spill_forget(struct tier *tier, uint64_t pfn, uint32_t nr_pages)
{
	spill_map_forget(((struct spill_tier *)tier)->map, pfn, nr_pages);
}

/* ---- figures ---- */

static int spill_place_info(const struct tier *tier, unsigned int i,
			    struct tier_place *ret)
{
	const struct spill_tier *t = (const struct spill_tier *)tier;
	const struct spill_place *p = &t->places.place[i];
	struct spill_usage u;
	struct tier_stats s;

	if (i >= t->places.nr)
		return -ENOENT;
	spill_map_usage(t->map, i, &u);
	tier_get_stats(t->place[i], &s);
	*ret = (struct tier_place){
		.name = p->local ? p->path : p->export.url,
		.state = p->local ? "up" : nbd_tier_state_name(t->place[i]),
		.size_bytes = (p->nr_slots - !p->local) * TIER_PAGE_SIZE,
		.used_bytes = (u.used - !p->local) * TIER_PAGE_SIZE,
		.unused_bytes = (u.to_trim + u.held) * TIER_PAGE_SIZE,
		.losses = p->local ? 0 : nbd_tier_losses(t->place[i]),
		.reads = s.reads,
		.read_bytes = s.read_bytes,
		.writes = s.writes,
		.written_bytes = s.written_bytes,
	};
	return 0;
}

static void spill_health(const struct tier *tier, struct tier_health *ret)
{
	const struct spill_tier *t = (const struct spill_tier *)tier;
	uint32_t down = spill_down(t);

	*ret = (struct tier_health){
		.copies = t->places.copies,
		.degraded = spill_map_degraded(t->map, down),
		.alarm = down != 0,
	};
}

const struct tier_ops tier_spill_ops = {
	.name = "spill",
	.open = spill_open,
	.close = spill_close,
	.queue_open = spill_queue_open,
	.queue_close = spill_queue_close,
	.submit = spill_submit,
	.kick = spill_kick,
	.reap = spill_reap,
	.wait = spill_wait,
	.fd = spill_fd,
	.holds = spill_holds,
	.forget = spill_forget,
	.clear = spill_clear,
	.place = spill_place_info,
	.health = spill_health,
};
