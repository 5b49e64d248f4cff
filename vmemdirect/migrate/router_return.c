/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The destination's return path in, the source's out, and the hand-over, which is what
 * is said on them in the end (handover.h); the router's thread.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "lib/clock.h"
#include "lib/fault.h"
#include "vmemdirect/migrate/router_priv.h"

#define CONFIRM_MS 30000

/* ---- to the source ---- */

int router_answer(struct router *r, uint16_t type, uint32_t value)
{
	const uint8_t m[8] = { (uint8_t)(type >> 8),
			       (uint8_t)type,
			       0,
			       4,
			       (uint8_t)(value >> 24),
			       (uint8_t)(value >> 16),
			       (uint8_t)(value >> 8),
			       (uint8_t)value };

	return router_send(r->source, m, sizeof(m)) < 0
		       ? router_broken(r, "the source has closed its connection")
		       : 0;
}

/* ---- the destination's return path ---- */

static int on_answer(struct router *r, unsigned int type, const uint8_t *body,
		     size_t len)
{
	if (type == RP_PONG)
		return 0;
	if (type == RP_SWITCHOVER_ACK && !len)
		return router_send(r->source, r->answer, 4);
	if (type != RP_SHUT || len != 4)
		return router_broken(r,
				     "the destination QEMU answers in an unknown way");
	if (body[0] | body[1] | body[2] | body[3])
		return router_broken(r, "the destination QEMU could not load the VM");
	if (router_state(r) != HANDOVER_LOADING)
		return router_broken(r, "the destination QEMU is ready too early");
	r->acknowledged = true;
	return 0;
}

int router_read_destination(struct router *r)
{
	ssize_t n = recv(r->destination, r->answer + r->answer_len,
			 sizeof(r->answer) - r->answer_len, 0);

	if (n < 0 && errno == EINTR)
		return 0;
	if (n <= 0)
		return router_broken(
			r, router_state(r) == HANDOVER_LOADING
				   ? "the destination QEMU could not load the "
				     "device state; its log says why"
				   : "the destination QEMU has ended");
	r->answer_len += (size_t)n;
	while (r->answer_len >= 4) {
		size_t len = (size_t)r->answer[2] << 8 | r->answer[3];

		if (len > ROUTER_ANSWER_MAX)
			return router_broken(r,
					     "the destination QEMU answers at length");
		if (r->answer_len < 4 + len)
			break;
		if (on_answer(r, (unsigned int)r->answer[0] << 8 | r->answer[1],
			      r->answer + 4, len) < 0)
			return -EPROTO;
		r->answer_len -= 4 + len;
		memmove(r->answer, r->answer + 4 + len, r->answer_len);
	}
	return 0;
}

/* ---- the hand-over ---- */

static void nap(void)
{
	const struct timespec t = { .tv_nsec = 2000000 };

	nanosleep(&t, NULL);
}

/*
 * The source has read the word if its kernel has acknowledged it and its connection
 * then ends in order: one that had given up reading before answers with a reset.
 */
static bool ended_in_order(struct router *r)
{
	uint64_t until = clock_ns() + CONFIRM_MS * UINT64_C(1000000);
	struct pollfd p = { .fd = r->source, .events = POLLIN };
	socklen_t len = sizeof(int);
	int unsent = 0, error = 0;
	uint8_t byte;

	if (poll(&p, 1, CONFIRM_MS) != 1 || recv(r->source, &byte, 1, 0) != 0)
		return false;
	while (!ioctl(r->source, SIOCOUTQ, &unsent) && unsent && clock_ns() < until)
		nap();
	if (getsockopt(r->source, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return false;
	return !unsent && !error;
}

static enum handover_event ask_source(struct router *r)
{
	bool in_order = ended_in_order(r);

	switch (r->cfg.ops.ask_source(r->cfg.ops.arg)) {
	case ROUTER_SOURCE_GAVE_UP:
		return HANDOVER_CONFIRMED;
	case ROUTER_SOURCE_KEEPS:
		return HANDOVER_REVOKED;
	case ROUTER_SOURCE_SILENT:
		break;
	}
	return in_order ? HANDOVER_CONFIRMED : HANDOVER_SILENCE;
}

static bool source_is_there(struct router *r)
{
	struct pollfd p = { .fd = r->source, .events = POLLIN };

	return poll(&p, 1, 0) == 0; /* it has nothing more to say, and is not gone */
}

void router_hand_over(struct router *r)
{
	const char *did = NULL;

	atomic_store(&r->loaded_ns, clock_ns());
	stream_tail_complete(r->tail, r->tail_len, &did);
	r->start = !r->cfg.stay_paused && (!did || !strcmp(did, "running"));
	router_move(r, HANDOVER_ACKNOWLEDGED);
	if (fault_point("router.loaded") < 0 || !source_is_there(r)) {
		router_broken(r, "the source has closed its connection");
		router_move(r, HANDOVER_BROKEN);
		return;
	}
	router_move(r, HANDOVER_TELL);
	router_answer(r, RP_SHUT, 0);
	router_move(r, ask_source(r));
	if (router_state(r) != HANDOVER_COMMITTED)
		return;
	if (!r->start || !r->cfg.ops.start_vm(r->cfg.ops.arg))
		router_move(r, HANDOVER_STARTED);
}
