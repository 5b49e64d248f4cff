/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a protocol is to the engine: a table of functions called on the worker that
 * owns the connection. A front end parses bytes and queues answers; sockets,
 * batching, spinning and time belong to conn and worker.
 */
#ifndef MEMSERVER_FRONT_H
#define MEMSERVER_FRONT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct conn;
struct door;

struct front {
	const char *name;  /* "nbd", "nvme": in logs, metrics, who */
	size_t state_size; /* bytes of front-end state per connection, zeroed */

	/* The connection is up; the front end may send. 0 or -errno (ends it). */
	int (*open)(struct conn *c);

	/*
	 * `len` > 0 bytes have arrived. Takes ONE message off the front and returns
	 * the bytes it used; 0 when the message is not whole (called again with more;
	 * never more than CONN_STASH bytes may be needed), or -errno: the peer broke
	 * the protocol (-EPROTO, already logged with conn_warn) or is done (-ESHUTDOWN,
	 * silent); the connection ends once what was queued before is sent.
	 *
	 * A message with a payload is taken as its header; the front end then says with
	 * conn_sink where the payload goes, and gets `sunk` when it is all there.
	 */
	ssize_t (*receive)(struct conn *c, const uint8_t *data, size_t len);
	int (*sunk)(struct conn *c); /* 0 or -errno as receive */

	/* May the next message be taken? false: wait until answers have been sent.
	 * Asked before every receive; a front end with no slot left says no. */
	_Bool (*ready)(struct conn *c);

	/*
	 * Asked for with conn_work_later: the next slice (a millisecond or so) of
	 * something long, a trim of gigabytes say. Other connections are served
	 * between slices. 0 or -errno as receive. NULL if never asked for.
	 */
	int (*work)(struct conn *c);

	/* About once a second: keep-alive, time-outs. 0 or -errno as receive. NULL ok. */
	int (*tick)(struct conn *c, uint64_t now_ns);

	/*
	 * The connection is going: release grips, references, slots. Every queued
	 * conn_tx has had its `sent` called (with the rest unsent). After it the state
	 * is freed.
	 */
	void (*close)(struct conn *c);
};

extern const struct front front_nbd;
extern const struct front front_nvme;
extern const struct front front_nvme_discovery; /* the port 8009 door */

#endif
