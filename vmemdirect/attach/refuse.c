/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Facts of /proc and /sys in, refusals with their remedies out; main thread. Why each
 * would lose data or defeat the purpose is written at its question.
 */
#include "vmemdirect/attach/refuse.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include "lib/log.h"

#define THP_DIR "/sys/kernel/mm/transparent_hugepage"

/* ---- the object ---- */

/* The chosen word of a sysfs line "always [madvise] never"; "" where there is none. */
static void chosen_word(const char *path, char *ret, size_t len)
{
	char line[128], *from, *to;

	ret[0] = 0;
	if (proc_read_line(path, line, sizeof(line)) < 0)
		return;
	from = strchr(line, '[');
	to = from ? strchr(from, ']') : NULL;
	if (to)
		snprintf(ret, len, "%.*s", (int)(to - from - 1), from + 1);
}

/* The huge= option of the tmpfs mount a device is; "" for none. */
static void mount_huge(uint64_t dev, char *ret, size_t len)
{
	char line[1024], *opt;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	unsigned int major, minor;

	ret[0] = 0;
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*d %*d %u:%u", &major, &minor) != 2 ||
		    makedev(major, minor) != dev)
			continue;
		opt = strstr(line, "huge=");
		if (opt)
			snprintf(ret, len, "%.*s", (int)strcspn(opt + 5, ", \n"),
				 opt + 5);
	}
	if (f)
		fclose(f);
}

/* Punching one small page out of a huge one frees nothing, but zeroes it. */
static int refuse_huge(const struct guest *g, const struct guest_block *b)
{
	char word[32], path[96];
	struct dirent *e;
	DIR *dir;
	int r = 0;

	mount_huge(b->dev, word, sizeof(word));
	if (word[0] && strcmp(word, "never") != 0) {
		vm_err(g,
		       "%s lies on a tmpfs with huge=%s: transparent huge pages cannot "
		       "be "
		       "paged out one by one. Remount it with huge=never",
		       b->name, word);
		return -ENOTSUP;
	}
	chosen_word(THP_DIR "/shmem_enabled", word, sizeof(word));
	if (!strcmp(word, "force") ||
	    (b->dev == 1 && word[0] && strcmp(word, "never") && strcmp(word, "deny"))) {
		vm_err(g,
		       "transparent huge pages are on for shared memory (%s). Before "
		       "the VM "
		       "starts: echo never > " THP_DIR "/shmem_enabled",
		       word);
		return -ENOTSUP;
	}
	dir = opendir(THP_DIR); /* since 6.11 each size has a switch of its own */
	while (dir && (e = readdir(dir))) {
		snprintf(path, sizeof(path), THP_DIR "/%.32s/shmem_enabled", e->d_name);
		chosen_word(path, word, sizeof(word));
		if (strncmp(e->d_name, "hugepages-", 10) || !word[0] ||
		    !strcmp(word, "never") || !strcmp(word, "inherit"))
			continue;
		vm_err(g,
		       "large pages are on for shared memory (%s). Before the VM "
		       "starts: "
		       "echo never > %s",
		       word, path);
		r = -ENOTSUP;
	}
	if (dir)
		closedir(dir);
	return r;
}

int refuse_object(const struct guest *g, const struct guest_block *b, int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0) {
		vm_err(g, "%s: cannot look at its file system: %s", b->name,
		       strerror(errno));
		return -ENOTSUP;
	}
	if (fs.f_type == HUGETLBFS_MAGIC) {
		vm_err(g,
		       "%s lies on hugetlbfs, whose pages the kernel never pages. "
		       "Start the "
		       "VM with memory-backend-memfd,share=on and without hugetlb=on",
		       b->name);
		return -ENOTSUP;
	}
	if (fs.f_type != TMPFS_MAGIC) {
		vm_err(g,
		       "%s is a file on an ordinary file system. Start the VM with "
		       "memory-backend-memfd,share=on, or mem-path on a tmpfs",
		       b->name);
		return -ENOTSUP;
	}
	return refuse_huge(g, b);
}

/* ---- the host's swap ---- */

static bool host_swaps(void)
{
	char line[256];
	FILE *f = fopen("/proc/swaps", "re");
	unsigned int lines = 0;

	while (f && fgets(line, sizeof(line), f))
		lines++;
	if (f)
		fclose(f);
	return lines > 1;
}

/* The cgroup-v2 folder of a process; "" where it has none. */
static void cgroup_of(pid_t pid, char *ret, size_t len)
{
	char path[64], line[512];
	FILE *f;

	ret[0] = 0;
	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "0::", 3)) {
			line[strcspn(line, "\n")] = 0;
			snprintf(ret, len, "/sys/fs/cgroup%s", line + 3);
		}
	if (f)
		fclose(f);
}

/* A limit of 0 in any folder above holds for all below. */
bool refuse_may_swap(const struct guest *g)
{
	char dir[600], path[640], *slash;
	uint64_t max;

	if (!host_swaps())
		return false;
	cgroup_of(g->pid, dir, sizeof(dir));
	while (strlen(dir) > strlen("/sys/fs/cgroup")) {
		snprintf(path, sizeof(path), "%s/memory.swap.max", dir);
		if (!proc_read_u64(path, &max) && max == 0)
			return false;
		slash = strrchr(dir, '/');
		*slash = 0;
	}
	return true;
}

/* A page the host swaps out is seen by nobody as missing, and counts for nobody. */
int refuse_swap(const struct guest *g)
{
	if (!refuse_may_swap(g))
		return 0;
	vm_err(g, "the host's own swap may take this VM's pages. Set memory.swap.max "
		  "to 0 in "
		  "its cgroup (systemd: MemorySwapMax=0), or swapoff -a");
	return -ENOTSUP;
}

/* ---- what else reaches into the memory ---- */

struct fd_scan {
	unsigned int vfio, o_direct, vhost_scsi, userfaultfd;
	char o_direct_path[PROC_PATH_MAX];
};

static int look_at_fd(const struct proc_fd *f, void *arg)
{
	struct fd_scan *s = arg;

	if (!strncmp(f->path, "/dev/vfio/", 10) || strstr(f->path, "[vfio-"))
		s->vfio++;
	if (!strcmp(f->path, "/dev/vhost-scsi"))
		s->vhost_scsi++;
	if (strstr(f->path, "[userfaultfd]"))
		s->userfaultfd++;
	if (f->o_direct) {
		s->o_direct++;
		snprintf(s->o_direct_path, sizeof(s->o_direct_path), "%s", f->path);
	}
	return 0;
}

static int scan_fds(const struct guest *g, struct fd_scan *s)
{
	int r = proc_each_fd(g->pid, look_at_fd, s);

	if (r >= 0)
		return 0;
	vm_err(g, "cannot look at its descriptors: %s", strerror(-r));
	return -ENOTSUP;
}

static int refuse_vfio(const struct guest *g, const struct fd_scan *s)
{
	if (!s->vfio)
		return 0;
	vm_err(g, "a device is passed through (VFIO): all of the memory is pinned for "
		  "it. Remove the device; such a VM cannot be paged");
	return -ENOTSUP;
}

static int refuse_untold(const struct guest *g, const struct fd_scan *s,
			 const struct attach_cfg *cfg)
{
	const char *what = s->o_direct ? s->o_direct_path : "vhost-scsi";

	if ((!s->o_direct && !s->vhost_scsi) || cfg->pin_check)
		return 0;
	if (cfg->force) {
		vm_warn(g,
			"%s is opened with O_DIRECT and pinned pages cannot be told "
			"here: --force, so disk reads may be LOST",
			what);
		return 0;
	}
	vm_err(g,
	       "%s is opened with O_DIRECT and pinned pages cannot be told on this "
	       "host (neither BPF nor /proc/kcore can be used): a disk read under way "
	       "could be lost. Use cache=writeback, or --force for VMs whose disks "
	       "stay idle",
	       what);
	return -ENOTSUP;
}

/*
 * Asked before anything is taken for the VM (its swap file, exports that bear its name): they
 * may hold its pages. (A descriptor alone is what an attach that was killed has left.)
 */
static int refuse_watched(const struct guest *g, const struct fd_scan *s)
{
	for (unsigned int i = 0; s->userfaultfd && i < g->nr_blocks; i++) {
		if (proc_is_watched(g->pid, g->block[i].hva) != 1)
			continue;
		vm_err(g,
		       "%s has a userfaultfd already: another vmemdirect pages it, "
		       "with another --state or --name, or did and was killed "
		       "(vmemdirect attach --resume), or QEMU itself receives it by "
		       "post-copy",
		       g->block[i].name);
		return -ENOTSUP;
	}
	return 0;
}

static int refuse_fds(const struct guest *g, const struct attach_cfg *cfg)
{
	struct fd_scan s = { 0 };
	int r = scan_fds(g, &s);

	if (r < 0)
		return r;
	if (refuse_vfio(g, &s) < 0)
		r = -ENOTSUP;
	if (refuse_untold(g, &s, cfg) < 0)
		r = -ENOTSUP;
	if (refuse_watched(g, &s) < 0)
		r = -ENOTSUP;
	return r;
}

int refuse_unpinnable(const struct guest *g, const struct attach_cfg *cfg)
{
	struct fd_scan s = { 0 };
	int r = scan_fds(g, &s);

	return r < 0 ? r : refuse_untold(g, &s, cfg);
}

struct map_scan {
	const struct guest *g;
	bool found;
};

static int shares_object(const struct proc_map *m, void *arg)
{
	struct map_scan *s = arg;

	for (unsigned int i = 0; i < s->g->nr_blocks; i++)
		if (m->shared && m->ino == s->g->block[i].ino &&
		    m->dev == s->g->block[i].dev) {
			s->found = true;
			return 1;
		}
	return 0;
}

/* A second process with the object mapped (vhost-user, virtiofsd, ivshmem) has no
 * userfaultfd of ours: it would read zeros where pages are out. */
static int refuse_sharers(const struct guest *g)
{
	struct dirent *e;
	DIR *dir = opendir("/proc");
	int r = 0;

	while (dir && (e = readdir(dir))) {
		struct map_scan s = { .g = g };
		char comm[32] = "?";
		pid_t pid = isdigit(e->d_name[0]) ? (pid_t)atoi(e->d_name) : 0;

		if (pid <= 0 || pid == g->pid)
			continue;
		proc_each_map(pid, shares_object, &s);
		if (!s.found)
			continue;
		proc_comm(pid, comm, sizeof(comm));
		vm_err(g,
		       "process %d (%s) has the guest's memory mapped too (a "
		       "vhost-user "
		       "backend?): it would read zeros for pages that are out. Use "
		       "vhost-net "
		       "or a device of QEMU's own instead",
		       pid, comm);
		r = -ENOTSUP;
	}
	if (dir)
		closedir(dir);
	return r;
}

int refuse_process(const struct guest *g, const struct attach_cfg *cfg)
{
	int r = 0;

	if (refuse_swap(g) < 0)
		r = -ENOTSUP;
	if (refuse_fds(g, cfg) < 0)
		r = -ENOTSUP;
	if (refuse_sharers(g) < 0)
		r = -ENOTSUP;
	return r;
}

/* ---- userfaultfd itself ---- */

static bool kernel_before(unsigned int major, unsigned int minor)
{
	struct utsname u;
	unsigned int a = 0, b = 0;

	if (uname(&u) < 0 || sscanf(u.release, "%u.%u", &a, &b) != 2)
		return false;
	return a < major || (a == major && b < minor);
}

void refuse_explain_uffd(const struct guest *g, int error)
{
	if (error == -ENOSYS)
		vm_err(g, "this kernel has no userfaultfd (CONFIG_USERFAULTFD)");
	else if (kernel_before(5, 19))
		vm_err(g,
		       "this kernel is too old: write protection of shared memory by "
		       "userfaultfd came with Linux 5.19");
	else if (error == -EPERM)
		vm_err(g, "the VM's user may not make a userfaultfd. For the moment of "
			  "the "
			  "attach: sysctl vm.unprivileged_userfaultfd=1 (0 again "
			  "afterwards)");
	else if (error == -EINVAL || error == -EOPNOTSUPP)
		vm_err(g,
		       "this kernel's userfaultfd cannot write-protect shared memory "
		       "(CONFIG_PTE_MARKER_UFFD_WP)");
	else
		vm_err(g, "userfaultfd: %s", strerror(-error));
}
