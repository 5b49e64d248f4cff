/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON requests in, results out, through a socket that may not answer. */
#include "lib/ctl_client.h"
#include "lib/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/tls.h"

struct ctl_client {
	int fd;
	int timeout_ms;
	char *buf;               /* owned: room for the longest reply and its newline */
	struct tls_session *tls; /* owned; NULL: over a unix socket */
};

/* Until the socket is ready or the deadline has passed: 0 or -errno. */
static int wait_for(const struct ctl_client *c, short events, int64_t deadline_ms)
{
	struct pollfd p = { .fd = c->fd, .events = events };

	for (;;) {
		int64_t left = deadline_ms - clock_ms();
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

/* "host", "host:port", "[v6]:port" or a bare v6 address, taken apart. */
static int split(const char *where, char *host, size_t host_len, const char **ret_port)
{
	const char *colon = strrchr(where, ':'), *end = where + strlen(where);

	if (*where == '[') {
		end = strchr(++where, ']');
		if (!end || (end[1] && end[1] != ':'))
			return -EINVAL;
		if (end[1])
			*ret_port = end + 2;
	} else if (colon && colon == strchr(where, ':')) {
		end = colon;
		*ret_port = colon + 1;
	}
	if (end == where || (size_t)(end - where) >= host_len)
		return -EINVAL;
	memcpy(host, where, (size_t)(end - where));
	host[end - where] = '\0';
	return 0;
}

/* To the first address that answers. */
static int dial_tcp(struct ctl_client *c, const char *host, const char *port,
		    char *error)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list, *a;
	int64_t deadline_ms = clock_ms() + c->timeout_ms;
	int r = getaddrinfo(host, port, &hints, &list), value;
	socklen_t len = sizeof(value);

	if (r) {
		snprintf(error, CTL_ERROR_MAX, "%s port %s: %s", host, port,
			 gai_strerror(r));
		return -EHOSTUNREACH;
	}
	for (a = list, r = -EHOSTUNREACH; a && r < 0; a = a->ai_next) {
		if (c->fd >= 0)
			close(c->fd);
		c->fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			       0);
		r = c->fd < 0 ? -errno : 0;
		if (!r && connect(c->fd, a->ai_addr, a->ai_addrlen) < 0)
			r = errno == EINPROGRESS ? wait_for(c, POLLOUT, deadline_ms)
						 : -errno;
		if (!r && !getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &value, &len))
			r = -value;
	}
	freeaddrinfo(list);
	if (r < 0)
		snprintf(error, CTL_ERROR_MAX, "%s port %s: %s", host, port,
			 strerror(-r));
	return r;
}

static int shake(struct ctl_client *c, const char *host, const char *ca, char *error)
{
	struct tls_files f = { .ca = ca };
	int64_t deadline_ms = clock_ms() + c->timeout_ms;
	char why[TLS_ERROR_MAX];
	struct tls *t;
	int r = tls_client_new(&f, &t, why);

	if (r < 0) {
		snprintf(error, CTL_ERROR_MAX, "%s", why);
		return r;
	}
	r = tls_session_new(t, c->fd, host, &c->tls);
	tls_put(t);
	if (r < 0)
		c->tls = NULL;
	while (!r && (r = tls_handshake(c->tls)) == -EAGAIN)
		r = wait_for(c, tls_wants(c->tls), deadline_ms);
	if (r < 0)
		snprintf(error, CTL_ERROR_MAX, "%s: %s", host,
			 c->tls && *tls_error(c->tls) ? tls_error(c->tls)
						      : strerror(-r));
	return r;
}

int ctl_client_open_tls(const char *where, const char *default_port, const char *ca,
			int timeout_ms, struct ctl_client **ret, char *error)
{
	struct ctl_client *c = calloc(1, sizeof(*c));
	const char *port = default_port;
	char host[256];
	int r;

	if (c) {
		c->fd = -1;
		c->timeout_ms = timeout_ms;
		c->buf = malloc(CTL_REPLY_MAX + 1);
	}
	if (!c || !c->buf) {
		snprintf(error, CTL_ERROR_MAX, "out of memory");
		ctl_client_close(c);
		return -ENOMEM;
	}
	r = split(where, host, sizeof(host), &port);
	if (r < 0)
		snprintf(error, CTL_ERROR_MAX, "'%s' is not HOST or HOST:PORT", where);
	if (!r)
		r = dial_tcp(c, host, port, error);
	if (!r)
		r = shake(c, host, ca, error);
	if (r < 0) {
		ctl_client_close(c);
		return r;
	}
	*ret = c;
	return 0;
}

void ctl_client_close(struct ctl_client *c)
{
	if (!c)
		return;
	if (c->fd >= 0)
		close(c->fd);
	tls_session_free(c->tls);
	free(c->buf);
	free(c);
}

static ssize_t send_some(const struct ctl_client *c, const void *p, size_t len)
{
	struct iovec v = { (void *)(uintptr_t)p, len };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	return c->tls ? tls_sendmsg(c->tls, &m) : sendmsg(c->fd, &m, MSG_NOSIGNAL);
}

static ssize_t receive_some(const struct ctl_client *c, void *p, size_t len)
{
	struct iovec v = { p, len };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	return c->tls ? tls_recvmsg(c->tls, &m) : recvmsg(c->fd, &m, 0);
}

static int flush(const struct ctl_client *c, int64_t deadline_ms)
{
	int r = 0;

	while (c->tls && r == 0 && tls_unsent(c->tls)) {
		r = tls_flush(c->tls);
		if (r == -EAGAIN)
			r = wait_for(c, POLLOUT, deadline_ms);
	}
	return r;
}

static int send_all(const struct ctl_client *c, const char *data, size_t len,
		    int64_t deadline_ms)
{
	while (len) {
		ssize_t n = send_some(c, data, len);
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
	return flush(c, deadline_ms);
}

/* One line, without its newline, at the start of c->buf. */
static int receive_line(struct ctl_client *c, int64_t deadline_ms, size_t *ret_len)
{
	size_t len = 0;

	while (len < CTL_REPLY_MAX + 1) {
		ssize_t n = receive_some(c, c->buf + len, CTL_REPLY_MAX + 1 - len);
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
	int64_t deadline_ms = clock_ms() + c->timeout_ms;
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
