/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections and lines in, calls to handlers, replies out; on the loop's thread.
 * Each client is read until it has a whole line, answered, and not read again before
 * the answer is gone: so a client holds one request and one reply at most.
 */
#include "lib/ctl_server.h"

#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/ctl_socket.h"
#include "lib/list.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/tls.h"

#define NS_PER_S 1000000000ull

struct ctl_client_conn {
	struct ctl_server *server;
	struct list link; /* server->clients, the one active last at the end */
	struct loop_fd watch;
	int fd;
	struct ctl_peer peer;
	time_t active; /* CLOCK_MONOTONIC seconds of the last progress */

	char *in; /* owned; room for the longest request and its newline */
	size_t in_len, in_scanned;
	char *out; /* owned reply, NULL when there is none */
	size_t out_len, out_done;
	bool last; /* goes once `out` is sent */
	bool eof;  /* the client has shut down its side */

	struct tls_session *tls;   /* owned; NULL: a local client */
	bool shaking;              /* its handshake is under way */
	bool waiting;              /* for ctl_server_answer */
	uint64_t ticket;           /* of the last request */
	struct json_object *asked; /* owned: what it waits for */
	time_t since;              /* when it came */
};

struct ctl_server {
	struct loop *loop;
	const struct ctl_handler *table;
	void *arg;
	const struct ctl_policy *policy; /* borrowed; NULL: none */
	void *policy_arg;
	struct ctl_socket sock;
	struct loop_fd watch;
	struct loop_timer tick;
	bool deaf; /* out of descriptors: not accepting until the next tick */
	struct list clients;
	unsigned int nr_clients;
	uint64_t last_ticket;
	struct log_limit limit;
};

const char *const ctl_role_names[] = { "nobody", "viewer", "operator", "admin" };

static time_t now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return ts.tv_sec;
}

int ctl_fail(struct ctl_call *call, int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(call->error, sizeof(call->error), fmt, ap);
	va_end(ap);
	return -error;
}

int ctl_need(struct ctl_call *call, enum ctl_role role)
{
	if (call->peer->role >= role)
		return 0;
	return ctl_fail(call, EACCES, "%.64s: it takes the role %s, and yours is %s",
			call->cmd, ctl_role_names[role],
			ctl_role_names[call->peer->role]);
}

void ctl_server_police(struct ctl_server *s, const struct ctl_policy *p, void *arg)
{
	s->policy = p;
	s->policy_arg = arg;
}

static void client_free(struct ctl_client_conn *c)
{
	struct ctl_server *s = c->server;

	list_del(&c->link);
	s->nr_clients--;
	loop_fd_del(&c->watch);
	tls_session_free(c->tls);
	json_object_put(c->asked);
	close(c->fd);
	free(c->in);
	free(c->out);
	free(c);
}

/* Marks progress: the list stays in order of silence. */
static void client_touch(struct ctl_client_conn *c)
{
	c->active = now_s();
	list_del(&c->link);
	list_add_tail(&c->server->clients, &c->link);
}

/* "help": every command with its line. */
static struct json_object *describe(const struct ctl_handler *table)
{
	struct json_object *o = json_object_new_object();

	for (; table->name; table++)
		json_object_object_add(o, table->name,
				       json_object_new_string(table->help));
	return o;
}

static int run(struct ctl_server *s, const struct ctl_handler *h, struct ctl_call *call)
{
	int r = ctl_need(call, h->role);
	bool tell = r < 0 || h->role > CTL_VIEWER;

	if (r == 0)
		r = h->fn(call, s->arg);
	tell |= r == -EACCES;
	if (tell && r != CTL_LATER && s->policy && s->policy->audit)
		s->policy->audit(call, r, s->policy_arg);
	return r;
}

static int dispatch(struct ctl_server *s, struct ctl_call *call)
{
	const struct ctl_handler *h = s->table;

	while (h->name && strcmp(h->name, call->cmd))
		h++;
	if (h->name)
		return run(s, h, call);
	if (strcmp(call->cmd, "help"))
		return ctl_fail(call, EOPNOTSUPP, "no command '%.64s'; try help",
				call->cmd);
	call->result = describe(s->table);
	return 0;
}

/* The reply as one line of text, owned by the caller; NULL without memory. */
static char *reply_text(int r, struct ctl_call *call, size_t *ret_len)
{
	struct json_object *o = json_object_new_object();
	size_t len = 0;
	const char *text;
	char *line = NULL;

	json_object_object_add(o, "ok", json_object_new_boolean(r >= 0));
	if (r >= 0) {
		json_object_object_add(o, "result", call->result);
	} else {
		json_object_put(call->result);
		json_object_object_add(o, "error",
				       json_object_new_string(*call->error
								      ? call->error
								      : strerror(-r)));
		json_object_object_add(o, "errno", json_object_new_int(-r));
	}
	call->result = NULL;
	text = json_object_to_json_string_length(
		o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
	if (text && len <= CTL_REPLY_MAX)
		line = malloc(len + 1);
	if (line) {
		memcpy(line, text, len);
		line[len] = '\n';
		*ret_len = len + 1;
	}
	json_object_put(o);
	return line;
}

/* Turns what a call came to into the client's pending reply. */
static void client_answer(struct ctl_client_conn *c, int r, struct ctl_call *call)
{
	c->out = reply_text(r, call, &c->out_len);
	if (!c->out) {
		r = ctl_fail(call, EMSGSIZE, "the answer is too long");
		c->out = reply_text(r, call, &c->out_len);
	}
	c->out_done = 0;
	if (!c->out)
		c->last = true;
}

static void client_request(struct ctl_client_conn *c, const char *line, size_t len)
{
	struct ctl_call call = { .peer = &c->peer };
	const char *why;
	int r = ctl_parse_request(line, len, &call.req, &call.cmd, &why);

	call.ticket = c->ticket = ++c->server->last_ticket;
	if (r < 0)
		ctl_fail(&call, EPROTO, "bad request: %s", why);
	else
		r = dispatch(c->server, &call);
	if (r == CTL_LATER) {
		c->waiting = true;
		c->asked = json_object_get(call.req);
	} else {
		client_answer(c, r, &call);
	}
	json_object_put(call.req);
}

/* Serves the first whole line of the buffer, if there is one. True: it did. */
static bool client_take_line(struct ctl_client_conn *c)
{
	char *end = memchr(c->in + c->in_scanned, '\n', c->in_len - c->in_scanned);
	struct ctl_call call = { .peer = &c->peer };
	size_t used;
	int r;

	if (!end) {
		c->in_scanned = c->in_len;
		if (c->in_len <= CTL_REQUEST_MAX)
			return false;
		r = ctl_fail(&call, EMSGSIZE, "bad request: longer than 64 KiB");
		client_answer(c, r, &call);
		c->last = true;
		return true;
	}
	used = (size_t)(end - c->in) + 1;
	if (used > 1)
		client_request(c, c->in, used - 1);
	explicit_bzero(c->in, used); /* it may have been a password */
	c->in_len -= used;
	c->in_scanned = 0;
	memmove(c->in, c->in + used, c->in_len);
	return true;
}

static ssize_t send_some(struct ctl_client_conn *c, const void *p, size_t len)
{
	struct iovec v = { (void *)(uintptr_t)p, len };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	return c->tls ? tls_sendmsg(c->tls, &m)
		      : sendmsg(c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static ssize_t receive_some(struct ctl_client_conn *c, void *p, size_t len)
{
	struct iovec v = { p, len };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	return c->tls ? tls_recvmsg(c->tls, &m) : recvmsg(c->fd, &m, MSG_DONTWAIT);
}

static bool has_unsent(const struct ctl_client_conn *c)
{
	return c->out || (c->tls && tls_unsent(c->tls));
}

/* 1: some bytes moved; 0: would block; -1: the client is gone. */
static int client_send(struct ctl_client_conn *c)
{
	ssize_t n;

	if (!c->out) {
		int r = tls_flush(c->tls);

		return r == 0 ? 1 : r == -EAGAIN ? 0 : -1;
	}
	n = send_some(c, c->out + c->out_done, c->out_len - c->out_done);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	c->out_done += (size_t)n;
	client_touch(c);
	if (c->out_done == c->out_len) {
		explicit_bzero(c->out, c->out_len);
		free(c->out);
		c->out = NULL;
	}
	return 1;
}

static int client_receive(struct ctl_client_conn *c)
{
	ssize_t n = receive_some(c, c->in + c->in_len, CTL_REQUEST_MAX + 1 - c->in_len);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	if (!n) {
		c->eof = true;
		return 0;
	}
	c->in_len += (size_t)n;
	client_touch(c);
	return 1;
}

static void tell_handshake(struct ctl_client_conn *c)
{
	unsigned int held_back;

	if (log_limit_ok(&c->server->limit, &held_back))
		log_warn("control %s: %s (and %u before it)", c->peer.text,
			 tls_error(c->tls), held_back);
}

/* False: it failed. */
static bool client_shake(struct ctl_client_conn *c)
{
	int r = tls_handshake(c->tls);

	if (r == 0)
		c->shaking = false;
	else if (r != -EAGAIN)
		tell_handshake(c);
	return r == 0 || r == -EAGAIN;
}

/*
 * One turn of a client: at most one receive, and the lines it brought as long as
 * their answers can be sent. False: it is over.
 */
static bool client_step(struct ctl_client_conn *c, uint32_t events)
{
	bool received = false;

	if (c->waiting)
		return !(events & (EPOLLHUP | EPOLLERR));
	if (c->shaking && !client_shake(c))
		return false;
	if (c->shaking)
		return !(events & EPOLLHUP);
	for (;;) {
		int r = 0;

		if (has_unsent(c)) {
			r = client_send(c);
			if (r <= 0)
				return !r && !(events & EPOLLHUP);
			continue;
		}
		if (c->last)
			return false;
		if (client_take_line(c)) {
			if (c->waiting)
				return true;
			continue;
		}
		if (c->eof)
			return false;
		if (received && !(c->tls && tls_pending(c->tls)))
			return true; /* epoll tells of the rest */
		received = true;
		r = client_receive(c);
		if (r < 0)
			return false;
		if (!r && !c->eof)
			return !(events & EPOLLHUP);
	}
}

static void client_rearm(struct ctl_client_conn *c)
{
	uint32_t want = EPOLLIN;

	if (c->waiting)
		want = 0;
	else if (c->shaking)
		want = tls_wants(c->tls) == POLLOUT ? EPOLLOUT : EPOLLIN;
	else if (has_unsent(c))
		want = EPOLLOUT;
	if (loop_fd_set(&c->watch, want) < 0)
		client_free(c);
}

static void on_client(void *arg, uint32_t events)
{
	struct ctl_client_conn *c = arg;

	if (client_step(c, events))
		client_rearm(c);
	else
		client_free(c);
}

static void become(struct ctl_client_conn *c, enum ctl_role role, const char *user)
{
	char where[sizeof(c->peer.text)];

	memcpy(where, c->peer.text, sizeof(where));
	snprintf(c->peer.text, sizeof(c->peer.text), "%.40s@%.64s", user, where);
	c->peer.role = role;
}

void ctl_server_answer(struct ctl_server *s, uint64_t ticket, int r, const char *error,
		       enum ctl_role role, const char *user)
{
	struct ctl_call call = { 0 };
	struct ctl_client_conn *c;

	list_for_each_entry(c, &s->clients, link)
		if (c->waiting && c->ticket == ticket)
			break;
	if (list_node(c, link) == &s->clients)
		return;
	call.peer = &c->peer;
	call.req = c->asked;
	c->waiting = false;
	if (r == 0)
		become(c, role, user);
	else
		ctl_fail(&call, -r, "%s", error);
	if (s->policy && s->policy->audit &&
	    ctl_arg_string(call.req, "cmd", &call.cmd) == 0)
		s->policy->audit(&call, r, s->policy_arg);
	client_answer(c, r, &call);
	json_object_put(c->asked);
	c->asked = NULL;
	on_client(c, 0);
}

static void peer_fill(int fd, struct ctl_peer *p)
{
	struct ucred cred = { .pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1 };
	socklen_t len = sizeof(cred);

	getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len);
	p->pid = cred.pid;
	p->uid = cred.uid;
	p->gid = cred.gid;
	p->role = CTL_ADMIN;
	snprintf(p->text, sizeof(p->text), "uid %u pid %d", p->uid, p->pid);
}

static struct ctl_client_conn *client_new(struct ctl_server *s, int fd)
{
	struct ctl_client_conn *c = calloc(1, sizeof(*c));

	if (c)
		c->in = malloc(CTL_REQUEST_MAX + 1);
	if (!c || !c->in ||
	    loop_fd_add(s->loop, &c->watch, fd, EPOLLIN, on_client, c) < 0) {
		close(fd);
		if (c)
			free(c->in);
		free(c);
		return NULL;
	}
	c->server = s;
	c->fd = fd;
	c->active = c->since = now_s();
	list_add_tail(&s->clients, &c->link);
	if (!s->nr_clients++)
		loop_timer_set(&s->tick, NS_PER_S, NS_PER_S);
	return c;
}

static void local_client(struct ctl_server *s, int fd)
{
	struct ctl_client_conn *c = client_new(s, fd);

	if (!c)
		return;
	peer_fill(fd, &c->peer);
	if (s->policy && s->policy->role)
		c->peer.role = s->policy->role(fd, &c->peer, s->policy_arg);
}

/* Ends the client that was silent longest. */
static void make_room(struct ctl_server *s)
{
	struct ctl_client_conn *c,
		*first = container_of(s->clients.next, struct ctl_client_conn, link);
	unsigned int held_back;

	list_for_each_entry(c, &s->clients, link)
		if (c->tls && c->peer.role == CTL_NOBODY)
			break;
	if (list_node(c, link) == &s->clients)
		c = first;
	if (log_limit_ok(&s->limit, &held_back))
		log_warn("control: too many clients, ending the one of %s "
			 "(and %u before it)",
			 c->peer.text, held_back);
	client_free(c);
}

static void on_listen(void *arg, uint32_t events)
{
	struct ctl_server *s = arg;
	int fd = accept4(s->sock.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0) {
		if (s->nr_clients >= CTL_CLIENTS_MAX)
			make_room(s);
		local_client(s, fd);
		return;
	}
	if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS)
		return;
	/* It stays readable: don't spin, look again at the next tick. */
	s->deaf = true;
	loop_fd_set(&s->watch, 0);
	loop_timer_set(&s->tick, NS_PER_S, NS_PER_S);
}

/* About once a second while there is anything to look at. */
static void on_tick(void *arg)
{
	struct ctl_server *s = arg;
	struct ctl_client_conn *c, *tmp;
	time_t now = now_s();

	if (s->deaf)
		s->deaf = loop_fd_set(&s->watch, EPOLLIN) < 0;
	list_for_each_entry_safe(c, tmp, &s->clients, link)
		if ((has_unsent(c) && now - c->active > CTL_STUCK_SECONDS) ||
		    (c->tls && c->peer.role == CTL_NOBODY && !c->waiting &&
		     now - c->since > CTL_LOGIN_SECONDS))
			client_free(c);
	if (!s->nr_clients && !s->deaf)
		loop_timer_set(&s->tick, 0, 0);
}

int ctl_server_new(struct loop *l, const struct ctl_handler *table, void *arg,
		   struct ctl_server **ret)
{
	struct ctl_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->loop = l;
	s->table = table;
	s->arg = arg;
	s->limit = (struct log_limit){ .burst = 1, .period_s = 10 };
	list_init(&s->clients);
	ctl_socket_init(&s->sock);
	r = loop_timer_init(l, &s->tick, on_tick, s);
	if (r < 0) {
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

int ctl_server_open(struct loop *l, const char *path, const struct ctl_handler *table,
		    void *arg, struct ctl_server **ret)
{
	struct ctl_server *s;
	int r = ctl_server_new(l, table, arg, &s);

	if (r < 0)
		return r;
	r = ctl_socket_listen(&s->sock, path);
	if (r == 0)
		r = loop_fd_add(l, &s->watch, s->sock.fd, EPOLLIN, on_listen, s);
	if (r < 0)
		ctl_server_close(s);
	else
		*ret = s;
	return r;
}

void ctl_server_adopt(struct ctl_server *s, int fd, struct tls *tls, const char *text)
{
	struct ctl_client_conn *c;

	if (s->nr_clients >= CTL_CLIENTS_MAX)
		make_room(s);
	c = client_new(s, fd);
	if (!c)
		return;
	snprintf(c->peer.text, sizeof(c->peer.text), "%s", text);
	c->peer.uid = (uid_t)-1;
	c->peer.gid = (gid_t)-1;
	c->peer.role = CTL_NOBODY;
	c->shaking = true;
	if (tls_session_new(tls, fd, NULL, &c->tls) < 0) {
		c->tls = NULL;
		client_free(c);
	}
}

void ctl_server_close(struct ctl_server *s)
{
	struct ctl_client_conn *c, *tmp;

	if (!s)
		return;
	list_for_each_entry_safe(c, tmp, &s->clients, link)
		client_free(c);
	loop_fd_del(&s->watch);
	loop_timer_fini(&s->tick);
	ctl_socket_fini(&s->sock);
	free(s);
}
