/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The source's bytes in; pages, the destination's bytes and two return paths out; the
 * router's thread. Sockets are blocking but only read when poll says so; router_stop
 * shuts them down, which ends every wait.
 */
#include "vmemdirect/migrate/router.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "vmemdirect/migrate/router_priv.h"

#define IN_BYTES  (1u << 20)
#define OUT_BYTES (256u << 10)
#define TAIL_MAX  (512u << 20)

void router_move(struct router *r, enum handover_event event)
{
	enum handover to = atomic_load(&r->state);

	if (!handover_move(&to, event))
		return;
	vm_info(r->g, "migration: %s", handover_name(to));
	r->cfg.ops.moved(r->cfg.ops.arg, to, r->start);
	atomic_store(&r->state, to);
}

enum handover router_state(const struct router *r)
{
	return atomic_load(&r->state);
}

int router_broken(struct router *r, const char *why)
{
	if (!r->why[0])
		snprintf(r->why, sizeof(r->why), "%s", why);
	return -EPROTO;
}

static bool stopped(struct router *r)
{
	bool stop;

	pthread_mutex_lock(&r->lock);
	stop = r->stop;
	pthread_mutex_unlock(&r->lock);
	return stop;
}

static void set_socket(struct router *r, int *place, int fd)
{
	pthread_mutex_lock(&r->lock);
	if (*place >= 0)
		close(*place);
	*place = fd;
	if (r->stop && fd >= 0)
		shutdown(fd, SHUT_RDWR);
	pthread_mutex_unlock(&r->lock);
}

/* ---- to the destination ---- */

int router_send(int fd, const uint8_t *p, size_t len)
{
	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int flush(struct router *r)
{
	int e;

	if (!r->out_len || r->destination < 0)
		return 0;
	e = router_send(r->destination, r->out, r->out_len);
	if (e < 0)
		return router_broken(r,
				     "the destination QEMU has closed its connection");
	atomic_fetch_add(&r->forwarded, r->out_len);
	r->out_len = 0;
	return 0;
}

static int forward(struct router *r, const uint8_t *p, size_t len)
{
	if (len > OUT_BYTES - r->out_len) {
		if (r->destination < 0)
			return router_broken(r, "its head is too long");
		if (flush(r) < 0)
			return -EPROTO;
		if (len > OUT_BYTES / 2) {
			if (router_send(r->destination, p, len) < 0)
				return router_broken(
					r, "the destination QEMU has closed its "
					   "connection");
			atomic_fetch_add(&r->forwarded, len);
			return 0;
		}
	}
	memcpy(r->out + r->out_len, p, len);
	r->out_len += len;
	return 0;
}

/* ---- events of the stream ---- */

static const char *source_name(const struct router *r, unsigned int i)
{
	return r->cfg.source_name[i] ? r->cfg.source_name[i] : r->g->block[i].name;
}

/* Notes a block that is ours; the destination knows it by its own name. */
static int on_block(struct router *r, const struct stream_event *e, const uint8_t *raw,
		    size_t len)
{
	const struct stream_block *b = e->block;
	uint8_t entry[STREAM_NAME_MAX + 16];
	char why[320];
	size_t n;

	for (unsigned int i = 0; i < r->g->nr_blocks; i++) {
		const struct guest_block *own = &r->g->block[i];

		if (strcmp(b->name, source_name(r, i)) != 0)
			continue;
		if (b->size_bytes != own->size_bytes) {
			snprintf(why, sizeof(why),
				 "its block %.64s has %llu bytes, the destination's "
				 "%.64s %llu: start both with the same -m",
				 b->name, (unsigned long long)b->size_bytes, own->name,
				 (unsigned long long)own->size_bytes);
			return router_broken(r, why);
		}
		r->managed[b->index] = own;
		n = strlen(own->name);
		entry[0] = (uint8_t)n;
		memcpy(entry + 1, own->name, n);
		memcpy(entry + 1 + n, raw + len - 8, 8);
		return forward(r, entry, n + 9);
	}
	return forward(r, raw, len);
}

static int check_blocks(struct router *r)
{
	char why[320] = "", names[160] = "";

	for (unsigned int i = 0; i < r->g->nr_blocks; i++) {
		unsigned int k = 0;

		while (k < r->stream.nr_blocks && r->managed[k] != &r->g->block[i])
			k++;
		if (k < r->stream.nr_blocks)
			continue;
		for (k = 0; k < r->stream.nr_blocks && strlen(names) < 100; k++)
			snprintf(names + strlen(names), sizeof(names) - strlen(names),
				 " %.40s", r->stream.block[k].name);
		snprintf(why, sizeof(why),
			 "it has no memory called %.64s (but%s): --source-memdev NAME",
			 source_name(r, i), names);
		return router_broken(r, why);
	}
	return 0;
}

static int make_place(struct router *r, struct place **ret)
{
	uint32_t samples = 0;
	uint8_t *age;
	int e = place_new(r->g, r->t, r->tier, r->cfg.limit_pages, ret);

	if (e < 0)
		return e;
	age = r->cfg.ops.history(r->cfg.ops.arg, &samples);
	if (age)
		e = place_learn(*ret, age, samples, r->cfg.history_chunk);
	if (e < 0)
		vm_warn(r->g, "the access history cannot be used: %s", strerror(-e));
	return 0;
}

/* The head was understood and fits: from here the destination takes part. */
static int open_destination(struct router *r)
{
	struct place *p = NULL;
	int fd, e = check_blocks(r);

	if (e < 0)
		return e;
	e = r->cfg.ops.open_destination(r->cfg.ops.arg, &fd);
	if (e < 0)
		return router_broken(r, "the destination QEMU does not take it");
	set_socket(r, &r->destination, fd);
	router_move(r, HANDOVER_ACCEPTED);
	e = make_place(r, &p);
	if (e < 0)
		return router_broken(r, "its pages cannot be placed");
	atomic_store(&r->place, p);
	return 0;
}

static int on_page(struct router *r, const struct stream_event *e, const uint8_t *raw,
		   size_t len)
{
	const struct guest_block *b = r->managed[e->block->index];
	uint64_t pfn;
	int error;

	if (!b)
		return forward(r, raw, len);
	pfn = b->first_pfn + (e->addr >> GUEST_PAGE_SHIFT);
	error = e->type == STREAM_ZERO ? place_zero(r->place, pfn)
				       : place_page(r->place, pfn, e->page);
	return error < 0 ? router_broken(r, "a page could not be placed") : 0;
}

static int on_complete(struct router *r)
{
	if (place_barrier(r->place) < 0)
		return router_broken(r, "not all pages could be placed");
	if (fault_point("router.complete") < 0 ||
	    r->cfg.ops.memory_complete(r->cfg.ops.arg) < 0)
		return router_broken(r, "the pager does not start");
	atomic_store(&r->complete_ns, clock_ns());
	router_move(r, HANDOVER_COMPLETE);
	return 0;
}

/* Kept as well as forwarded: its end tells what the VM did. */
static int on_tail(struct router *r, const uint8_t *raw, size_t len)
{
	if (len > r->tail_size - r->tail_len) {
		size_t size = r->tail_size ? r->tail_size * 2 : 4 * IN_BYTES;
		uint8_t *tail = size <= TAIL_MAX ? realloc(r->tail, size) : NULL;

		if (!tail)
			return router_broken(r, "its device state is too large");
		r->tail = tail;
		r->tail_size = size;
	}
	memcpy(r->tail + r->tail_len, raw, len);
	r->tail_len += len;
	return forward(r, raw, len);
}

static int on_event(struct router *r, const struct stream_event *e, const uint8_t *raw,
		    size_t len)
{
	int error;

	switch (e->type) {
	case STREAM_BLOCK:
		return on_block(r, e, raw, len);
	case STREAM_PAGE:
	case STREAM_ZERO:
		return on_page(r, e, raw, len);
	case STREAM_TAIL:
		return on_tail(r, raw, len);
	case STREAM_EOS:
		if (router_state(r) == HANDOVER_OPENING && open_destination(r) < 0)
			return -EPROTO;
		break;
	case STREAM_COMMAND:
		if (e->command == STREAM_CMD_PING &&
		    router_answer(r, RP_PONG, e->value) < 0)
			return -EPROTO;
		break;
	case STREAM_FOOTER:
		error = forward(r, raw, len);
		return error < 0 || !e->complete ? error : on_complete(r);
	default:
		break;
	}
	return forward(r, raw, len);
}

/* The rest from `at` on goes over to the other half, as soon as that is free. */
static int take_other_half(struct router *r, size_t at)
{
	unsigned int half = r->in != r->both;
	uint8_t *rest = r->in + at;
	int error = 0;

	r->in_len -= at;
	if (r->place) {
		r->half_ticket[half] = place_post(r->place);
		error = place_wait(r->place, r->half_ticket[!half]);
		r->in = r->both + (half ? 0 : IN_BYTES);
	}
	memmove(r->in, rest, r->in_len);
	return error;
}

/* Everything in the buffer that is complete. */
static int take_pieces(struct router *r)
{
	struct stream_event e;
	size_t at = 0, used;
	int n = 0, error = 0;

	while (!error && (n = stream_next(&r->stream, r->in + at, r->in_len - at, &e,
					  &used)) == 1) {
		error = on_event(r, &e, r->in + at, used);
		at += used;
	}
	if (n < 0)
		return router_broken(r, r->stream.why);
	if (!error && take_other_half(r, at) < 0)
		return router_broken(r, "a page could not be placed");
	if (!error)
		error = flush(r);
	return error;
}

static int read_source(struct router *r)
{
	ssize_t n = recv(r->source, r->in + r->in_len, IN_BYTES - r->in_len, 0);

	if (n < 0 && errno == EINTR)
		return 0;
	if (n <= 0 || fault_point("router.recv") < 0)
		return router_broken(r, "the source has closed its connection");
	if (!atomic_load(&r->began_ns))
		atomic_store(&r->began_ns, clock_ns());
	r->in_len += (size_t)n;
	atomic_fetch_add(&r->received, (uint64_t)n);
	return take_pieces(r);
}

/* ---- connections ---- */

/* A second connection while one migration comes in: multifd, or a mistake. */
static int refuse_second(struct router *r)
{
	int fd = accept4(r->cfg.listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return 0;
	close(fd);
	return router_broken(
		r, "it opens a second connection: migrate_set_capability multifd "
		   "(and postcopy-preempt) off at the source");
}

static int accept_source(struct router *r)
{
	struct pollfd p = { .fd = r->cfg.listen_fd, .events = POLLIN };
	int fd;

	while (poll(&p, 1, 200) <= 0)
		if (stopped(r))
			return -ECANCELED;
	fd = accept4(r->cfg.listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return stopped(r) ? -ECANCELED : -EAGAIN;
	set_socket(r, &r->source, fd);
	stream_init(&r->stream);
	memset(r->managed, 0, sizeof(r->managed));
	r->in_len = r->out_len = r->answer_len = 0;
	atomic_store(&r->received, 0);
	atomic_store(&r->began_ns, 0);
	r->why[0] = 0;
	router_move(r, HANDOVER_CONNECTED);
	return 0;
}

static bool ready(const struct pollfd *p)
{
	return p->revents & (POLLIN | POLLHUP | POLLERR);
}

/* Until the destination has acknowledged, or something breaks. */
static int route(struct router *r)
{
	int e = 0;

	while (!e && !r->acknowledged) {
		struct pollfd p[4] = {
			{ .fd = r->source, .events = POLLIN },
			{ .fd = r->destination, .events = POLLIN },
			{ .fd = r->cfg.listen_fd, .events = POLLIN },
			{ .fd = r->place ? place_fd(r->place) : -1, .events = POLLIN },
		};

		if (poll(p, 4, -1) < 0 && errno != EINTR)
			return router_broken(r, "poll fails");
		if (stopped(r))
			return router_broken(r, "it was broken off here");
		if (ready(&p[3]))
			place_reap(r->place);
		if (ready(&p[1]))
			e = router_read_destination(r);
		if (!e && ready(&p[0]))
			e = read_source(r);
		if (!e && ready(&p[2]))
			e = refuse_second(r);
	}
	return e;
}

static void one_source(struct router *r)
{
	if (accept_source(r) == -ECANCELED) {
		router_broken(r, "it was broken off here");
		router_move(r, HANDOVER_BROKEN);
		return;
	}
	if (router_state(r) != HANDOVER_OPENING)
		return;
	if (!route(r)) {
		router_hand_over(r);
	} else if (router_state(r) == HANDOVER_OPENING && !stopped(r)) {
		vm_err(r->g, "migration refused: %s", r->why);
		router_move(r, HANDOVER_REFUSED);
	} else {
		router_move(r, HANDOVER_BROKEN);
	}
	if (router_state(r) == HANDOVER_FAILED)
		vm_err(r->g, "migration failed, the source keeps the VM: %s",
		       r->why[0] ? r->why : "the source says so");
	/* Closing tells the source, if it does not know yet. */
	set_socket(r, &r->source, -1);
	set_socket(r, &r->destination, -1);
}

static bool over(const struct router *r)
{
	enum handover s = router_state(r);

	return s == HANDOVER_COMMITTED || s == HANDOVER_DONE || s == HANDOVER_FAILED ||
	       s == HANDOVER_UNCLEAR;
}

static void *router_main(void *arg)
{
	struct router *r = arg;
	uint64_t one = 1;

	while (!over(r))
		one_source(r);
	while (write(r->event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	return NULL;
}

/* ---- life ---- */

int router_start(const struct router_cfg *cfg, const struct guest *g,
		 struct page_table *t, struct tier *tier, struct router **ret)
{
	struct router *r = calloc(1, sizeof(*r));
	sigset_t all, before;
	int e = -ENOMEM;

	if (!r)
		return e;
	r->cfg = *cfg;
	r->g = g;
	r->t = t;
	r->tier = tier;
	r->source = r->destination = -1;
	atomic_store(&r->state, HANDOVER_LISTENING);
	pthread_mutex_init(&r->lock, NULL);
	r->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->in = r->both = malloc(2 * IN_BYTES);
	r->out = malloc(OUT_BYTES);
	if (!r->in || !r->out || r->event_fd < 0)
		goto fail;
	cfg->ops.moved(cfg->ops.arg, HANDOVER_LISTENING, false);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	e = -pthread_create(&r->thread, NULL, router_main, r);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (e < 0)
		goto fail;
	r->has_thread = true;
	*ret = r;
	return 0;
fail:
	r->cfg.listen_fd = -1;
	router_free(r);
	return e;
}

int router_event_fd(const struct router *r)
{
	return r->event_fd;
}

void router_stop(struct router *r)
{
	pthread_mutex_lock(&r->lock);
	r->stop = true;
	/* Once the source has been told, only its answer ends this. */
	if (atomic_load(&r->state) < HANDOVER_LOADED) {
		if (r->source >= 0)
			shutdown(r->source, SHUT_RDWR);
		if (r->destination >= 0)
			shutdown(r->destination, SHUT_RDWR);
	}
	pthread_mutex_unlock(&r->lock);
}

void router_free(struct router *r)
{
	if (!r)
		return;
	if (r->has_thread) {
		router_stop(r);
		pthread_join(r->thread, NULL);
	}
	place_free(r->place);
	if (r->cfg.listen_fd >= 0)
		close(r->cfg.listen_fd);
	if (r->event_fd >= 0)
		close(r->event_fd);
	pthread_mutex_destroy(&r->lock);
	free(r->both);
	free(r->out);
	free(r->tail);
	free(r);
}

void router_get_stats(const struct router *r, struct router_stats *ret)
{
	uint64_t began = atomic_load(&r->began_ns), done = atomic_load(&r->complete_ns);
	uint64_t loaded = atomic_load(&r->loaded_ns);
	struct place *p = atomic_load(&r->place);

	*ret = (struct router_stats){
		.state = router_state(r),
		.nr_pages = r->g->nr_pages,
		.received_bytes = atomic_load(&r->received),
		.forwarded_bytes = atomic_load(&r->forwarded),
		.receive_ns = !began ? 0 : (done ? done : clock_ns()) - began,
		.downtime_ns = loaded && done ? loaded - done : 0,
	};
	if (p)
		place_get_stats(p, &ret->place);
}
