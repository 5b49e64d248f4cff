/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A path in, a listening socket out. */
#include "lib/ctl_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define SOCKET_MODE 0660

void ctl_socket_init(struct ctl_socket *s)
{
	*s = (struct ctl_socket){ .fd = -1, .lock_fd = -1 };
}

static void lock_path(const struct ctl_socket *s, char *buf, size_t len)
{
	snprintf(buf, len, "%s.lock", s->addr.sun_path);
}

/* Makes the folder above, one level; refuses one that a stranger could replace. */
static int ready_folder(const char *path)
{
	char copy[sizeof(((struct sockaddr_un *)0)->sun_path)];
	const char *dir;
	struct stat st;

	snprintf(copy, sizeof(copy), "%s", path);
	dir = dirname(copy);
	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return -errno;
	if (stat(dir, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	return st.st_uid == 0 || st.st_uid == geteuid() ? 0 : -EPERM;
}

/*
 * Holds the lock file. It may have been removed by its last owner between open and
 * flock: then what we hold is no file any more, and we begin again.
 */
static int take_lock(struct ctl_socket *s)
{
	char path[PATH_MAX];
	struct stat held, there;

	lock_path(s, path, sizeof(path));
	for (;;) {
		_cleanup_close_ int fd =
			open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

		if (fd < 0)
			return -errno;
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			return errno == EWOULDBLOCK ? -EADDRINUSE : -errno;
		if (fstat(fd, &held) < 0)
			return -errno;
		if (stat(path, &there) < 0 || there.st_ino != held.st_ino ||
		    there.st_dev != held.st_dev)
			continue;
		s->lock_fd = take_fd(&fd);
		return 0;
	}
}

/* 0: a socket is there and nobody listens; -EADDRINUSE: do not touch it. */
static int is_stale(const struct sockaddr_un *addr)
{
	_cleanup_close_ int fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EADDRINUSE;
	if (!connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) ||
	    errno != ECONNREFUSED)
		return -EADDRINUSE;
	return 0;
}

/* The lock is held: nobody else who plays by it is here. */
static int bind_path(const struct ctl_socket *s, int fd)
{
	const struct sockaddr *sa = (const struct sockaddr *)&s->addr;
	int r;

	if (!bind(fd, sa, sizeof(s->addr)))
		return 0;
	if (errno != EADDRINUSE)
		return -errno;
	r = is_stale(&s->addr);
	if (r < 0)
		return r;
	if (unlink(s->addr.sun_path) < 0 && errno != ENOENT)
		return -errno;
	return bind(fd, sa, sizeof(s->addr)) < 0 ? -errno : 0;
}

int ctl_socket_listen(struct ctl_socket *s, const char *path)
{
	_cleanup_close_ int fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	if (fd < 0)
		return -errno;
	if (!*path)
		return -EINVAL;
	if (strlen(path) >= sizeof(s->addr.sun_path))
		return -ENAMETOOLONG;
	s->addr.sun_family = AF_UNIX;
	strcpy(s->addr.sun_path, path);
	r = ready_folder(path);
	if (r < 0)
		return r;
	r = take_lock(s);
	if (r < 0)
		return r;
	/* Linux gives the file the socket's own mode, less the umask: never too wide,
	 * and widened to what is meant afterwards. */
	fchmod(fd, SOCKET_MODE);
	r = bind_path(s, fd);
	if (r < 0)
		goto fail;
	s->fd = take_fd(&fd);
	if (chmod(path, SOCKET_MODE) < 0 || listen(s->fd, 64) < 0) {
		r = -errno;
		goto fail;
	}
	return 0;
fail:
	ctl_socket_fini(s);
	return r;
}

void ctl_socket_fini(struct ctl_socket *s)
{
	char path[PATH_MAX];

	if (s->fd >= 0) {
		unlink(s->addr.sun_path);
		close(s->fd);
		s->fd = -1;
	}
	if (s->lock_fd >= 0) {
		lock_path(s, path, sizeof(path));
		unlink(path);
		close(s->lock_fd);
		s->lock_fd = -1;
	}
}
