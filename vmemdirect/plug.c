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
	const struct guest *g;
	uint64_t mapped, shared;
};

static int look_at_map(const struct proc_map *m, void *arg)
{
	struct scan *s = arg;
	uint64_t size = m->end - m->start;

	if (!m->writable || size < LARGE_BYTES)
		return 0;
	for (unsigned int i = 0; i < s->g->nr_blocks; i++)
		if (m->start - s->g->block[i].hva < s->g->block[i].size_bytes)
			return 0;
	s->mapped += size;
	if (m->shared && m->ino)
		s->shared += size;
	return 0;
}

static bool is_paged(const struct guest *g, const char *id)
{
	for (unsigned int i = 0; i < g->nr_blocks; i++)
		if (!strcmp(g->block[i].name, id))
			return true;
	return false;
}

/* Sums up the backends that are not paged, and names each. */
static uint64_t unpaged(const struct guest *g, json_object *backends)
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
		    is_paged(g, json_object_get_string(id)))
			continue;
		sum += json_object_get_uint64(bytes);
		vm_warn(g,
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

static int ask_qemu(const struct guest *g, const char *path, uint64_t *ret_unpaged)
{
	json_object *list = NULL;
	struct qmp *q = NULL;
	int r = *path ? qmp_open(path, &q) : -ENOTSUP;

	if (!r)
		r = qmp_command(q, "query-memdev", NULL, &list);
	if (!r)
		*ret_unpaged = unpaged(g, list);
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

	if (ask_qemu(p->g, p->qmp, &unpaged_bytes) < 0 && p->g->qemu) {
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
	struct scan s = { .g = g };

	proc_each_map(g->pid, look_at_map, &s);
	*p = (struct plug){ .g = g,
			    .qmp = qmp,
			    .aside = aside,
			    .job = { .work = find_out, .arg = p },
			    .mapped_bytes = s.mapped };
}

void plug_look(struct plug *p)
{
	struct scan s = { .g = p->g };

	if (proc_each_map(p->g->pid, look_at_map, &s) < 0 ||
	    s.mapped == p->mapped_bytes)
		return;
	p->mapped_bytes = s.mapped;
	atomic_store(&p->shared_bytes, s.shared);
	aside_put(p->aside, &p->job);
}

uint64_t plug_unpaged(const struct plug *p)
{
	return atomic_load(&p->unpaged_bytes);
}
