/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A folder's name in, a mounted tmpfs that its user may use out. Needs root's rights, as far
 * as there is something to do. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "memserver/pool.h"
#include "memserver/pool_mount.h"

uint64_t pool_host_memory(const char *key)
{
	_cleanup_free_ char *line = NULL;
	size_t cap = 0, key_len = strlen(key);
	unsigned long long kib = 0;
	FILE *f = fopen("/proc/meminfo", "re");

	if (!f)
		return 0;
	while (getline(&line, &cap, f) > 0)
		if (!strncmp(line, key, key_len) && line[key_len] == ':') {
			kib = strtoull(line + key_len + 1, NULL, 10);
			break;
		}
	fclose(f);
	return (uint64_t)kib << 10;
}

/* mkdir -p, the last folder for us alone. */
static int make_folder(const char *path)
{
	_cleanup_free_ char *p = strdup(path);

	if (!p)
		return -ENOMEM;
	for (char *s = strchr(p + 1, '/'); s; s = strchr(s + 1, '/')) {
		*s = '\0';
		if (mkdir(p, 0755) < 0 && errno != EEXIST)
			return -errno;
		*s = '/';
	}
	if (mkdir(p, 0700) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

/*
 * The pool mounts its own tmpfs unless the folder was given and already is on one. What
 * somebody else has mounted is never remounted.
 */
static bool wants_mount(const struct pool_cfg *cfg, const char *path)
{
	struct pool_mount m = { 0 };

	if (geteuid() != 0)
		return false;
	if (pool_mount_is_point(path))
		return !pool_mount_look(path, &m) && m.is_ours;
	return !cfg->dir || !pool_mount_is_tmpfs(path);
}

static void mount_options(const struct pool_cfg *cfg, bool noswap, char *buf,
			  size_t len)
{
	uint64_t size =
		cfg->limit_bytes ? cfg->limit_bytes : pool_host_memory("MemTotal");
	int n = snprintf(buf, len, "mode=0700,nr_inodes=4096,huge=%s,size=%llu",
			 cfg->huge ? "always" : "never",
			 (unsigned long long)(size + POOL_HUGE_PAGE));

	if (cfg->numa_node >= 0)
		n += snprintf(buf + n, len - (size_t)n, ",mpol=bind:%d",
			      cfg->numa_node);
	if (noswap)
		snprintf(buf + n, len - (size_t)n, ",noswap");
}

/* Mounts, or remounts with today's limit what an earlier memserver left. */
static int mount_pool(const struct pool_cfg *cfg, const char *path)
{
	unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
	char options[160];

	if (pool_mount_is_point(path))
		flags |= MS_REMOUNT;
	mount_options(cfg, true, options, sizeof(options));
	if (!mount(POOL_MOUNT_SOURCE, path, "tmpfs", flags, options))
		return 0;
	mount_options(cfg, false, options, sizeof(options));
	if (!mount(POOL_MOUNT_SOURCE, path, "tmpfs", flags, options))
		return 0;
	/* A service without that right: --prepare-pool has just done it. */
	if ((flags & MS_REMOUNT) && errno == EPERM)
		return 0;
	if ((flags & MS_REMOUNT) && errno == EINVAL) {
		log_warn("pool %s: could not be remounted with '%s' (what is stored "
			 "there may already exceed the limit, or the page size can't "
			 "change); it stays as it is",
			 path, options);
		return 0;
	}
	log_err("pool %s: mounting a tmpfs (%s) failed: %s; give a folder on a tmpfs "
		"with --pool DIR",
		path, options, strerror(errno));
	return -errno;
}

/* The real user's: what is effective may be who it is to become. */
int pool_find(const struct pool_cfg *cfg, char **ret_path)
{
	int n = 0;

	if (cfg->dir)
		*ret_path = strdup(cfg->dir);
	else if (getuid() == 0)
		*ret_path = strdup("/run/memserver/pool");
	else
		n = asprintf(ret_path, "/dev/shm/memserver-%u/pool",
			     (unsigned int)getuid());
	return n < 0 || !*ret_path ? -ENOMEM : 0;
}

/* What we put into a pool. */
static bool is_pools(const char *name)
{
	static const char *const ends[] = { ".mem", ".json", ".json.new" };
	size_t len = strlen(name);

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (len > strlen(ends[i]) &&
		    !strcmp(name + len - strlen(ends[i]), ends[i]))
			return true;
	return !strcmp(name, "lock") || !strncmp(name, "tgtd.", 5);
}

static int give_files(DIR *d, const struct drop *owner)
{
	struct dirent *e;

	while ((e = readdir(d)))
		if (is_pools(e->d_name) &&
		    fchownat(dirfd(d), e->d_name, owner->uid, owner->gid,
			     AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
	return 0;
}

/*
 * What a memserver that was root has left is the user's now, and the folder, unless others
 * may write to it too. What is the user's already is left alone: root changes nothing where
 * somebody else may put links.
 */
static int give(const char *path, const struct drop *owner)
{
	DIR *d = opendir(path);
	struct stat st;
	int r;

	if (!d) /* without the rights of root, and not root's: given before */
		return errno == EACCES ? 0 : -errno;
	r = fstat(dirfd(d), &st) < 0 ? -errno : 0;
	if (r == 0 && st.st_uid != owner->uid) {
		r = give_files(d, owner);
		if (r == 0 && !(st.st_mode & 022) &&
		    fchown(dirfd(d), owner->uid, owner->gid) < 0)
			r = -errno;
	}
	closedir(d);
	return r;
}

int pool_prepare(const struct pool_cfg *cfg)
{
	_cleanup_free_ char *path = NULL;
	int r = pool_find(cfg, &path);

	if (r == 0)
		r = make_folder(path);
	if (r < 0) {
		log_err("pool %s: cannot make the folder: %s; give another with --pool "
			"DIR",
			path ? path : "", strerror(-r));
		return r;
	}
	if (wants_mount(cfg, path))
		r = mount_pool(cfg, path);
	if (r == 0 && cfg->owner && cfg->owner->wanted) {
		r = give(path, cfg->owner);
		if (r < 0)
			log_err("pool %s: giving it to user %s: %s", path,
				cfg->owner->name, strerror(-r));
	}
	return r;
}
