/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections of other hosts in, clients of a control server out. */
#include "memserver/ctl_remote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/tls.h"
#include "memserver/acl.h"
#include "memserver/helper.h"
#include "memserver/login.h"
#include "memserver/server.h"

struct remote {
	struct server *server;
	struct ctl_server *ctl;
	struct logins *logins;
	struct tls *tls;
	struct loop_fd watch;
	int fd;
	struct log_limit limit;
};

/* ---- logins ---- */

int ctl_login(struct ctl_call *call, void *arg)
{
	struct server *s = arg;
	char why[LOGIN_TEXT_MAX], source[sizeof(call->peer->text)];
	const char *user, *password;
	char *colon;
	int r;

	if (!s->remote || call->peer->role != CTL_NOBODY || call->peer->pid)
		return ctl_fail(call, EINVAL, "you are logged in already");
	if (ctl_arg_string(call->req, "user", &user) < 0 ||
	    ctl_arg_string(call->req, "password", &password) < 0)
		return ctl_fail(call, EINVAL, "it needs a user and a password");
	snprintf(source, sizeof(source), "%s", call->peer->text);
	colon = strrchr(source, ':');
	if (colon)
		*colon = '\0';
	r = login_begin(s->remote->logins, call->ticket, source, user, password, why);
	return r < 0 ? ctl_fail(call, -r, "%s", why) : CTL_LATER;
}

static void on_login(void *arg, uint64_t ticket, const char *user, int r,
		     enum ctl_role role, const char *why)
{
	struct remote *m = arg;

	ctl_server_answer(m->ctl, ticket, r, why, role, user);
}

static int spawn_login(void *arg, int in, int out)
{
	const struct server *s = arg;

	return helper_login(s->helper, in, out);
}

/* ---- the door ---- */

static void on_ready(void *arg, uint32_t events)
{
	struct remote *m = arg;
	struct addr a = { .len = sizeof(a.storage) };
	int fd = accept4(m->fd, &a.sa, &a.len, SOCK_CLOEXEC | SOCK_NONBLOCK);
	char text[ADDR_TEXT_MAX];
	unsigned int held_back;

	if (fd < 0)
		return;
	addr_format(&a.sa, text, sizeof(text));
	if (acl_allows_address(m->server->cfg.acl, &a.sa)) {
		ctl_server_adopt(m->ctl, fd, m->tls, text);
		return;
	}
	if (log_limit_ok(&m->limit, &held_back))
		log_warn("control %s: refused: its address is not in the --allow list "
			 "(%u more were refused since the last such line)",
			 text, held_back);
	close(fd);
}

static int listen_at(struct remote *m, const struct addr *a)
{
	struct addr here = { .len = sizeof(here.storage) };
	char text[ADDR_TEXT_MAX];
	int one = 1;

	m->fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (m->fd < 0)
		return -errno;
	setsockopt(m->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (a->sa.sa_family == AF_INET6)
		setsockopt(m->fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(m->fd, &a->sa, a->len) < 0 || listen(m->fd, 64) < 0 ||
	    getsockname(m->fd, &here.sa, &here.len) < 0)
		return -errno;
	log_note("ready: remote control on %s",
		 addr_format(&here.sa, text, sizeof(text)));
	return loop_fd_add(m->server->loop, &m->watch, m->fd, EPOLLIN, on_ready, m);
}

/* Its own context: administrators prove who they are by passwords. */
static int make_tls(const struct server *s, struct tls **ret, char *why)
{
	struct tls_files f = { .cert = s->cfg.tls.files.cert,
			       .key = s->cfg.tls.files.key,
			       .only_13 = s->cfg.tls.files.only_13 };

	return tls_server_new(&f, ret, why);
}

int ctl_remote_reload(struct server *s, char *why)
{
	struct tls *tls;
	int r;

	if (!s->remote)
		return 0;
	r = make_tls(s, &tls, why);
	if (r < 0)
		return r;
	tls_put(s->remote->tls);
	s->remote->tls = tls;
	return 0;
}

int ctl_remote_start(struct server *s, const struct ctl_handler *table,
		     const struct ctl_policy *policy)
{
	char why[TLS_ERROR_MAX] = "", text[ADDR_TEXT_MAX];
	struct remote *m;
	int r;

	if (!s->cfg.remote_on)
		return 0;
	m = s->remote = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->server = s;
	m->fd = -1;
	m->limit = (struct log_limit)LOG_LIMIT_INIT;
	r = make_tls(s, &m->tls, why);
	if (r == 0)
		r = ctl_server_new(s->loop, table, s, &m->ctl);
	if (r == 0)
		r = logins_new(s->loop, &s->cfg.roles, on_login, m, spawn_login, s,
			       &m->logins);
	if (r == 0) {
		ctl_server_police(m->ctl, policy, s);
		s->logins = logins_stats(m->logins);
		r = listen_at(m, &s->cfg.remote);
	}
	if (r < 0)
		log_err("--remote %s: %s",
			addr_format(&s->cfg.remote.sa, text, sizeof(text)),
			*why ? why : strerror(-r));
	return r;
}

void ctl_remote_stop(struct server *s)
{
	struct remote *m = s->remote;

	if (!m)
		return;
	loop_fd_del(&m->watch);
	if (m->fd >= 0)
		close(m->fd);
	logins_free(m->logins);
	ctl_server_close(m->ctl);
	tls_put(m->tls);
	free(m);
	s->remote = NULL;
}
