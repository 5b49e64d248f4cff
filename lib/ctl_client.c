/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON requests in, results out, through a socket that may not answer. */
#include "lib/ctl_client.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

struct ctl_client {
	int fd;
	int timeout_ms;
	char *buf; /* owned: room for the longest reply and its newline */
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Until the socket is ready or the deadline has passed: 0 or -errno. */
static int wait_for(const struct ctl_client *c, short events, int64_t deadline_ms)
{
	struct pollfd p = { .fd = c->fd, .events = events };

	for (;;) {
		int64_t left = deadline_ms - now_ms();
		int n = poll(&p, 1, left > 0 ? (int)left : 0);

		if (n > 0)
			return 0;
		if (!n)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static void explain(int r, const char *path, const char *name, const char *how,
		    char *error)
{
	if (r == -ENOENT || r == -ECONNREFUSED)
		snprintf(error, CTL_ERROR_MAX, "no %s listens at %s; %s", name, path,
			 how);
	else if (r == -EACCES)
		snprintf(
			error, CTL_ERROR_MAX,
			"%s: permission denied; root and the socket's group may use it",
			path);
	else
		snprintf(error, CTL_ERROR_MAX, "%s: %s", path, strerror(-r));
}

/* Waits for a place in the queue of a server that is being flooded. */
static int dial(int fd, const struct sockaddr_un *addr, int timeout_ms)
{
	struct timeval tv = { .tv_sec = timeout_ms / 1000,
			      .tv_usec = timeout_ms % 1000 * 1000 };

	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) < 0 ||
	    connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0)
		return -errno;
	return fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

int ctl_client_open(const char *path, const char *name, const char *how, int timeout_ms,
		    struct ctl_client **ret, char *error)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct ctl_client *c = calloc(1, sizeof(*c));
	int r = -ENOMEM;

	if (!c)
		goto fail;
	c->timeout_ms = timeout_ms;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0) {
		r = -errno;
		goto fail;
	}
	c->buf = malloc(CTL_REPLY_MAX + 1);
	if (!c->buf)
		goto fail;
	r = -ENAMETOOLONG;
	if (strlen(path) >= sizeof(addr.sun_path))
		goto fail;
	strcpy(addr.sun_path, path);
	r = dial(c->fd, &addr, timeout_ms);
	if (r < 0)
		goto fail;
	*ret = c;
	return 0;
fail:
	explain(r, path, name, how, error);
	ctl_client_close(c);
	return r;
}

void ctl_client_close(struct ctl_client *c)
{
	if (!c)
		return;
	if (c->fd >= 0)
		close(c->fd);
	free(c->buf);
	free(c);
}

static int send_all(const struct ctl_client *c, const char *data, size_t len,
		    int64_t deadline_ms)
{
	while (len) {
		ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);
		int r;

		if (n >= 0) {
			data += n;
			len -= (size_t)n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		r = wait_for(c, POLLOUT, deadline_ms);
		if (r < 0)
			return r;
	}
	return 0;
}

/* One line, without its newline, at the start of c->buf. */
static int receive_line(struct ctl_client *c, int64_t deadline_ms, size_t *ret_len)
{
	size_t len = 0;

	while (len < CTL_REPLY_MAX + 1) {
		ssize_t n = recv(c->fd, c->buf + len, CTL_REPLY_MAX + 1 - len, 0);
		int r;

		if (!n)
			return -ECONNRESET;
		if (n > 0) {
			len += (size_t)n;
			if (c->buf[len - 1] != '\n')
				continue;
			*ret_len = len - 1;
			return 0;
		}
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		r = wait_for(c, POLLIN, deadline_ms);
		if (r < 0)
			return r;
	}
	return -EMSGSIZE;
}

int ctl_client_call(struct ctl_client *c, struct json_object *req,
		    struct json_object **ret_result, char *error)
{
	int64_t deadline_ms = now_ms() + c->timeout_ms;
	size_t len = 0;
	const char *text = json_object_to_json_string_length(
		req, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
	int r = -ENOMEM;

	if (text)
		r = send_all(c, text, len, deadline_ms);
	if (!r)
		r = send_all(c, "\n", 1, deadline_ms);
	if (!r)
		r = receive_line(c, deadline_ms, &len);
	if (r == -ECONNRESET || r == -EPIPE)
		snprintf(error, CTL_ERROR_MAX, "the daemon closed the connection");
	else if (r == -ETIMEDOUT)
		snprintf(error, CTL_ERROR_MAX, "no answer within %d s",
			 c->timeout_ms / 1000);
	else if (r < 0)
		snprintf(error, CTL_ERROR_MAX, "control socket: %s", strerror(-r));
	else
		r = ctl_parse_reply(c->buf, len, ret_result, error, CTL_ERROR_MAX);
	return r;
}
