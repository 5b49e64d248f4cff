/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of controllers in, names of block devices out, and back. Any thread. */
#include "client/nvme_sysfs.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "client/file.h"

/* "nvmeSnN" as it is, "nvmeScCnN" as "nvmeSnN"; false for anything else. */
static bool head_name(const char *entry, char head[NVME_SYSFS_NAME_MAX + 1])
{
	unsigned int s, c, n;
	int end = 0;

	if (sscanf(entry, "nvme%uc%un%u%n", &s, &c, &n, &end) != 3 || entry[end]) {
		end = 0;
		if (sscanf(entry, "nvme%un%u%n", &s, &n, &end) != 2 || entry[end])
			return false;
	}
	snprintf(head, NVME_SYSFS_NAME_MAX + 1, "nvme%un%u", s, n);
	return true;
}

/* Where a namespace's number is told: in the head's folder, or in the path's. */
static int read_nsid(const char *sys, const char *controller, const char *entry,
		     const char *head, uint64_t *ret)
{
	if (!file_read_number(ret, "%s/block/%s/nsid", sys, head))
		return 0;
	return file_read_number(ret, "%s/class/nvme/%s/%s/nsid", sys, controller,
				entry);
}

static int open_controller(const char *sys, const char *controller, DIR **ret)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/class/nvme/%s", sys, controller);
	*ret = opendir(path);
	return *ret ? 0 : -ENOENT;
}

int nvme_sysfs_disk(const char *sys, const char *controller,
		    char ret_kdev[NVME_SYSFS_NAME_MAX + 1])
{
	char head[NVME_SYSFS_NAME_MAX + 1];
	uint64_t lowest = UINT64_MAX;
	struct dirent *e;
	DIR *d;

	if (open_controller(sys, controller, &d))
		return -ENOENT;
	while ((e = readdir(d))) {
		uint64_t nsid, sectors;

		if (!head_name(e->d_name, head) ||
		    read_nsid(sys, controller, e->d_name, head, &nsid) ||
		    file_read_number(&sectors, "%s/block/%s/size", sys, head) ||
		    !sectors || nsid >= lowest)
			continue;
		lowest = nsid;
		strcpy(ret_kdev, head);
	}
	closedir(d);
	return lowest == UINT64_MAX ? -ENODEV : 0;
}

/* The controller's entry for `kdev` into `entry`. */
static int find_entry(const char *sys, const char *controller, const char *kdev,
		      char entry[NVME_SYSFS_NAME_MAX + 1])
{
	char head[NVME_SYSFS_NAME_MAX + 1];
	struct dirent *e;
	int r = -ENODEV;
	DIR *d;

	if (open_controller(sys, controller, &d))
		return -ENOENT;
	while (r && (e = readdir(d)))
		if (head_name(e->d_name, head) && !strcmp(head, kdev) &&
		    strlen(e->d_name) <= NVME_SYSFS_NAME_MAX) {
			strcpy(entry, e->d_name);
			r = 0;
		}
	closedir(d);
	return r;
}

int nvme_sysfs_has_disk(const char *sys, const char *controller, const char *kdev)
{
	char entry[NVME_SYSFS_NAME_MAX + 1];

	return find_entry(sys, controller, kdev, entry);
}

int nvme_sysfs_way(const char *sys, const char *controller, const char *kdev,
		   char *path, size_t len)
{
	char entry[NVME_SYSFS_NAME_MAX + 1];
	int r = find_entry(sys, controller, kdev, entry);

	if (r)
		return r;
	r = snprintf(path, len, "%s/class/nvme/%s/%s", sys, controller, entry);
	return (size_t)r < len ? 0 : -ENAMETOOLONG;
}

/* "traddr=10.0.2.2,trsvcid=4420[,...]" */
static bool is_address(const char *text, const char *traddr, uint16_t port)
{
	char want[128];
	size_t n;

	if (!traddr)
		return true;
	n = (size_t)snprintf(want, sizeof(want), "traddr=%s,trsvcid=%u", traddr, port);
	return !strncmp(text, want, n) && (!text[n] || text[n] == ',');
}

int nvme_sysfs_find(const char *sys, const char *nqn, const char *traddr, uint16_t port,
		    char ret_controller[NVME_SYSFS_NAME_MAX + 1])
{
	char path[PATH_MAX], text[512];
	struct dirent *e;
	int r = -ENOENT;
	DIR *d;

	snprintf(path, sizeof(path), "%s/class/nvme", sys);
	d = opendir(path);
	while (d && r && (e = readdir(d))) {
		if (e->d_name[0] == '.' || strlen(e->d_name) > NVME_SYSFS_NAME_MAX)
			continue;
		if (file_read(text, sizeof(text), "%s/%s/transport", path, e->d_name) <
			    0 ||
		    strcmp(text, "tcp") ||
		    file_read(text, sizeof(text), "%s/%s/subsysnqn", path, e->d_name) <
			    0 ||
		    strcmp(text, nqn) ||
		    file_read(text, sizeof(text), "%s/%s/address", path, e->d_name) <
			    0 ||
		    !is_address(text, traddr, port))
			continue;
		strcpy(ret_controller, e->d_name);
		r = 0;
	}
	if (d)
		closedir(d);
	return r;
}
