/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The loop of the keeper: dead sockets come in, live ones go to the kernel. One
 * process, one thread; allocates nothing once it has said that it is ready.
 */
#include "client/keeper_loop.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/swap_area.h"
#include "lib/proto/nbd.h"

#define SOCKETS_MAX NBD_NETLINK_SOCKETS_MAX

/*
 * Slots of connections: a descriptor, or one of these. A keeper that follows one that
 * died has no copies of the sockets. All it can do when it hears that one of the device's
 * is dead is to offer the kernel another and see whether it takes it.
 */
#define SLOT_DEAD    (-1)
#define SLOT_UNKNOWN (-2) /* the kernel has a live one */
#define SLOT_SUSPECT (-3) /* the kernel may have a dead one */

/* A server that doesn't know the export at all may be one that is being set up. */
#define PATIENCE_S 60

/* How far a time-out that turned out too short is raised. */
#define TIMEOUT_MAX_S 160

/* How long the kernel may take to notice what this process has noticed. */
#define HAND_OVER_PAUSE_MS 20
#define HAND_OVER_TRIES    250

#define RETRY_MIN_MS 100
#define RETRY_MAX_MS 1000

struct keeper {
	const struct keeper_job *job;
	struct nbd_dial dial;
	struct nbd_netlink nl;
	struct keeper_page *page;
	int listen_fd;
	int slot[SOCKETS_MAX];
	unsigned int nr_slots;
	int retry_ms;       /* 0: at once */
	uint64_t timeout_s; /* what the kernel has now */
	bool too_slow; /* it was the kernel that gave a socket up, not the server */
	time_t unknown_since; /* CLOCK_MONOTONIC; 0: the server knows the export */
	struct nbd_handshake handshake;
	uint8_t head[4096];
};

static volatile sig_atomic_t told_to_end;

static void on_signal(int sig)
{
	(void)sig;
	told_to_end = 1;
}

static unsigned int count(const struct keeper *k, int what)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < k->nr_slots; i++)
		n += k->slot[i] == what;
	return n;
}

static unsigned int count_missing(const struct keeper *k)
{
	return count(k, SLOT_DEAD) + count(k, SLOT_SUSPECT);
}

static void show(struct keeper *k)
{
	unsigned int dead = count_missing(k);
	enum keeper_state s = !dead                ? KEEPER_LIVE
			      : dead < k->nr_slots ? KEEPER_DEGRADED
						   : KEEPER_CONNECTING;
	enum keeper_state before = (enum keeper_state)atomic_load(&k->page->state);

	if (told_to_end)
		return; /* what give_up has shown stays */
	atomic_store(&k->page->live, k->nr_slots - dead);
	if (s == before)
		return;
	if (s == KEEPER_CONNECTING)
		keeper_page_log(4, k->job->index, "the server is gone, swap waits");
	else if (before == KEEPER_CONNECTING)
		keeper_page_log(5, k->job->index, "the server is back, swap goes on");
	keeper_page_state(k->page, s);
}

/* The server has told that it no longer has the bytes. */
static void give_up(struct keeper *k, const char *why)
{
	int r;

	keeper_page_log(3, k->job->index, why);
	keeper_page_state(k->page, KEEPER_LOST);
	r = nbd_netlink_disconnect(&k->nl, k->job->index);
	if (r)
		atomic_store(&k->page->last_error, -r);
	told_to_end = 1;
}

/*
 * The qualified name was refused. A server that has the export under another
 * generation has lost ours; one that has never heard of it gets some time.
 */
static void refused(struct keeper *k)
{
	struct nbd_dial plain = k->dial;
	char *at = strrchr(plain.name, '@');
	struct timespec now;
	int fd, r = -ENOENT;

	if (at) {
		*at = '\0';
		r = nbd_dial_go(&plain, &k->handshake, &fd, NULL);
		if (!r)
			close(fd);
	}
	if (!r) {
		give_up(k, "the server has a new export of that name: the swapped "
			   "pages are lost, I/O fails");
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!k->unknown_since)
		k->unknown_since = now.tv_sec;
	if (r == -ENOENT && now.tv_sec - k->unknown_since >= PATIENCE_S)
		give_up(k, "the server no longer has the export: the swapped pages are "
			   "lost, I/O fails");
}

/* 0: `fd` leads to our bytes. -ESTALE: it leads to others. */
static int check(struct keeper *k, int fd)
{
	const struct nbd_export_info *i = &k->handshake.info;
	int r;

	if (i->flags & NBD_FLAG_READ_ONLY)
		return -EROFS;
	if (i->size_bytes < k->job->device.size_bytes)
		return -ESTALE;
	r = nbd_dial_read(&k->dial, fd, 0, k->head, sizeof(k->head));
	if (r)
		return r;
	return swap_area_has_uuid(k->head, k->job->swap_uuid) ? 0 : -ESTALE;
}

/*
 * The kernel may not have noticed yet that its socket is dead; it takes the new one
 * only then. 0 or -EAGAIN: it had no place for it after all.
 */
static int hand_over(struct keeper *k, int fd, bool surely_dead)
{
	static const struct timespec pause = { .tv_nsec =
						       HAND_OVER_PAUSE_MS * 1000000 };

	for (int i = 0; i < HAND_OVER_TRIES && !told_to_end; i++) {
		int r = nbd_netlink_replace(&k->nl, k->job->index,
					    k->job->device.backend, fd);

		if (r == -EINVAL) {
			/* Somebody has disconnected the device: nothing is left to keep. */
			unlink(k->job->page_path);
			told_to_end = 1;
		}
		if (r)
			return r;
		if (nbd_netlink_was_taken(fd, k->timeout_s))
			return 0;
		if (!surely_dead)
			return -EAGAIN;
		ppoll(NULL, 0, &pause, k->dial.mask);
	}
	return -EAGAIN;
}

/*
 * A request had no answer in time, although the connection stood. Sending it again with
 * the same time-out may fail in the same way for ever: twice as long next time.
 */
static void raise_timeout(struct keeper *k)
{
	uint64_t longer = k->timeout_s * 2;

	k->too_slow = false;
	if (longer > TIMEOUT_MAX_S)
		return;
	keeper_page_log(4, k->job->index,
			"the server is slower than the time-out: it "
			"gets twice as long");
	if (!nbd_netlink_set_timeout(&k->nl, k->job->index, k->job->device.backend,
				     longer))
		k->timeout_s = longer;
}

/* One connection for one slot. 0 or -errno, which it shows. */
static int reconnect(struct keeper *k, int *slot)
{
	int fd = -1;
	int r = nbd_dial_go(&k->dial, &k->handshake, &fd, NULL);

	if (r == -ENOENT) {
		refused(k);
	} else if (!r) {
		k->unknown_since = 0;
		r = check(k, fd);
		if (r == -ESTALE)
			give_up(k, "the export no longer holds this swap area: the "
				   "swapped pages are lost, I/O fails");
	}
	if (!r) {
		nbd_netlink_mark_untaken(fd);
		r = hand_over(k, fd, *slot == SLOT_DEAD);
	}
	if (r) {
		if (fd >= 0)
			close(fd);
		if (r == -EAGAIN) { /* nothing is dead: another got its place */
			*slot = SLOT_UNKNOWN;
			return 0;
		}
		atomic_store(&k->page->last_error, -r);
		return r;
	}
	*slot = fd;
	atomic_fetch_add(&k->page->reconnects, 1);
	return 0;
}

static void reconnect_all(struct keeper *k)
{
	if (k->too_slow)
		raise_timeout(k);
	for (unsigned int i = 0; i < k->nr_slots && !told_to_end; i++) {
		if (k->slot[i] != SLOT_DEAD && k->slot[i] != SLOT_SUSPECT)
			continue;
		if (reconnect(k, &k->slot[i])) {
			k->retry_ms = k->retry_ms ? k->retry_ms * 2 : RETRY_MIN_MS;
			if (k->retry_ms > RETRY_MAX_MS)
				k->retry_ms = RETRY_MAX_MS;
			return;
		}
		k->retry_ms = 0;
	}
}

/* Sleeps until a socket dies, the kernel announces one, or it is time to retry. */
static void watch(struct keeper *k)
{
	struct pollfd p[SOCKETS_MAX + 1];
	struct timespec t = { .tv_sec = k->retry_ms / 1000,
			      .tv_nsec = k->retry_ms % 1000 * 1000000L };

	for (unsigned int i = 0; i < k->nr_slots; i++)
		p[i] = (struct pollfd){ .fd = k->slot[i], .events = POLLRDHUP };
	p[k->nr_slots] = (struct pollfd){ .fd = k->listen_fd, .events = POLLIN };
	if (ppoll(p, k->nr_slots + 1, count_missing(k) ? &t : NULL, k->dial.mask) < 0)
		return;
	for (unsigned int i = 0; i < k->nr_slots; i++)
		if (k->slot[i] >= 0 && p[i].revents) {
			k->too_slow |= nbd_dial_ended_here(k->slot[i]);
			nbd_dial_abort(k->slot[i]);
			close(k->slot[i]);
			k->slot[i] = SLOT_DEAD;
			k->retry_ms = 0;
		}
	if (!p[k->nr_slots].revents || !nbd_netlink_heard(k->listen_fd, k->job->index))
		return;
	for (unsigned int i = 0; i < k->nr_slots; i++)
		if (k->slot[i] == SLOT_UNKNOWN)
			k->slot[i] = SLOT_SUSPECT;
}

void keeper_loop_run(const struct keeper_job *job, struct keeper_page *page,
		     int ready_fd)
{
	static struct keeper k; /* not on the stack: locked with the data segment */
	struct sigaction sa = { .sa_handler = on_signal };
	static sigset_t none, stop;
	int r;

	k.job = job;
	k.page = page;
	k.dial = job->dial;
	k.dial.mask = &none;
	k.timeout_s = job->device.timeout_s;
	k.nr_slots = job->connections;
	for (unsigned int i = 0; i < k.nr_slots; i++)
		k.slot[i] = i < job->device.nr_fds ? job->device.fds[i] : SLOT_SUSPECT;
	sigemptyset(&none);
	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigprocmask(SIG_SETMASK, &stop, NULL);
	sigaction(SIGTERM, &sa, NULL);
	r = nbd_netlink_open(&k.nl);
	if (!r) {
		k.listen_fd = nbd_netlink_listen(&k.nl);
		r = k.listen_fd < 0 ? k.listen_fd : 0;
	}
	if (!r)
		r = keeper_page_lock_memory();
	if (write(ready_fd, &r, sizeof(r)) != sizeof(r) || r)
		_exit(1);
	close(ready_fd);
	keeper_page_state(page, KEEPER_LIVE);
	while (!told_to_end) {
		reconnect_all(&k);
		show(&k);
		watch(&k);
		show(&k); /* reconnecting may take its time */
	}
	_exit(0);
}
