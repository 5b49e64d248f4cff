/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A pid and what QMP said of its memory in, a struct guest out; main thread. The
 * userfaultfd made inside the process stays open there for as long as pages are out:
 * with its last reference everything would be unregistered, and what is out would
 * read as zeros.
 */
#include "vmemdirect/attach/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/size.h"
#include "vmemdirect/attach/inject.h"
#include "vmemdirect/attach/proc.h"
#include "vmemdirect/attach/refuse.h"
#include "vmemdirect/uffd.h"

#define SMALLEST_BYTES (UINT64_C(1) << 20) /* less is no RAM: firmware, rings */

static int pidfd_open_(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : fd;
}

static int pidfd_getfd_(int pidfd, int remote)
{
	int fd = (int)syscall(SYS_pidfd_getfd, pidfd, remote, 0);

	return fd < 0 ? -errno : fd;
}

/* ---- finding the objects ---- */

struct candidates {
	const struct attach_cfg *cfg;
	bool qemu;
	unsigned int nr, nr_private;
	uint64_t vma_end[GUEST_BLOCKS_MAX]; /* of the first part: names map_files */
	struct guest_block b[GUEST_BLOCKS_MAX];
	uint64_t private_size[GUEST_BLOCKS_MAX];
	bool too_many;
};

/* madvise splits a mapping: parts that follow each other are one again. */
static bool continues(const struct guest_block *b, const struct proc_map *m)
{
	return m->ino == b->ino && m->dev == b->dev &&
	       m->start == b->hva + b->size_bytes &&
	       m->offset == b->offset + b->size_bytes;
}

static void take_map(struct candidates *c, const struct proc_map *m)
{
	struct guest_block *b = c->nr ? &c->b[c->nr - 1] : NULL;

	if (b && continues(b, m)) {
		b->size_bytes += m->end - m->start;
		return;
	}
	if (c->nr == GUEST_BLOCKS_MAX) {
		c->too_many = true;
		return;
	}
	c->vma_end[c->nr] = m->end;
	b = &c->b[c->nr++];
	*b = (struct guest_block){
		.hva = m->start,
		.size_bytes = m->end - m->start,
		.offset = m->offset,
		.dev = m->dev,
		.ino = m->ino,
		.fd = -1,
	};
	snprintf(b->name, sizeof(b->name), "%.*s", GUEST_NAME_MAX - 1,
		 !strncmp(m->path, "/memfd:", 7) ? m->path + 7 : m->path);
	b->name[strcspn(b->name, " ")] = 0;
}

/* QEMU has other shared objects too (virtio-gpu blobs, audio): only its backends. */
static bool looks_like_ram(const struct candidates *c, const struct proc_map *m)
{
	if (!m->shared || !m->writable || !m->ino)
		return false;
	if (!strncmp(m->path, "/SYSV", 5) || !strncmp(m->path, "/dev/zero", 9) ||
	    !strncmp(m->path, "anon_inode:", 11) || m->path[0] != '/')
		return false;
	if (c->qemu && !strncmp(m->path, "/memfd:", 7))
		return !strncmp(m->path, "/memfd:memory-backend", 21) ||
		       !strncmp(m->path, "/memfd:ram-node", 15);
	return true;
}

static int look_at_map(const struct proc_map *m, void *arg)
{
	struct candidates *c = arg;

	if (looks_like_ram(c, m))
		take_map(c, m);
	else if (!m->shared && m->writable && c->nr_private < GUEST_BLOCKS_MAX &&
		 m->end - m->start >= SMALLEST_BYTES)
		c->private_size[c->nr_private++] = m->end - m->start;
	return 0;
}

static void drop(struct candidates *c, unsigned int i)
{
	c->nr--;
	memmove(&c->b[i], &c->b[i + 1], (c->nr - i) * sizeof(c->b[0]));
	memmove(&c->vma_end[i], &c->vma_end[i + 1],
		(c->nr - i) * sizeof(c->vma_end[0]));
}

static bool has_twin(const struct candidates *c, unsigned int i)
{
	for (unsigned int j = i + 1; j < c->nr; j++)
		if (c->b[j].size_bytes == c->b[i].size_bytes)
			return true;
	return false;
}

/* Leaves only what was asked for, with the names asked for. */
static int pick_wanted(const struct guest *g, struct candidates *c)
{
	char size[SIZE_FORMAT_MAX];
	struct candidates got = { .nr = 0 };

	for (unsigned int w = 0; w < c->cfg->nr_want; w++) {
		const struct attach_want *want = &c->cfg->want[w];
		unsigned int i = 0;

		while (i < c->nr && c->b[i].size_bytes != want->size_bytes)
			i++;
		if (i == c->nr) {
			vm_err(g,
			       "memory backend %s (%s) is not mapped shared: its "
			       "memory is "
			       "private to QEMU. Start the VM with -object "
			       "memory-backend-memfd,"
			       "id=%s,size=...,share=on -machine memory-backend=%s",
			       want->id,
			       size_format(want->size_bytes, size, sizeof(size)),
			       want->id, want->id);
			return -ENOTSUP;
		}
		if (c->cfg->exact && has_twin(c, i)) {
			vm_err(g,
			       "two shared memory objects of %s: which is %s cannot be "
			       "told, and pages that come in must not be mixed up. "
			       "Give "
			       "the backends different sizes",
			       size_format(want->size_bytes, size, sizeof(size)),
			       want->id);
			return -ENOTSUP;
		}
		got.b[got.nr] = c->b[i];
		got.vma_end[got.nr] = c->vma_end[i];
		snprintf(got.b[got.nr].name, GUEST_NAME_MAX, "%s", want->id);
		got.nr++;
		drop(c, i);
	}
	memcpy(c->b, got.b, sizeof(got.b));
	memcpy(c->vma_end, got.vma_end, sizeof(got.vma_end));
	c->nr = got.nr;
	return 0;
}

static int find_objects(struct guest *g, struct candidates *c)
{
	int r = proc_each_map(g->pid, look_at_map, c);

	if (r < 0) {
		vm_err(g, "cannot read its mappings: %s%s", strerror(-r),
		       r == -EACCES || r == -EPERM ? " (needs CAP_SYS_PTRACE)" : "");
		return r;
	}
	for (unsigned int i = 0; i < c->nr;)
		if (c->b[i].size_bytes < SMALLEST_BYTES)
			drop(c, i);
		else
			i++;
	if (c->cfg->nr_want)
		r = pick_wanted(g, c);
	if (!r && (!c->nr || c->too_many)) {
		if (c->nr)
			vm_err(g,
			       "more than 16 shared memory objects; name those to page "
			       "with --memdev");
		else
			vm_err(g,
			       "its memory is private, none of it is a shared object. "
			       "Start the VM with -object memory-backend-memfd,id=mem0,"
			       "size=...,share=on -machine memory-backend=mem0");
		r = -ENOTSUP;
	}
	for (unsigned int i = 0; !r && i < c->nr; i++)
		for (unsigned int j = 0; j < i; j++)
			if (c->b[i].ino == c->b[j].ino && c->b[i].dev == c->b[j].dev) {
				vm_err(g,
				       "%s is mapped twice; one mapping would miss the "
				       "pages "
				       "that are out",
				       c->b[i].name);
				r = -ENOTSUP;
			}
	return r;
}

static int open_object(const struct guest *g, struct guest_block *b, uint64_t vma_end)
{
	char path[96];

	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, g->pid,
		 b->hva, vma_end);
	b->fd = open(path, O_RDWR | O_CLOEXEC);
	if (b->fd >= 0)
		return 0;
	vm_err(g, "%s: cannot open its memory: %s%s", b->name, strerror(errno),
	       errno == EPERM || errno == EACCES
		       ? " (needs CAP_SYS_PTRACE and CAP_CHECKPOINT_RESTORE or "
			 "CAP_SYS_ADMIN)"
		       : "");
	return -errno;
}

static int open_objects(struct guest *g, const struct candidates *c)
{
	g->nr_blocks = c->nr;
	g->nr_pages = 0;
	for (unsigned int i = 0; i < c->nr; i++) {
		g->block[i] = c->b[i];
		g->block[i].first_pfn = g->nr_pages;
		g->nr_pages += c->b[i].size_bytes >> GUEST_PAGE_SHIFT;
	}
	for (unsigned int i = 0; i < c->nr; i++) {
		int r = open_object(g, &g->block[i], c->vma_end[i]);

		if (!r)
			r = refuse_object(g, &g->block[i], g->block[i].fd);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- the userfaultfd ---- */

static int close_remote(const struct guest *g, int remote)
{
	const uint64_t args[6] = { (uint64_t)remote };
	int64_t value = 0;
	int r = inject_syscall(g->pid, SYS_close, args, &value);

	return r < 0 ? r : (int)value;
}

static int explain_inject(const struct guest *g, int r)
{
	if (r == -EPERM || r == -EACCES)
		vm_err(g,
		       "not allowed to trace process %d (needs CAP_SYS_PTRACE; or "
		       "Yama's "
		       "kernel.yama.ptrace_scope is 3)",
		       g->pid);
	else if (r == -EBUSY)
		vm_err(g, "another debugger traces process %d; let it detach first",
		       g->pid);
	else if (r == -ETIME)
		vm_err(g, "no thread of process %d could be stopped", g->pid);
	else
		vm_err(g, "attaching to process %d: %s", g->pid, strerror(-r));
	return r;
}

static int make_uffd(struct guest *g)
{
	const uint64_t args[6] = { O_CLOEXEC | O_NONBLOCK };
	int64_t value = 0;
	int r = inject_syscall(g->pid, SYS_userfaultfd, args, &value);

	if (r < 0)
		return explain_inject(g, r);
	if (value < 0) {
		refuse_explain_uffd(g, (int)value);
		return (int)value;
	}
	g->remote_uffd = (int)value;
	g->uffd = pidfd_getfd_(g->pidfd, g->remote_uffd);
	r = g->uffd < 0 ? g->uffd : uffd_handshake(g->uffd);
	if (r < 0) {
		refuse_explain_uffd(g, r);
		close_remote(g, g->remote_uffd);
		g->remote_uffd = -1;
	}
	return r;
}

static void start_empty(struct guest *g)
{
	g->pidfd = g->uffd = g->remote_uffd = -1;
	for (unsigned int i = 0; i < GUEST_BLOCKS_MAX; i++)
		g->block[i].fd = -1;
}

static int open_process(struct guest *g)
{
	char comm[32];
	int r;

	g->pidfd = pidfd_open_(g->pid);
	if (g->pidfd < 0) {
		vm_err(g, "process %d: %s", g->pid, strerror(-g->pidfd));
		return g->pidfd;
	}
	r = proc_start_time(g->pid, &g->start_time);
	if (!r)
		r = proc_comm(g->pid, comm, sizeof(comm));
	if (r < 0)
		vm_err(g, "process %d: %s", g->pid, strerror(-r));
	else
		g->qemu = !strncmp(comm, "qemu", 4) || !strncmp(comm, "kvm", 3);
	return r;
}

static int find(const struct attach_cfg *cfg, struct guest *g, struct candidates *c)
{
	int r;

	start_empty(g);
	snprintf(g->name, sizeof(g->name), "%s", cfg->name);
	r = open_process(g);
	if (r < 0)
		return r;
	c->qemu = g->qemu;
	return find_objects(g, c);
}

int attach_look(const struct attach_cfg *cfg, struct guest *ret)
{
	struct guest g = { .pid = cfg->pid };
	struct candidates c = { .cfg = cfg };
	int r = find(cfg, &g, &c), refused;

	if (!r) {
		r = open_objects(&g, &c);
		refused = refuse_swap(&g);
		r = r < 0 ? r : refused;
	}
	if (r < 0)
		attach_close(&g);
	else
		*ret = g;
	return r;
}

bool attach_may_be_swapped(const struct guest *g)
{
	return refuse_may_swap(g);
}

int attach_open(const struct attach_cfg *cfg, struct guest *ret)
{
	struct guest g = { .pid = cfg->pid };
	struct candidates c = { .cfg = cfg };
	int r = find(cfg, &g, &c), refused;

	if (r < 0)
		goto fail;
	r = open_objects(&g, &c);
	refused = refuse_process(&g, cfg);
	if (r < 0 || refused < 0) {
		r = r < 0 ? r : refused;
		goto fail;
	}
	r = make_uffd(&g);
	if (r < 0)
		goto fail;
	*ret = g;
	return 0;
fail:
	attach_close(&g);
	return r;
}

/* ---- again, after a restart ---- */

int attach_check_pins(const struct guest *g, const struct attach_cfg *cfg)
{
	return refuse_unpinnable(g, cfg);
}

static int same_object(const struct guest_block *b, const struct proc_map *m)
{
	return m->shared && m->start == b->hva && m->dev == b->dev && m->ino == b->ino;
}

struct reopen {
	struct guest *g;
	unsigned int found;
};

static int reopen_map(const struct proc_map *m, void *arg)
{
	struct reopen *o = arg;

	for (unsigned int i = 0; i < o->g->nr_blocks; i++) {
		struct guest_block *b = &o->g->block[i];

		if (b->fd < 0 && same_object(b, m)) {
			int r = open_object(o->g, b, m->end);

			if (r < 0)
				return r;
			o->found++;
		}
	}
	return 0;
}

/*
 * A block that the process has not mapped any more was unplugged. In place of its object
 * comes an empty one: the page table goes on, nobody can ask for its pages.
 */
static int stand_in(struct guest *g)
{
	for (unsigned int i = 0; i < g->nr_blocks; i++) {
		struct guest_block *b = &g->block[i];

		if (b->fd >= 0)
			continue;
		b->fd = memfd_create("unplugged", MFD_CLOEXEC);
		if (b->fd < 0 ||
		    ftruncate(b->fd, (off_t)(b->offset + b->size_bytes)) < 0)
			return -errno;
	}
	return 0;
}

static bool is_uffd(const struct guest *g)
{
	char path[64], link[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", g->uffd);
	return readlink(path, link, sizeof(link) - 1) > 0 &&
	       strstr(link, "[userfaultfd]");
}

int attach_resume(struct guest *g)
{
	struct guest was = *g;
	struct reopen o = { .g = g };
	int r;

	g->pidfd = g->uffd = -1;
	for (unsigned int i = 0; i < GUEST_BLOCKS_MAX; i++)
		g->block[i].fd = -1;
	r = open_process(g);
	if (r < 0)
		goto fail;
	if (g->start_time != was.start_time) {
		vm_err(g, "process %d is another one than before", g->pid);
		r = -ESTALE;
		goto fail;
	}
	r = proc_each_map(g->pid, reopen_map, &o);
	if (r < 0)
		goto fail;
	g->uffd = pidfd_getfd_(g->pidfd, g->remote_uffd);
	if (!o.found || g->uffd < 0 || !is_uffd(g)) {
		vm_err(g, "process %d has lost its %s", g->pid,
		       !o.found ? "memory" : "userfaultfd");
		r = -ESTALE;
		goto fail;
	}
	r = stand_in(g);
	if (r < 0)
		goto fail;
	return 0;
fail:
	attach_close(g);
	return r;
}

void attach_undo(struct guest *g)
{
	int r = g->remote_uffd < 0 ? 0 : close_remote(g, g->remote_uffd);

	if (r < 0 && r != -ESRCH)
		vm_warn(g, "its userfaultfd (descriptor %d) stays open in it: %s",
			g->remote_uffd, strerror(-r));
	g->remote_uffd = -1;
	attach_close(g);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void attach_close(struct guest *g)
{
	close_fd(&g->uffd);
	close_fd(&g->pidfd);
	for (unsigned int i = 0; i < GUEST_BLOCKS_MAX; i++)
		close_fd(&g->block[i].fd);
}
