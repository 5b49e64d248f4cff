/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HTTP requests in, texts out, by libmicrohttpd on its own thread; everything below
 * but start and stop runs on that thread.
 */
#include "memserver/metrics.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "memserver/acl.h"
#include "memserver/server.h"

#define CLIENTS_MAX     16 /* at a time; one place is kept free for the next */
#define TIMEOUT_SECONDS 10
#define CLIENT_BYTES    (32u << 10) /* request and headers */
#define STACK_BYTES     (256u << 10)

struct metrics {
	struct server *server; /* borrowed */
	struct MHD_Daemon *daemon;
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
	struct metrics *m = arg;
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
	text = metrics_text(m->server, &len);
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
	struct metrics *m = arg;

	if (m->nr_fds >= CLIENTS_MAX - 1)
		shutdown(m->fds[0], SHUT_RDWR);
	return acl_allows_address(m->server->cfg.acl, sa) ? MHD_YES : MHD_NO;
}

static void on_connection(void *arg, struct MHD_Connection *c, void **state,
			  enum MHD_ConnectionNotificationCode code)
{
	struct metrics *m = arg;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	unsigned int i;

	if (!info)
		return;
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		if (m->nr_fds < CLIENTS_MAX)
			m->fds[m->nr_fds++] = info->connect_fd;
		return;
	}
	for (i = 0; i < m->nr_fds && m->fds[i] != info->connect_fd; i++)
		;
	if (i == m->nr_fds)
		return;
	m->nr_fds--;
	memmove(&m->fds[i], &m->fds[i + 1], (m->nr_fds - i) * sizeof(m->fds[0]));
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

static int fail(struct server *s, int r, const struct addr *a)
{
	char text[ADDR_TEXT_MAX];

	log_err("metrics %s: cannot listen: %s; choose another port with --metrics "
		"ADDR:PORT, or --metrics off",
		addr_format(&a->sa, text, sizeof(text)), strerror(-r));
	metrics_stop(s);
	return r;
}

int metrics_start(struct server *s)
{
	struct addr a = s->cfg.metrics;
	struct metrics *m;
	char text[ADDR_TEXT_MAX];
	int fd = -1, r;

	if (!s->cfg.metrics_on)
		return 0;
	m = s->metrics = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->server = s;
	r = listen_on(&a, &fd);
	if (r < 0)
		return fail(s, r, &a);
	m->daemon = MHD_start_daemon(
		MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC, 0, on_accept, m,
		on_request, m, MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned int)CLIENTS_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)TIMEOUT_SECONDS,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CLIENT_BYTES,
		MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_BYTES,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, m, MHD_OPTION_END);
	if (!m->daemon) {
		close(fd);
		return fail(s, -ENOMEM, &a);
	}
	log_note("ready: metrics on http://%s/metrics",
		 addr_format(&a.sa, text, sizeof(text)));
	return 0;
}

void metrics_stop(struct server *s)
{
	if (!s->metrics)
		return;
	if (s->metrics->daemon)
		MHD_stop_daemon(s->metrics->daemon);
	free(s->metrics);
	s->metrics = NULL;
}
