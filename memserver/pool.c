/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A folder and a limit in, files and an account out. Set up on the main thread;
 * charging from any.
 */
#include "memserver/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "lib/size.h"
#include "memserver/pool_mount.h"

struct pool {
	char *path;        /* owned */
	int dirfd;         /* owned */
	int lockfd;        /* owned; its flock keeps other memservers out */
	bool noswap;       /* the mount never swaps */
	bool ours;         /* we mounted it, and may size it */
	bool shared;       /* pool_share */
	uint64_t fs_bytes; /* size of the tmpfs when opened */
	uint32_t granule;
	uint64_t limit, reserve;
	_Atomic uint64_t used;
	_Atomic bool is_short;                      /* the host is below its reserve */
	int (*set_size)(void *arg, uint64_t bytes); /* NULL: we do it */
	void *set_size_arg;
};

static int take_lock(struct pool *p)
{
	p->lockfd = openat(p->dirfd, "lock", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	if (p->lockfd < 0) {
		log_err("pool %s: cannot write there: %s", p->path, strerror(errno));
		return -errno;
	}
	if (flock(p->lockfd, LOCK_EX | LOCK_NB) < 0) {
		log_err("pool %s: another memserver is using it; stop it or give this "
			"one "
			"a folder of its own with --pool DIR",
			p->path);
		return -EBUSY;
	}
	return 0;
}

/* The tmpfs itself limits us too; the account must stop before it does. */
static void find_limit(struct pool *p, const struct pool_cfg *cfg)
{
	struct statfs fs;
	uint64_t fs_bytes;

	p->limit = cfg->limit_bytes ? cfg->limit_bytes : UINT64_MAX;
	if (fstatfs(p->dirfd, &fs) < 0 || !fs.f_blocks)
		return;
	fs_bytes = (uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize;
	p->fs_bytes = fs_bytes;
	if (fs_bytes < p->limit) {
		if (cfg->limit_bytes)
			log_warn("pool %s: its tmpfs holds less than the pool limit; "
				 "the "
				 "limit is that of the tmpfs",
				 p->path);
		p->limit = fs_bytes;
	}
}

static int open_folder(struct pool *p, const struct drop *owner)
{
	struct pool_mount m;
	int r;

	if (!pool_mount_look(p->path, &m)) {
		p->noswap = m.is_noswap;
		p->ours = m.is_ours && pool_mount_is_point(p->path);
	}
	p->dirfd = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->dirfd < 0) {
		r = -errno;
		log_err("pool %s: %s%s%s", p->path, strerror(-r),
			r == -EACCES
				? "; the folders above it must be open (o+x) to user "
				: "",
			r != -EACCES             ? ""
			: owner && owner->wanted ? owner->name
						 : "us");
		return r;
	}
	if (!pool_mount_is_tmpfs(p->path)) {
		log_err("pool %s: not a tmpfs, so it would lend disk, not memory; "
			"mount "
			"one there or give a folder on one with --pool DIR",
			p->path);
		return -EOPNOTSUPP;
	}
	return take_lock(p);
}

int pool_attach(const struct pool_cfg *cfg, struct pool **ret)
{
	struct pool *p = calloc(1, sizeof(*p));
	int r = -ENOMEM;

	if (!p)
		return r;
	p->dirfd = p->lockfd = -1;
	p->granule = cfg->huge ? POOL_HUGE_PAGE : POOL_PAGE;
	p->reserve = cfg->reserve_bytes;
	r = pool_find(cfg, &p->path);
	if (r < 0)
		goto fail;
	r = open_folder(p, cfg->owner);
	if (r < 0)
		goto fail;
	find_limit(p, cfg);
	pool_watch_host(p);
	*ret = p;
	return 0;
fail:
	pool_close(p);
	return r;
}

int pool_open(const struct pool_cfg *cfg, struct pool **ret)
{
	int r = pool_prepare(cfg);

	return r < 0 ? r : pool_attach(cfg, ret);
}

void pool_close(struct pool *p)
{
	if (!p)
		return;
	cleanup_close(&p->lockfd);
	cleanup_close(&p->dirfd);
	free(p->path);
	free(p);
}

int pool_dirfd(const struct pool *p)
{
	return p->dirfd;
}

const char *pool_path(const struct pool *p)
{
	return p->path;
}

bool pool_is_noswap(const struct pool *p)
{
	return p->noswap;
}

uint32_t pool_granule(const struct pool *p)
{
	return p->granule;
}

int pool_carve(struct pool *p, const char *name, uint64_t size, bool create,
	       int *ret_fd)
{
	_cleanup_close_ int fd = openat(p->dirfd, name,
					O_RDWR | O_CLOEXEC | O_NOFOLLOW |
						(create ? O_CREAT | O_EXCL : 0),
					0600);
	struct stat st;

	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	r = fault_point("pool.carve");
	if (!r && (uint64_t)st.st_size != size && ftruncate(fd, (off_t)size) < 0)
		r = -errno;
	if (r < 0) {
		if (create) /* else its name would be taken */
			unlinkat(p->dirfd, name, 0);
		return r;
	}
	*ret_fd = take_fd(&fd);
	return 0;
}

int pool_unlink(struct pool *p, const char *name)
{
	return unlinkat(p->dirfd, name, 0) < 0 ? -errno : 0;
}

int pool_charge(struct pool *p, uint64_t bytes)
{
	uint64_t before;

	if (atomic_load_explicit(&p->is_short, memory_order_relaxed) ||
	    fault_point("pool.charge"))
		return -ENOSPC;
	before = atomic_fetch_add(&p->used, bytes);
	if (before + bytes <= p->limit)
		return 0;
	atomic_fetch_sub(&p->used, bytes);
	return -ENOSPC;
}

void pool_uncharge(struct pool *p, uint64_t bytes)
{
	atomic_fetch_sub(&p->used, bytes);
}

void pool_charge_found(struct pool *p, uint64_t bytes)
{
	atomic_fetch_add(&p->used, bytes);
}

uint64_t pool_used(const struct pool *p)
{
	return atomic_load(&p->used);
}

uint64_t pool_limit(const struct pool *p)
{
	return p->limit;
}

uint64_t pool_reserve(const struct pool *p)
{
	return p->reserve;
}

bool pool_is_short(const struct pool *p)
{
	return atomic_load(&p->is_short);
}

int pool_share(struct pool *p)
{
	if (p->limit != UINT64_MAX && p->fs_bytes > p->limit + POOL_HUGE_PAGE) {
		log_err("pool %s: with iSCSI the tmpfs itself must keep the pool's "
			"limit, and it is larger: leave out --pool, or mount a tmpfs "
			"of that size there, or leave out --pool-limit",
			p->path);
		return -EINVAL;
	}
	if (!p->ours && p->reserve)
		log_warn("pool %s: not mounted by memserver, so iSCSI writes do not "
			 "stop at the host's reserve",
			 p->path);
	p->shared = true;
	return 0;
}

/* Stops the tmpfs from growing, or lets it grow again: what is stored can be rewritten
 * and discarded either way. */
static void cap_tmpfs(struct pool *p, bool stop)
{
	uint64_t bytes = p->fs_bytes;
	struct statfs fs;
	int r;

	if (!p->shared || !p->ours || fstatfs(p->dirfd, &fs) < 0)
		return;
	if (stop)
		bytes = (uint64_t)(fs.f_blocks - fs.f_bfree) * (uint64_t)fs.f_bsize;
	r = p->set_size ? p->set_size(p->set_size_arg, bytes)
			: pool_mount_size(p->path, bytes);
	if (r < 0)
		log_warn("pool %s: giving it %llu bytes: %s; iSCSI writes do not stop "
			 "at the host's reserve",
			 p->path, (unsigned long long)bytes, strerror(-r));
}

void pool_size_by(struct pool *p, int (*fn)(void *arg, uint64_t bytes), void *arg)
{
	p->set_size = fn;
	p->set_size_arg = arg;
}

void pool_watch_host(struct pool *p)
{
	char have[SIZE_FORMAT_MAX], want[SIZE_FORMAT_MAX];
	bool was = atomic_load(&p->is_short);
	uint64_t available = pool_host_memory("MemAvailable");
	/* Take up lending again only a little above the mark: no flapping. */
	uint64_t mark = p->reserve + (was ? p->reserve / 8 : 0);
	bool now = p->reserve && available && available < mark;

	if (now == was)
		return;
	atomic_store(&p->is_short, now);
	cap_tmpfs(p, now);
	size_format(available, have, sizeof(have));
	size_format(p->reserve, want, sizeof(want));
	if (now)
		log_warn("the host has %s of memory left, its reserve is %s: no new "
			 "pages "
			 "are lent until there is more (stored ones are served)",
			 have, want);
	else
		log_note("the host has %s of memory again: lending goes on", have);
}
