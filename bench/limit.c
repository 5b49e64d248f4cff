// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The bare request and reply over a socket: the bound that no server of these sizes
 * can pass, since it looks at nothing and copies nothing of its own. In come requests
 * of N bytes, out go replies of M, as many of each at once as there are. Shows as
 * well what epoll and io_uring, sleeping and spinning, cost by themselves. One
 * thread.
 */
#include <errno.h>
#include <getopt.h>
#include <liburing.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/lib/limit.h"
#include "bench/lib/net.h"
#include "lib/cleanup.h"

#define MAX_PEERS 64
#define RX_BYTES  (256u << 10)

/* io_uring's receive buffers, given out by the kernel. */
#define RING_BUFS     64 /* a power of two */
#define RING_BUF_SIZE (64u << 10)
#define RING_GROUP    1

struct peer {
	int fd;
	bool used, greeted, sending, receiving, ended;
	uint32_t request_bytes, reply_bytes;
	uint32_t have; /* bytes of the request that is not whole yet */
	uint64_t owed; /* bytes of replies to be sent */
};

static struct peer peers[MAX_PEERS];
static uint8_t rx[RX_BYTES], reply[LIMIT_MAX_BYTES];

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000;
}

static struct peer *peer_new(int fd)
{
	for (size_t i = 0; i < MAX_PEERS; i++)
		if (!peers[i].used) {
			peers[i] = (struct peer){ .fd = fd, .used = true };
			net_nodelay(fd);
			return &peers[i];
		}
	close(fd);
	return NULL;
}

static void peer_end(struct peer *p)
{
	close(p->fd);
	p->used = false;
}

static int peer_hello(struct peer *p, const uint8_t *bytes, size_t len)
{
	struct limit_hello h;

	/* 16 bytes sent at once arrive at once on loopback; anything else is misuse. */
	if (len < sizeof(h))
		return -EPROTO;
	memcpy(&h, bytes, sizeof(h));
	if (h.magic != LIMIT_MAGIC || !h.request_bytes || !h.reply_bytes ||
	    h.request_bytes > LIMIT_MAX_BYTES || h.reply_bytes > LIMIT_MAX_BYTES)
		return -EPROTO;
	p->request_bytes = h.request_bytes;
	p->reply_bytes = h.reply_bytes;
	p->greeted = true;
	return sizeof(h);
}

/* What `len` received bytes make: replies owed. */
static int peer_take(struct peer *p, const uint8_t *bytes, size_t len)
{
	uint64_t whole;
	int r;

	if (!p->greeted) {
		r = peer_hello(p, bytes, len);
		if (r < 0)
			return r;
		len -= (size_t)r;
	}
	whole = (p->have + len) / p->request_bytes;
	p->have = (uint32_t)((p->have + len) % p->request_bytes);
	p->owed += whole * p->reply_bytes;
	return 0;
}

static size_t peer_next_send(const struct peer *p)
{
	return p->owed < sizeof(reply) ? p->owed : sizeof(reply);
}

/* ---- epoll ---- */

static int epoll_send(int ep, struct peer *p)
{
	struct epoll_event e = { .data.ptr = p };

	while (p->owed) {
		ssize_t n = send(p->fd, reply, peer_next_send(p),
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			return -errno;
		if (n < 0)
			break;
		p->owed -= (uint64_t)n;
	}
	if (p->sending != !!p->owed) {
		p->sending = !!p->owed;
		e.events = p->sending ? EPOLLOUT : EPOLLIN;
		epoll_ctl(ep, EPOLL_CTL_MOD, p->fd, &e);
	}
	return 0;
}

/* Returns 1 when something was done, 0 when there was nothing, -errno to end. */
static int epoll_serve(int ep, struct peer *p)
{
	ssize_t n;
	int r;

	if (p->sending)
		return epoll_send(ep, p);
	n = recv(p->fd, rx, sizeof(rx), MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n <= 0)
		return n ? -errno : -ECONNRESET;
	r = peer_take(p, rx, (size_t)n);
	if (!r)
		r = epoll_send(ep, p);
	return r < 0 ? r : 1;
}

static bool epoll_serve_all(int ep)
{
	bool any = false;

	for (size_t i = 0; i < MAX_PEERS; i++) {
		int r = peers[i].used ? epoll_serve(ep, &peers[i]) : 0;

		if (r < 0)
			return false; /* the sleeping path sees it and ends it */
		any |= r > 0;
	}
	return any;
}

static void epoll_accept(int ep, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	struct peer *p = fd < 0 ? NULL : peer_new(fd);
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = p };

	if (p)
		epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
}

static int epoll_run(int listener, uint64_t spin_us)
{
	_cleanup_close_ int ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event got[MAX_PEERS], e = { .events = EPOLLIN };
	uint64_t spin_until = 0;

	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e) < 0)
		return -errno;
	for (;;) {
		int n;

		/* New peers are looked for when the others have nothing to say. */
		if (spin_us && epoll_serve_all(ep)) {
			spin_until = now_us() + spin_us;
			continue;
		}
		n = epoll_wait(ep, got, MAX_PEERS, now_us() < spin_until ? 0 : -1);
		if (n < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < n; i++) {
			struct peer *p = got[i].data.ptr;

			if (!p)
				epoll_accept(ep, listener);
			else if (epoll_serve(ep, p) < 0)
				peer_end(p);
			if (spin_us)
				spin_until = now_us() + spin_us;
		}
	}
}

/* ---- io_uring ---- */

struct uring {
	struct io_uring ring;
	struct io_uring_buf_ring *bufs;
	uint8_t *mem;
	int listener;
};

enum { TAG_ACCEPT = 1, TAG_RECV = 2, TAG_SEND = 3, TAG_MASK = 3 };

static void uring_tag(struct io_uring_sqe *sqe, struct peer *p, unsigned int tag)
{
	io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)p | tag);
}

static struct io_uring_sqe *uring_sqe(struct uring *u)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	if (!sqe) {
		io_uring_submit(&u->ring);
		sqe = io_uring_get_sqe(&u->ring);
	}
	return sqe;
}

static void uring_accept(struct uring *u)
{
	struct io_uring_sqe *sqe = uring_sqe(u);

	io_uring_prep_multishot_accept(sqe, u->listener, NULL, NULL, 0);
	uring_tag(sqe, NULL, TAG_ACCEPT);
}

static void uring_recv(struct uring *u, struct peer *p)
{
	struct io_uring_sqe *sqe = uring_sqe(u);

	io_uring_prep_recv_multishot(sqe, p->fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = RING_GROUP;
	uring_tag(sqe, p, TAG_RECV);
	p->receiving = true;
}

static void uring_send(struct uring *u, struct peer *p)
{
	struct io_uring_sqe *sqe;

	if (p->sending || p->ended || !p->owed)
		return;
	sqe = uring_sqe(u);
	io_uring_prep_send(sqe, p->fd, reply, peer_next_send(p), MSG_NOSIGNAL);
	uring_tag(sqe, p, TAG_SEND);
	p->sending = true;
}

static void uring_give_back(struct uring *u, unsigned int id)
{
	io_uring_buf_ring_add(u->bufs, u->mem + id * RING_BUF_SIZE, RING_BUF_SIZE,
			      (unsigned short)id, RING_BUFS - 1, 0);
	io_uring_buf_ring_advance(u->bufs, 1);
}

static int uring_received(struct uring *u, struct peer *p, const struct io_uring_cqe *c)
{
	unsigned int id = c->flags >> IORING_CQE_BUFFER_SHIFT;
	int r = 0;

	p->receiving = !!(c->flags & IORING_CQE_F_MORE);
	if (c->res > 0)
		r = peer_take(p, u->mem + id * RING_BUF_SIZE, (size_t)c->res);
	if (c->flags & IORING_CQE_F_BUFFER)
		uring_give_back(u, id);
	if (r < 0 || (c->res <= 0 && c->res != -ENOBUFS))
		return -ECONNRESET;
	if (!p->receiving && !p->ended)
		uring_recv(u, p);
	return 0;
}

static void uring_event(struct uring *u, const struct io_uring_cqe *c)
{
	uint64_t data = io_uring_cqe_get_data64(c);
	struct peer *p = (struct peer *)(uintptr_t)(data & ~(uint64_t)TAG_MASK);
	int r = 0;

	switch (data & TAG_MASK) {
	case TAG_ACCEPT:
		p = c->res < 0 ? NULL : peer_new(c->res);
		if (p)
			uring_recv(u, p);
		if (!(c->flags & IORING_CQE_F_MORE))
			uring_accept(u);
		return;
	case TAG_RECV:
		r = uring_received(u, p, c);
		break;
	case TAG_SEND:
		p->sending = false;
		if (c->res < 0)
			r = c->res;
		else
			p->owed -= (uint64_t)c->res;
		break;
	}
	/* Its slot is not free before the last completion that names it. */
	if (r < 0 && !p->ended) {
		p->ended = true;
		shutdown(p->fd, SHUT_RDWR);
	}
	if (p->ended && !p->sending && !p->receiving)
		peer_end(p);
}

/* All that is there; then one send per peer for all of it. */
static unsigned int uring_drain(struct uring *u)
{
	struct io_uring_cqe *cqe;
	unsigned int head, n = 0;

	io_uring_for_each_cqe(&u->ring, head, cqe)
	{
		uring_event(u, cqe);
		n++;
	}
	io_uring_cq_advance(&u->ring, n);
	for (size_t i = 0; i < MAX_PEERS; i++)
		if (peers[i].used)
			uring_send(u, &peers[i]);
	return n;
}

static int uring_init(struct uring *u)
{
	struct io_uring_params params = {
		/* What 6.1 has: completions run when we ask, no interrupts of our own. */
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	};
	struct io_uring_buf_reg reg = { .ring_entries = RING_BUFS, .bgid = RING_GROUP };
	void *mem;
	int r = io_uring_queue_init_params(256, &u->ring, &params);

	if (r < 0)
		return r;
	if (posix_memalign(&mem, 4096, RING_BUFS * sizeof(struct io_uring_buf)))
		return -ENOMEM;
	u->bufs = mem;
	io_uring_buf_ring_init(u->bufs);
	reg.ring_addr = (uintptr_t)mem;
	r = io_uring_register_buf_ring(&u->ring, &reg, 0);
	if (r < 0)
		return r;
	if (posix_memalign(&mem, 4096, (size_t)RING_BUFS * RING_BUF_SIZE))
		return -ENOMEM;
	u->mem = mem;
	for (unsigned int i = 0; i < RING_BUFS; i++)
		uring_give_back(u, i);
	return 0;
}

static int uring_run(int listener, uint64_t spin_us)
{
	static struct uring u;
	uint64_t spin_until = 0;
	int r = uring_init(&u);

	u.listener = listener;
	if (!r)
		uring_accept(&u);
	while (r >= 0) {
		if (uring_drain(&u) && spin_us)
			spin_until = now_us() + spin_us;
		r = io_uring_sq_ready(&u.ring) && spin_us ? io_uring_submit(&u.ring)
							  : 0;
		if (r >= 0 && spin_us && now_us() < spin_until)
			r = io_uring_get_events(&u.ring);
		else if (r >= 0)
			r = io_uring_submit_and_wait(&u.ring, 1);
		if (r == -EINTR)
			r = 0;
	}
	return r;
}

static const char usage[] =
	"usage: limit --listen HOST:PORT|unix:PATH [--engine epoll|uring] [--spin US]\n"
	"             [--cpu N]\n"
	"Answers requests of `load --proto limit`. --spin: poll for so many µs after "
	"the\n"
	"last event before sleeping. Prints \"ready\" when it listens.\n";

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		perror("limit: --cpu");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "listen", 1, NULL, 'l' }, { "engine", 1, NULL, 'e' },
		{ "spin", 1, NULL, 's' },   { "cpu", 1, NULL, 'c' },
		{ "help", 0, NULL, 'h' },   { 0 },
	};
	const char *where = NULL, *engine = "epoll";
	uint64_t spin_us = 0;
	int f, listener, r;

	while ((f = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (f == 'l')
			where = optarg;
		else if (f == 'e')
			engine = optarg;
		else if (f == 's')
			spin_us = strtoull(optarg, NULL, 10);
		else if (f == 'c')
			pin(atoi(optarg));
		else
			return fputs(usage, f == 'h' ? stdout : stderr),
			       f == 'h' ? 0 : 2;
	}
	if (!where || (strcmp(engine, "epoll") && strcmp(engine, "uring")))
		return fputs(usage, stderr), 2;
	signal(SIGPIPE, SIG_IGN);
	memset(reply, 0x5a, sizeof(reply));
	if (net_listen(where, &listener) < 0)
		return 1;
	puts("ready");
	fflush(stdout);
	r = strcmp(engine, "uring") ? epoll_run(listener, spin_us)
				    : uring_run(listener, spin_us);
	fprintf(stderr, "limit: %s\n", strerror(-r));
	return 1;
}
