/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Watchers in, one history out. The inbox's thread accepts, reads hellos and notices
 * when a watcher goes; inbox_take takes its connection away from it, under the lock,
 * and reads the ages in the router's thread.
 */
#include "vmemdirect/history/inbox.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/crc32c.h"
#include "lib/log.h"

#define HELLO_MS   10000 /* from the connection on */
#define SILENCE_MS 15000
#define ALL_MS     60000
#define GUESTS     4 /* strangers that may be saying hello at a time */
#define SCRATCH    16384

struct stranger {
	int fd; /* owned, or -1 */
	int64_t until_ms;
	size_t len;
	uint8_t buf[HISTORY_HELLO_MAX];
};

struct inbox {
	struct inbox_cfg cfg;
	const struct guest *g;
	pthread_t thread;
	int wake;                         /* owned eventfd */
	struct stranger stranger[GUESTS]; /* the thread's */

	pthread_mutex_t lock; /* of what follows */
	int watcher;          /* owned, or -1 */
	bool taking;          /* by inbox_take: the thread leaves it alone */
	bool over, cancelled;
	struct history_hello hello;
	int map[GUEST_BLOCKS_MAX];
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static bool say(int fd, enum history_word w)
{
	uint8_t buf[HISTORY_WORD_BYTES];

	history_put_word(w, buf);
	return send(fd, buf, sizeof(buf), MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(buf);
}

/* ---- welcoming ---- */

static void send_away(struct inbox *in, struct stranger *s, enum history_word why)
{
	vm_warn(in->g, "an access history is refused: %s",
		why == HISTORY_BUSY    ? "a second watcher; there is one already"
		: why == HISTORY_OTHER ? "it is another VM's (uuid, names or sizes of "
					 "its memory differ)"
				       : "what comes is no hello of a watcher");
	say(s->fd, why);
	close_fd(&s->fd);
}

/* A vanished host is noticed within half a minute. */
static void keep_alive(int fd)
{
	int one = 1, idle = 10, count = 2;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

static void welcome(struct inbox *in, struct stranger *s,
		    const struct history_hello *hello)
{
	int map[GUEST_BLOCKS_MAX];
	bool busy, taken = false;

	if (history_match(hello, in->g, in->cfg.source_name, in->cfg.uuid, map) < 0) {
		send_away(in, s, HISTORY_OTHER);
		return;
	}
	pthread_mutex_lock(&in->lock);
	busy = in->watcher >= 0 || in->taking || in->over;
	if (!busy && say(s->fd, HISTORY_WELCOME)) {
		keep_alive(s->fd);
		in->watcher = take_fd(&s->fd);
		taken = true;
		in->hello = *hello;
		memcpy(in->map, map, sizeof(map));
	}
	pthread_mutex_unlock(&in->lock);
	if (busy)
		send_away(in, s, HISTORY_BUSY);
	else if (taken)
		vm_note(in->g, "the source's VM is watched%s%s%s",
			hello->name[0] ? " (" : "", hello->name,
			hello->name[0] ? ")" : "");
	close_fd(&s->fd);
}

static void read_stranger(struct inbox *in, struct stranger *s)
{
	ssize_t n = recv(s->fd, s->buf + s->len, sizeof(s->buf) - s->len, MSG_DONTWAIT);
	struct history_hello hello;
	size_t used = 0;
	int r;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		close_fd(&s->fd);
		return;
	}
	s->len += (size_t)n;
	r = history_take_hello(s->buf, s->len, &hello, &used);
	if (r < 0 || (r && used < s->len))
		send_away(in, s, HISTORY_BAD);
	else if (r)
		welcome(in, s, &hello);
}

static void accept_stranger(struct inbox *in)
{
	int fd = accept4(in->cfg.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	for (unsigned int i = 0; i < GUESTS; i++)
		if (in->stranger[i].fd < 0) {
			in->stranger[i].fd = fd;
			in->stranger[i].len = 0;
			in->stranger[i].until_ms = clock_ms() + HELLO_MS;
			return;
		}
	close(fd);
}

/* A welcome watcher has nothing to say before it is asked: it goes, or misbehaves. */
static void look_at_watcher(struct inbox *in)
{
	bool gone = false;

	pthread_mutex_lock(&in->lock);
	if (!in->taking && in->watcher >= 0) {
		close_fd(&in->watcher);
		gone = true;
	}
	pthread_mutex_unlock(&in->lock);
	if (gone)
		vm_warn(in->g, "the watcher of the source's VM has gone");
}

static void end_late_strangers(struct inbox *in)
{
	for (unsigned int i = 0; i < GUESTS; i++)
		if (in->stranger[i].fd >= 0 && clock_ms() > in->stranger[i].until_ms)
			send_away(in, &in->stranger[i], HISTORY_BAD);
}

static bool look_around(struct inbox *in)
{
	struct pollfd p[3 + GUESTS] = {
		{ .fd = in->wake, .events = POLLIN },
		{ .fd = in->cfg.listen_fd, .events = POLLIN },
	};
	bool over;

	pthread_mutex_lock(&in->lock);
	over = in->over;
	p[2] = (struct pollfd){ .fd = in->taking ? -1 : in->watcher, .events = POLLIN };
	pthread_mutex_unlock(&in->lock);
	for (unsigned int i = 0; i < GUESTS; i++)
		p[3 + i] =
			(struct pollfd){ .fd = in->stranger[i].fd, .events = POLLIN };
	if (over || (poll(p, 3 + GUESTS, 1000) < 0 && errno != EINTR))
		return false;
	if (p[2].revents)
		look_at_watcher(in);
	for (unsigned int i = 0; i < GUESTS; i++)
		if (p[3 + i].revents)
			read_stranger(in, &in->stranger[i]);
	if (p[1].revents)
		accept_stranger(in);
	end_late_strangers(in);
	return true;
}

static void *inbox_main(void *arg)
{
	struct inbox *in = arg;

	while (look_around(in))
		;
	for (unsigned int i = 0; i < GUESTS; i++)
		close_fd(&in->stranger[i].fd);
	return NULL;
}

/* ---- taking ---- */

struct reader {
	struct inbox *in;
	int fd;
	int64_t until_ms;
};

static bool was_cancelled(struct inbox *in)
{
	bool yes;

	pthread_mutex_lock(&in->lock);
	yes = in->cancelled;
	pthread_mutex_unlock(&in->lock);
	return yes;
}

static int read_all(const struct reader *rd, uint8_t *buf, size_t len)
{
	while (len) {
		struct pollfd p = { .fd = rd->fd, .events = POLLIN };
		ssize_t n;

		if (clock_ms() > rd->until_ms || poll(&p, 1, SILENCE_MS) == 0)
			return -ETIMEDOUT;
		n = recv(rd->fd, buf, len, MSG_DONTWAIT);
		if (was_cancelled(rd->in))
			return -ECANCELED;
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ECONNRESET;
		buf += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Of a block that is not placed here only the checksum counts. */
static int read_block(const struct reader *rd, uint64_t nr, uint8_t *ages,
		      uint32_t *crc)
{
	uint8_t scratch[SCRATCH] = { 0 };

	while (nr) {
		size_t n = nr < SCRATCH ? (size_t)nr : SCRATCH;
		uint8_t *to = ages ? ages : scratch;
		int r = read_all(rd, to, n);

		if (r < 0)
			return r;
		*crc = crc32c_add(*crc, to, n);
		ages = ages ? ages + n : NULL;
		nr -= n;
	}
	return 0;
}

static int read_ages(const struct reader *rd, uint8_t *ages, uint32_t *ret_samples)
{
	const struct inbox *in = rd->in;
	uint8_t buf[HISTORY_HEAD_BYTES];
	struct history_head head = { .samples = 0 };
	uint32_t crc = 0;
	int r = read_all(rd, buf, sizeof(buf));

	if (!r)
		r = history_take_head(buf, &head);
	if (!r && head.nr_pages != history_pages(&in->hello))
		r = -EPROTO;
	for (unsigned int i = 0; !r && i < in->hello.nr_blocks; i++) {
		int own = in->map[i];

		r = read_block(rd, in->hello.block[i].size_bytes >> GUEST_PAGE_SHIFT,
			       own < 0 ? NULL : ages + in->g->block[own].first_pfn,
			       &crc);
	}
	if (!r && crc != head.crc)
		r = -EPROTO;
	if (!r && !head.samples)
		r = -ENODATA;
	if (!r)
		*ret_samples = head.samples;
	return r;
}

static const char *explain(int error)
{
	switch (error) {
	case -ENOENT:
		return "no watcher is here";
	case -EPROTO:
		return "wrong bytes came";
	case -ENODATA:
		return "its watcher had no time to take a sample";
	case -ECONNRESET:
	case -EPIPE:
		return "its watcher ended before it had sent it";
	}
	return strerror(-error);
}

/* The connection, away from the thread; -1: there is none. */
static int take_watcher(struct inbox *in)
{
	int fd;

	pthread_mutex_lock(&in->lock);
	in->taking = true;
	fd = in->watcher;
	pthread_mutex_unlock(&in->lock);
	return fd;
}

int inbox_take(struct inbox *in, uint8_t **ret_ages, uint32_t *ret_samples)
{
	struct reader rd = { in, take_watcher(in), clock_ms() + ALL_MS };
	uint8_t *ages = calloc(in->g->nr_pages, 1);
	int r = !ages ? -ENOMEM : rd.fd < 0 ? -ENOENT : 0;

	if (!r && !say(rd.fd, HISTORY_SEND))
		r = -EPIPE;
	if (!r)
		r = read_ages(&rd, ages, ret_samples);
	pthread_mutex_lock(&in->lock);
	close_fd(&in->watcher);
	in->over = true;
	pthread_mutex_unlock(&in->lock);
	eventfd_write(in->wake, 1);
	if (r < 0) {
		vm_warn(in->g,
			"no access history (%s): pages are placed in the order in "
			"which they come",
			explain(r));
		free(ages);
		return r;
	}
	*ret_ages = ages;
	return 0;
}

void inbox_cancel(struct inbox *in)
{
	pthread_mutex_lock(&in->lock);
	in->cancelled = true;
	if (in->watcher >= 0)
		shutdown(in->watcher, SHUT_RDWR);
	pthread_mutex_unlock(&in->lock);
}

/* ---- life ---- */

bool inbox_has_watcher(struct inbox *in)
{
	bool yes;

	pthread_mutex_lock(&in->lock);
	yes = in->watcher >= 0;
	pthread_mutex_unlock(&in->lock);
	return yes;
}

int inbox_open(const struct inbox_cfg *cfg, const struct guest *g, struct inbox **ret)
{
	struct inbox *in = calloc(1, sizeof(*in));
	sigset_t all, before;
	int r;

	if (!in)
		return -ENOMEM;
	in->cfg = *cfg;
	in->g = g;
	in->watcher = -1;
	for (unsigned int i = 0; i < GUESTS; i++)
		in->stranger[i].fd = -1;
	in->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (in->wake < 0) {
		r = -errno;
		free(in);
		return r;
	}
	pthread_mutex_init(&in->lock, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	r = -pthread_create(&in->thread, NULL, inbox_main, in);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r < 0) {
		close(in->wake);
		pthread_mutex_destroy(&in->lock);
		free(in);
		return r;
	}
	*ret = in;
	return 0;
}

void inbox_close(struct inbox *in)
{
	if (!in)
		return;
	pthread_mutex_lock(&in->lock);
	in->over = true;
	pthread_mutex_unlock(&in->lock);
	eventfd_write(in->wake, 1);
	pthread_join(in->thread, NULL);
	close_fd(&in->watcher);
	close(in->cfg.listen_fd);
	close(in->wake);
	pthread_mutex_destroy(&in->lock);
	free(in);
}
