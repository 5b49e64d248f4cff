/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A path in; its bytes out, if only those may read them who should. */
#include "lib/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"

/* The one that opens files for this process; set before there are threads. */
static struct {
	int (*fn)(void *arg, const char *path);
	void *arg;
} opener;

void secret_open_by(int (*fn)(void *arg, const char *path), void *arg)
{
	opener.arg = arg;
	opener.fn = fn;
}

int secret_open(const char *path)
{
	int r;

	if (!opener.fn) /* O_NONBLOCK: a FIFO would keep us waiting for its writer. */
		return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	r = opener.fn(opener.arg, path);
	if (r >= 0)
		return r;
	errno = -r;
	return -1;
}

/* NULL: it is as it should be. */
static const char *exposure(const struct stat *st, bool is_public)
{
	if (!S_ISREG(st->st_mode))
		return "not a plain file";
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return "it belongs to another user";
	if (is_public && (st->st_mode & 022))
		return "others can write it: chmod go-w";
	if (!is_public && (st->st_mode & 077))
		return "others can read or write it: chmod 600";
	return NULL;
}

static int say(char *error, const char *path, int r, const char *why)
{
	snprintf(error, SECRET_ERROR_MAX, "%.200s: %s", path, why);
	return r;
}

static int read_all(int fd, char *text, size_t *ret_len)
{
	size_t len = 0;
	ssize_t n;

	do {
		n = read(fd, text + len, SECRET_MAX + 1 - len);
		len += n > 0 ? (size_t)n : 0;
	} while (n > 0 && len <= SECRET_MAX);
	*ret_len = len;
	return n < 0 ? -errno : len > SECRET_MAX ? -EFBIG : 0;
}

int secret_read(const char *path, bool is_public, char **ret_text, size_t *ret_len,
		char *error)
{
	_cleanup_close_ int fd = secret_open(path);
	const char *why;
	struct stat st;
	size_t len = 0;
	char *text;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0) {
		r = -errno;
		return say(error, path, r, strerror(-r));
	}
	why = exposure(&st, is_public);
	if (why)
		return say(error, path, -EPERM, why);
	text = malloc(SECRET_MAX + 2);
	if (!text)
		return say(error, path, -ENOMEM, strerror(ENOMEM));
	r = read_all(fd, text, &len);
	if (r < 0) {
		secret_free(text, len);
		return say(error, path, r, strerror(-r));
	}
	text[len] = '\0';
	*ret_text = text;
	*ret_len = len;
	return 0;
}

void secret_free(char *text, size_t len)
{
	if (text)
		explicit_bzero(text, len);
	free(text);
}
