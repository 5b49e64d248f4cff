/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HTTP requests in, texts out; everything below but start and stop runs on
 * libmicrohttpd's thread, or in httpd_run.
 */
#include "lib/httpd.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/log.h"

#define CLIENTS_MAX     16 /* at a time; one place is kept free for the next */
#define TIMEOUT_SECONDS 10
#define RUNS_MAX        64          /* of a call: others want to be served too */
#define CLIENT_BYTES    (32u << 10) /* request and headers */
#define STACK_BYTES     (256u << 10)

struct httpd {
	struct httpd_cfg cfg;
	struct MHD_Daemon *daemon;
	int fd;               /* owned until the daemon has it; -1 */
	int fds[CLIENTS_MAX]; /* of the connections, oldest first */
	unsigned int nr_fds;
};

static enum MHD_Result answer(struct MHD_Connection *c, unsigned int status,
			      const char *type, char *text, size_t len,
			      enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(len, text, mode);
	enum MHD_Result ok;

	if (!r) {
		if (mode == MHD_RESPMEM_MUST_FREE)
			free(text);
		return MHD_NO;
	}
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	ok = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return ok;
}

static enum MHD_Result say(struct MHD_Connection *c, unsigned int status,
			   const char *text)
{
	return answer(c, status, "text/plain; charset=utf-8", (char *)text,
		      strlen(text), MHD_RESPMEM_PERSISTENT);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *c, const char *url,
				  const char *method, const char *version,
				  const char *upload, size_t *upload_len, void **state)
{
	struct httpd *h = arg;
	static char seen;
	size_t len;
	char *text;

	/* The first call has the headers only; a body, if any, is thrown away. */
	if (!*state) {
		*state = &seen;
		return MHD_YES;
	}
	if (*upload_len) {
		*upload_len = 0;
		return MHD_YES;
	}
	if (strcmp(method, MHD_HTTP_METHOD_GET) && strcmp(method, MHD_HTTP_METHOD_HEAD))
		return say(c, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
	if (!strcmp(url, "/healthz"))
		return say(c, MHD_HTTP_OK, "ok\n");
	if (strcmp(url, "/metrics"))
		return say(c, MHD_HTTP_NOT_FOUND, "there are /metrics and /healthz\n");
	text = h->cfg.text(h->cfg.arg, &len);
	if (!text)
		return MHD_NO;
	return answer(c, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", text,
		      len, MHD_RESPMEM_MUST_FREE);
}

/*
 * Asked before a connection is taken. With all places but one in use the oldest goes:
 * those who connect and say nothing, or a byte now and then, keep nobody out.
 */
static enum MHD_Result on_accept(void *arg, const struct sockaddr *sa, socklen_t len)
{
	struct httpd *h = arg;

	if (h->nr_fds >= CLIENTS_MAX - 1)
		shutdown(h->fds[0], SHUT_RDWR);
	return !h->cfg.allows || h->cfg.allows(h->cfg.arg, sa) ? MHD_YES : MHD_NO;
}

static void on_connection(void *arg, struct MHD_Connection *c, void **state,
			  enum MHD_ConnectionNotificationCode code)
{
	struct httpd *h = arg;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	unsigned int i;

	if (!info)
		return;
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		if (h->nr_fds < CLIENTS_MAX)
			h->fds[h->nr_fds++] = info->connect_fd;
		return;
	}
	for (i = 0; i < h->nr_fds && h->fds[i] != info->connect_fd; i++)
		;
	if (i == h->nr_fds)
		return;
	h->nr_fds--;
	memmove(&h->fds[i], &h->fds[i + 1], (h->nr_fds - i) * sizeof(h->fds[0]));
}

static int listen_on(struct addr *a, int *ret_fd)
{
	int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1, r;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (a->sa.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, &a->sa, a->len) < 0 || listen(fd, 64) < 0 ||
	    getsockname(fd, &a->sa, &a->len) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

static int fail(struct httpd *h, int r)
{
	char text[ADDR_TEXT_MAX];

	log_err("metrics %s: cannot listen: %s; choose another port with --metrics "
		"ADDR:PORT, or --metrics off",
		addr_format(&h->cfg.addr.sa, text, sizeof(text)), strerror(-r));
	return r;
}

int httpd_listen(const struct httpd_cfg *cfg, struct httpd **ret)
{
	struct httpd *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return -ENOMEM;
	h->cfg = *cfg;
	h->fd = -1;
	r = listen_on(&h->cfg.addr, &h->fd);
	if (r < 0) {
		fail(h, r);
		httpd_stop(h);
		return r;
	}
	*ret = h;
	return 0;
}

int httpd_serve(struct httpd *h)
{
	bool own_thread = h->cfg.own_thread;
	char text[ADDR_TEXT_MAX];

	h->daemon = MHD_start_daemon(
		own_thread ? MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC
			   : MHD_USE_EPOLL,
		0, on_accept, h, on_request, h, MHD_OPTION_LISTEN_SOCKET, h->fd,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned int)CLIENTS_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)TIMEOUT_SECONDS,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CLIENT_BYTES,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
		own_thread ? MHD_OPTION_THREAD_STACK_SIZE : MHD_OPTION_END,
		(size_t)STACK_BYTES, MHD_OPTION_END);
	if (!h->daemon)
		return fail(h, -ENOMEM);
	h->fd = -1; /* the daemon's now */
	log_note("ready: metrics on http://%s/metrics",
		 addr_format(&h->cfg.addr.sa, text, sizeof(text)));
	return 0;
}

int httpd_start(const struct httpd_cfg *cfg, struct httpd **ret)
{
	struct httpd *h = NULL;
	int r = httpd_listen(cfg, &h);

	if (r == 0)
		r = httpd_serve(h);
	if (r < 0)
		httpd_stop(h);
	else
		*ret = h;
	return r;
}

void httpd_stop(struct httpd *h)
{
	if (!h)
		return;
	if (h->daemon)
		MHD_stop_daemon(h->daemon);
	if (h->fd >= 0)
		close(h->fd);
	free(h);
}

int httpd_fd(const struct httpd *h)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);

	return info ? info->epoll_fd : -1;
}

void httpd_run(struct httpd *h)
{
	MHD_UNSIGNED_LONG_LONG wait_ms;

	for (unsigned int i = 0; i < RUNS_MAX; i++) {
		MHD_run(h->daemon);
		if (MHD_get_timeout(h->daemon, &wait_ms) != MHD_YES || wait_ms)
			break; /* else: there is more to do, and no event will tell */
	}
}
