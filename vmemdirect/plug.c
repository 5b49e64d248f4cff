/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mappings of the process and QEMU's list of memory backends in, a warning out. */
#include "vmemdirect/plug.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <string.h>

#include "lib/log.h"
#include "lib/size.h"
#include "vmemdirect/attach/proc.h"
#include "vmemdirect/qmp.h"

/* Heaps and stacks grow too; the smallest block Linux plugs in is 128 MiB. */
#define LARGE_BYTES (UINT64_C(32) << 20)

struct scan {
	const struct plug *plug;
	uint64_t mapped, shared;
	uint32_t there; /* blocks that are mapped */
};

/* Ours, and not unplugged as far as we know. */
static bool is_ours(const struct plug *p, unsigned int i)
{
	return !(atomic_load(&p->unplugged) & 1u << i);
}

static bool is_block(const struct guest_block *b, const struct proc_map *m)
{
	return m->shared && m->dev == b->dev && m->ino == b->ino &&
	       m->start < b->hva + b->size_bytes && m->end > b->hva;
}

static int look_at_map(const struct proc_map *m, void *arg)
{
	struct scan *s = arg;
	const struct guest *g = s->plug->g;
	uint64_t size = m->end - m->start;

	for (unsigned int i = 0; i < g->nr_blocks; i++)
		if (is_ours(s->plug, i) && is_block(&g->block[i], m)) {
			s->there |= 1u << i;
			return 0;
		}
	if (!m->writable || size < LARGE_BYTES)
		return 0;
	s->mapped += size;
	if (m->shared && m->ino)
		s->shared += size;
	return 0;
}

static bool is_paged(const struct plug *p, const char *id)
{
	for (unsigned int i = 0; i < p->g->nr_blocks; i++)
		if (is_ours(p, i) && !strcmp(p->g->block[i].name, id))
			return true;
	return false;
}

/* Sums up the backends that are not paged, and names each. */
static uint64_t unpaged(const struct plug *p, json_object *backends)
{
	char size[SIZE_FORMAT_MAX];
	json_object *id, *bytes, *share;
	uint64_t sum = 0;

	for (size_t i = 0; json_object_is_type(backends, json_type_array) &&
			   i < json_object_array_length(backends);
	     i++) {
		json_object *b = json_object_array_get_idx(backends, i);

		if (!json_object_object_get_ex(b, "id", &id) ||
		    !json_object_object_get_ex(b, "size", &bytes) ||
		    is_paged(p, json_object_get_string(id)))
			continue;
		sum += json_object_get_uint64(bytes);
		vm_warn(p->g,
			"memory backend %s (%s) is not paged: it came after the "
			"attach, or "
			"--memdev left it out. It stays resident, beside the limit%s",
			json_object_get_string(id),
			size_format(json_object_get_uint64(bytes), size, sizeof(size)),
			json_object_object_get_ex(b, "share", &share) &&
					!json_object_get_boolean(share)
				? "; with share=off it cannot be paged"
				: "; detach and attach again to take it in");
	}
	return sum;
}

static int ask_qemu(const struct plug *p, uint64_t *ret_unpaged)
{
	json_object *list = NULL;
	struct qmp *q = NULL;
	int r = *p->qmp ? qmp_open(p->qmp, &q) : -ENOTSUP;

	if (!r)
		r = qmp_command(q, "query-memdev", NULL, &list);
	if (!r)
		*ret_unpaged = unpaged(p, list);
	json_object_put(list);
	qmp_close(q);
	return r;
}

/* In the aside: QEMU may take its time. */
static void find_out(void *arg)
{
	struct plug *p = arg;
	uint64_t shared = atomic_load(&p->shared_bytes), unpaged_bytes = 0;
	char size[SIZE_FORMAT_MAX];

	if (ask_qemu(p, &unpaged_bytes) < 0 && p->g->qemu) {
		if (shared > plug_unpaged(p))
			vm_warn(p->g,
				"%s of shared memory in process %d are not paged: they "
				"came after the attach, and stay resident, beside the "
				"limit",
				size_format(shared, size, sizeof(size)), p->g->pid);
		unpaged_bytes = shared;
	}
	atomic_store(&p->unpaged_bytes, unpaged_bytes);
}

void plug_begin(struct plug *p, const struct guest *g, const char *qmp,
		struct aside *aside)
{
	struct scan s = { .plug = p };

	*p = (struct plug){ .g = g,
			    .qmp = qmp,
			    .aside = aside,
			    .job = { .work = find_out, .arg = p } };
	proc_each_map(g->pid, look_at_map, &s);
	p->mapped_bytes = s.mapped;
}

static uint32_t find_unplugged(struct plug *p, uint32_t there)
{
	uint32_t all = (uint32_t)((UINT64_C(1) << p->g->nr_blocks) - 1);
	uint32_t gone = all & ~there & ~atomic_load(&p->unplugged);
	char size[SIZE_FORMAT_MAX];

	for (unsigned int i = 0; i < p->g->nr_blocks; i++)
		if (gone & 1u << i) {
			p->unplugged_bytes += p->g->block[i].size_bytes;
			vm_note(p->g, "%s (%s) was unplugged: its pages are dropped",
				p->g->block[i].name,
				size_format(p->g->block[i].size_bytes, size,
					    sizeof(size)));
		}
	atomic_fetch_or(&p->unplugged, gone);
	return gone;
}

uint32_t plug_look(struct plug *p)
{
	struct scan s = { .plug = p };
	uint32_t gone;

	/* (A process that is ending has no mappings any more.) */
	if (proc_each_map(p->g->pid, look_at_map, &s) < 0 || !s.there)
		return 0;
	gone = find_unplugged(p, s.there);
	if (s.mapped != p->mapped_bytes) {
		p->mapped_bytes = s.mapped;
		atomic_store(&p->shared_bytes, s.shared);
		aside_put(p->aside, &p->job);
	}
	return gone;
}

uint64_t plug_unpaged(const struct plug *p)
{
	return atomic_load(&p->unpaged_bytes);
}
