/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ages in, a connection out; the caller's loop. */
#include "vmemdirect/history/sender.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/crc32c.h"
#include "lib/fault.h"
#include "lib/log.h"

#define RETRY_NS    UINT64_C(1000000000)
#define SILENCE_S   15
#define CHUNK_BYTES 8192

enum sender_state { SENDER_AWAY, SENDER_CONNECTING, SENDER_GREETED, SENDER_WELCOME };

struct sender {
	struct sender_cfg cfg;
	struct loop *loop;
	enum sender_state state;
	int fd; /* owned, or -1 */
	struct loop_fd watch;
	struct loop_timer retry;
	uint8_t in[HISTORY_WORD_BYTES];
	size_t in_len;
	enum history_word refused; /* the last reason that was logged; 0: none */
	char where[ADDR_TEXT_MAX];
};

bool sender_wanted(const struct sender *s)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };

	return s->fd >= 0 && poll(&p, 1, 0) == 1;
}

/* ---- the connection ---- */

static void hang_up(struct sender *s)
{
	loop_fd_del(&s->watch);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	s->state = SENDER_AWAY;
	loop_timer_set(&s->retry, RETRY_NS, 0);
}

/* Blocking, but not for ever. */
static int send_all(struct sender *s, const uint8_t *p, size_t len)
{
	while (len) {
		ssize_t n;

		if (fault_point("history.send") < 0)
			return -EIO;
		n = send(s->fd, p, len < CHUNK_BYTES ? len : CHUNK_BYTES, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static void on_socket(void *arg, uint32_t events);

static void greet(struct sender *s)
{
	const struct timeval silence = { .tv_sec = SILENCE_S };
	uint8_t hello[HISTORY_HELLO_MAX];
	socklen_t len = sizeof(int);
	int error = 0, one = 1;

	getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error) {
		hang_up(s);
		return;
	}
	fcntl(s->fd, F_SETFL, fcntl(s->fd, F_GETFL) & ~O_NONBLOCK);
	setsockopt(s->fd, SOL_SOCKET, SO_SNDTIMEO, &silence, sizeof(silence));
	setsockopt(s->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	s->state = SENDER_GREETED;
	s->in_len = 0;
	if (send_all(s, hello, history_put_hello(&s->cfg.hello, hello)) < 0 ||
	    loop_fd_set(&s->watch, EPOLLIN) < 0)
		hang_up(s);
}

static void try_connect(void *arg)
{
	struct sender *s = arg;
	const struct addr *a = &s->cfg.to;

	s->fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0 || (connect(s->fd, &a->sa, a->len) < 0 && errno != EINPROGRESS) ||
	    loop_fd_add(s->loop, &s->watch, s->fd, EPOLLOUT, on_socket, s) < 0) {
		hang_up(s);
		return;
	}
	s->state = SENDER_CONNECTING;
}

/* ---- what the receiver says ---- */

static void hand_over(struct sender *s)
{
	struct history_head head = { .nr_pages = history_pages(&s->cfg.hello) };
	const uint8_t *ages = s->cfg.ages(s->cfg.arg, &head.samples);
	uint8_t buf[HISTORY_HEAD_BYTES];
	int r;

	head.crc = crc32c_add(0, ages, head.nr_pages);
	history_put_head(&head, buf);
	r = send_all(s, buf, sizeof(buf));
	if (!r)
		r = send_all(s, ages, head.nr_pages);
	if (r < 0)
		vm_warn(s->cfg.guest, "%s does not take the history: %s", s->where,
			strerror(r == -EAGAIN ? ETIMEDOUT : -r));
	else
		vm_note(s->cfg.guest,
			"the migration begins: %s has the history (%u "
			"samples)",
			s->where, head.samples);
	hang_up(s);
}

static void refused(struct sender *s, enum history_word w)
{
	if (s->refused != w)
		vm_warn(s->cfg.guest, "%s does not want the history: %s; trying again",
			s->where,
			w == HISTORY_BUSY    ? "another watcher is there already"
			: w == HISTORY_OTHER ? "it waits for another VM"
					     : "it does not understand it");
	s->refused = w;
	hang_up(s);
}

static void on_word(struct sender *s)
{
	enum history_word w;

	if (history_take_word(s->in, &w) < 0) {
		vm_warn(s->cfg.guest, "%s is no vmemdirect receive --history",
			s->where);
		hang_up(s);
	} else if (w == HISTORY_SEND && s->state == SENDER_WELCOME) {
		hand_over(s);
	} else if (w == HISTORY_WELCOME && s->state == SENDER_GREETED) {
		s->state = SENDER_WELCOME;
		s->refused = 0;
		vm_note(s->cfg.guest,
			"%s will ask for the history when the migration "
			"begins",
			s->where);
	} else {
		refused(s, w);
	}
}

static void on_socket(void *arg, uint32_t events)
{
	struct sender *s = arg;
	ssize_t n;

	if (s->state == SENDER_CONNECTING) {
		greet(s);
		return;
	}
	n = recv(s->fd, s->in + s->in_len, sizeof(s->in) - s->in_len, MSG_DONTWAIT);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		if (s->state == SENDER_WELCOME)
			vm_info(s->cfg.guest, "%s has gone", s->where);
		hang_up(s);
		return;
	}
	s->in_len += (size_t)n;
	if (s->in_len < sizeof(s->in))
		return;
	s->in_len = 0;
	on_word(s);
}

/* ---- life ---- */

int sender_open(const struct sender_cfg *cfg, struct loop *l, struct sender **ret)
{
	struct sender *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->cfg = *cfg;
	s->loop = l;
	s->fd = -1;
	addr_format(&cfg->to.sa, s->where, sizeof(s->where));
	r = loop_timer_init(l, &s->retry, try_connect, s);
	if (r < 0) {
		free(s);
		return r;
	}
	loop_timer_set(&s->retry, 1, 0);
	*ret = s;
	return 0;
}

void sender_close(struct sender *s)
{
	if (!s)
		return;
	loop_fd_del(&s->watch);
	loop_timer_fini(&s->retry);
	if (s->fd >= 0)
		close(s->fd);
	free(s);
}
