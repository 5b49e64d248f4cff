/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A folder in, facts of /proc/self/mountinfo out; found by device number. */
#include "memserver/pool_mount.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include "lib/cleanup.h"

/* Is `option` one of the words between commas? */
static bool has_option(const char *options, const char *option)
{
	size_t len = strlen(option);

	for (const char *p = options; *p; p += strcspn(p, ",")) {
		p += *p == ',';
		if (!strncmp(p, option, len) && strchr(",\n", p[len]))
			return true;
	}
	return false;
}

/* "36 35 98:0 /root /point rw,… shared:1 … - type source options" */
int pool_mount_parse(const char *line, unsigned int *ret_major, unsigned int *ret_minor,
		     struct pool_mount *ret)
{
	const char *rest = strstr(line, " - ");
	char type[32], source[64], options[512];

	if (sscanf(line, "%*u %*u %u:%u ", ret_major, ret_minor) != 2 || !rest ||
	    sscanf(rest + 3, "%31s %63s %511s", type, source, options) != 3)
		return -EPROTO;
	ret->is_ours = !strcmp(type, "tmpfs") && !strcmp(source, POOL_MOUNT_SOURCE);
	ret->is_noswap = !strcmp(type, "tmpfs") && has_option(options, "noswap");
	return 0;
}

bool pool_mount_is_tmpfs(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && fs.f_type == TMPFS_MAGIC;
}

bool pool_mount_is_point(const char *path)
{
	_cleanup_free_ char *real = realpath(path, NULL);
	struct stat here, up;
	char *slash;

	if (!real || stat(real, &here) < 0)
		return false;
	slash = strrchr(real, '/');
	slash[slash == real] = '\0';
	return !stat(real, &up) && here.st_dev != up.st_dev;
}

int pool_mount_size(const char *path, uint64_t bytes)
{
	char option[40];

	snprintf(option, sizeof(option), "size=%llu", (unsigned long long)bytes);
	if (mount(NULL, path, NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  option) < 0)
		return -errno;
	return 0;
}

int pool_mount_look(const char *path, struct pool_mount *ret)
{
	_cleanup_free_ char *line = NULL;
	unsigned int major_nr, minor_nr;
	struct pool_mount m;
	int r = -ENOENT;
	size_t cap = 0;
	struct stat st;
	FILE *f;

	if (stat(path, &st) < 0)
		return -errno;
	f = fopen("/proc/self/mountinfo", "re");
	if (!f)
		return -errno;
	while (getline(&line, &cap, f) > 0)
		if (!pool_mount_parse(line, &major_nr, &minor_nr, &m) &&
		    st.st_dev == makedev(major_nr, minor_nr)) {
			*ret = m;
			r = 0;
		}
	fclose(f);
	return r;
}
