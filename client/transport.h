/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What brings an export into the kernel as a block device. One per scheme family;
 * the verbs see only this. Every call is the main thread's; every failure has been
 * said (client/say.h) when it returns, and has left nothing behind.
 */
#ifndef CLIENT_TRANSPORT_H
#define CLIENT_TRANSPORT_H

#include <stdbool.h>

#include "client/attachment.h"

/* What `memswap on` may be asked for; 0 and false mean: the transport's default. */
struct transport_options {
	unsigned int nr_io_queues;           /* nvme-tcp */
	unsigned int queue_size;             /* nvme-tcp, nbd */
	bool hdr_digest, data_digest;        /* nvme-tcp */
	unsigned int connections, timeout_s; /* nbd */
	const char *auth; /* iscsi: file of CHAP secrets; borrowed from argv */
	/* nvme-tcp: files of secrets; borrowed from argv. */
	const char *dhchap_secret_file, *dhchap_ctrl_secret_file;
	bool tls;                 /* nvme-tcp */
	bool concat;              /* nvme-tcp: the same, by a key of the login */
	const char *tls_key_file; /* nvme-tcp: NULL: a key that the kernel has */
};

enum transport_state {
	TRANSPORT_LIVE,
	TRANSPORT_CONNECTING, /* no server: I/O waits */
	TRANSPORT_DEAD,       /* the kernel's device is gone, or its I/O fails */
};
const char *transport_state_name(enum transport_state s);

struct transport_status {
	enum transport_state state;
	char detail[160]; /* for people: why not live, or what is not right; or empty */
	int keeper;       /* pid, 0: none */
	unsigned int live, connections; /* nbd */
	uint64_t reconnects;            /* nbd */
	char stat[128]; /* where the kernel counts its I/O; empty: nowhere */
};

struct transport {
	const char *name;
	/* Names options that mean nothing here, or NULL. */
	const char *(*misfit)(const struct transport_options *o);

	/*
	 * Makes the device and fills kdev, canonical, size_bytes and the transport's own
	 * fields of `a`. What can be under way to it is bounded (client/request_queue.h).
	 * Until `arm`, a vanishing server makes I/O fail.
	 */
	int (*connect)(struct attachment *a, const struct transport_options *o);

	/*
	 * From now on I/O waits for a server that is gone, and goes on when it is back.
	 * Also called for an attachment of an earlier run whose keeper has died.
	 */
	int (*arm)(struct attachment *a);

	/*
	 * Removes the device; I/O that waits fails. 0 too when there is none any more, or
	 * when its name belongs to something else now. When `a->kdev` isn't known, looks
	 * for what a connect that was cut short may have left.
	 */
	int (*disconnect)(struct attachment *a);

	void (*status)(const struct attachment *a, struct transport_status *ret);
};

extern const struct transport transport_nvme, transport_nbd, transport_iscsi;

const struct transport *transport_of(const struct url *u);

/* Another keeper where there should be one and it has died. 1: it has one again; 0: none is
 * missing; -errno, said. */
int transport_rearm(struct attachment *a);

#endif
