/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A pid in, facts about the process out; main thread, reads /proc only. */
#include "vmemdirect/attach/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/cleanup.h"

static void cleanup_file(FILE **f)
{
	if (*f)
		fclose(*f);
}
#define _cleanup_file_ __attribute__((cleanup(cleanup_file)))

static FILE *open_of(pid_t pid, const char *what)
{
	char path[96];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
	return fopen(path, "re");
}

/* A missing file in /proc/PID means that the process is gone. */
static int open_error(void)
{
	return errno == ENOENT ? -ESRCH : -errno;
}

bool proc_parse_map(const char *line, struct proc_map *ret)
{
	struct proc_map m = { 0 };
	unsigned int major, minor;
	char perms[5];
	int at = 0;
	size_t len;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n",
		   &m.start, &m.end, perms, &m.offset, &major, &minor, &m.ino, &at) < 7)
		return false;
	if (m.end <= m.start || strlen(perms) != 4)
		return false;
	m.dev = makedev(major, minor);
	m.shared = perms[3] == 's';
	m.writable = perms[1] == 'w';
	len = strcspn(line + at, "\n");
	if (len >= sizeof(m.path))
		len = sizeof(m.path) - 1;
	memcpy(m.path, line + at, len);
	*ret = m;
	return true;
}

int proc_each_map(pid_t pid, int (*fn)(const struct proc_map *m, void *arg), void *arg)
{
	_cleanup_file_ FILE *f = open_of(pid, "maps");
	_cleanup_free_ char *line = NULL;
	struct proc_map m;
	size_t size = 0;
	int r;

	if (!f)
		return open_error();
	while (getline(&line, &size, f) > 0) {
		if (!proc_parse_map(line, &m))
			continue;
		r = fn(&m, arg);
		if (r)
			return r;
	}
	return 0;
}

struct by_name {
	const char *path;
	struct proc_map *ret;
};

static int match_name(const struct proc_map *m, void *arg)
{
	struct by_name *by = arg;

	if (strcmp(m->path, by->path) != 0)
		return 0;
	*by->ret = *m;
	return 1;
}

int proc_map_named(pid_t pid, const char *path, struct proc_map *ret)
{
	struct by_name by = { path, ret };
	int r = proc_each_map(pid, match_name, &by);

	return r < 0 ? r : r ? 0 : -ENOENT;
}

int proc_is_watched(pid_t pid, uint64_t start)
{
	_cleanup_file_ FILE *f = open_of(pid, "smaps");
	_cleanup_free_ char *line = NULL;
	struct proc_map m;
	bool here = false;
	size_t size = 0;

	if (!f)
		return open_error();
	while (getline(&line, &size, f) > 0) {
		if (proc_parse_map(line, &m))
			here = m.start == start;
		else if (here && !strncmp(line, "VmFlags:", 8))
			return strstr(line, " um") || strstr(line, " uw");
	}
	return 0;
}

int proc_start_time(pid_t pid, uint64_t *ret_ticks)
{
	_cleanup_file_ FILE *f = open_of(pid, "stat");
	char buf[1024], *p;
	size_t n;

	if (!f)
		return open_error();
	n = fread(buf, 1, sizeof(buf) - 1, f);
	buf[n] = 0;
	p = strrchr(buf, ')'); /* the name before it may hold anything */
	if (!p)
		return -ESRCH;
	p++;
	for (int field = 3; field < 22 && p; field++)
		p = strchr(p + 1, ' ');
	if (!p || sscanf(p, "%" SCNu64, ret_ticks) != 1)
		return -EPROTO;
	return 0;
}

pid_t proc_tracer(pid_t pid)
{
	_cleanup_file_ FILE *f = open_of(pid, "status");
	char line[256];
	int tracer = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "TracerPid: %d", &tracer) == 1)
			break;
	return tracer;
}

int proc_comm(pid_t pid, char *ret, size_t len_bytes)
{
	char path[64];
	int r;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	r = proc_read_line(path, ret, len_bytes);
	return r == -ENOENT ? -ESRCH : r;
}

static bool is_o_direct(pid_t pid, int fd)
{
	char what[64], line[128];
	unsigned int flags = 0;
	FILE *f;

	snprintf(what, sizeof(what), "fdinfo/%d", fd);
	f = open_of(pid, what);
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "flags: %o", &flags) == 1)
			break;
	if (f)
		fclose(f);
	return flags & O_DIRECT;
}

static bool read_fd(pid_t pid, const char *name, struct proc_fd *ret)
{
	char path[320];
	struct stat st;
	ssize_t n;

	memset(ret, 0, sizeof(*ret));
	ret->fd = atoi(name);
	snprintf(path, sizeof(path), "/proc/%d/fd/%s", pid, name);
	n = readlink(path, ret->path, sizeof(ret->path) - 1);
	if (n < 0)
		return false;
	if (!stat(path, &st)) {
		ret->dev = st.st_dev;
		ret->ino = st.st_ino;
	}
	ret->o_direct = is_o_direct(pid, ret->fd);
	return true;
}

int proc_each_fd(pid_t pid, int (*fn)(const struct proc_fd *f, void *arg), void *arg)
{
	char path[64];
	struct dirent *e;
	struct proc_fd f;
	int r = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		return open_error();
	while (!r && (e = readdir(dir)))
		if (e->d_name[0] != '.' && read_fd(pid, e->d_name, &f))
			r = fn(&f, arg);
	closedir(dir);
	return r;
}

int proc_read_line(const char *path, char *ret, size_t len_bytes)
{
	FILE *f = fopen(path, "re");

	if (!f)
		return -errno;
	if (!fgets(ret, (int)len_bytes, f))
		ret[0] = 0;
	fclose(f);
	ret[strcspn(ret, "\n")] = 0;
	return 0;
}

int proc_read_u64(const char *path, uint64_t *ret)
{
	char line[64], *end;
	int r = proc_read_line(path, line, sizeof(line));

	if (r < 0)
		return r;
	if (!strcmp(line, "max")) {
		*ret = UINT64_MAX;
		return 0;
	}
	errno = 0;
	*ret = strtoull(line, &end, 10);
	return errno || end == line || *end ? -EPROTO : 0;
}
