/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a connection is made of, for the engine: conn*.c, worker.c, door.c.
 * Front ends see conn.h.
 */
#ifndef MEMSERVER_CONN_PRIV_H
#define MEMSERVER_CONN_PRIV_H

#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "lib/list.h"
#include "memserver/clients.h"
#include "memserver/conn.h"
#include "memserver/conns.h"
#include "memserver/front.h"
#include "memserver/handshake.h"
#include "memserver/worker.h"

/* A worker's receive buffer: 62 writes of 4 KiB in one recv, and within the L2. */
#define RX_BUFFER (256u << 10)
/* One sendmsg: enough for 128 reads of 4 KiB with their headers. */
#define TX_IOVECS 512
#define TX_HEADS  (32u << 10)
#define NR_HOT    4

struct worker {
	struct engine *engine;
	unsigned int id;
	pthread_t thread;
	bool started;
	int epfd, wakefd; /* owned */
	_Atomic bool stop, poked;
	_Atomic unsigned int nr_conns;
	uint64_t now, next_tick; /* ns */
	uint64_t next_resume;    /* when to look at `paused`; UINT64_MAX: never */

	pthread_mutex_t inbox_lock;
	struct list inbox;  /* accepted, not yet ours; under inbox_lock */
	struct list conns;  /* ours */
	struct list busy;   /* connections with work to go on with */
	struct list paused; /* connections over a limit, longest first */
	/* The sockets worth polling, most recent first; NULL at the end. */
	struct conn *hot[NR_HOT];

	uint8_t *rx;    /* RX_BUFFER bytes */
	uint8_t *heads; /* TX_HEADS bytes: small pieces of one send */
	struct iovec iov[TX_IOVECS];
};

enum conn_phase {
	CONN_OPEN,
	CONN_DRAIN,  /* no more input; what is queued is being sent */
	CONN_LINGER, /* all sent, our side shut; waiting for the peer's end */
	CONN_DEAD,   /* to be freed */
};

struct conn {
	struct list link;              /* in worker->conns or the inbox */
	struct list busy;              /* in worker->busy, or alone */
	struct list reg;               /* in the register, under its lock */
	struct list paused;            /* in worker->paused, or alone */
	uint64_t paused_ns, resume_ns; /* since when, and until when at least */
	struct engine *engine;
	struct worker *worker;
	const struct front *front;
	struct log_limit *limit; /* borrowed: the door's */
	struct client *who;      /* counted */
	bool limited;            /* conn_limit */
	uint64_t id, since_ns;
	int fd;
	enum conn_phase phase;
	uint64_t deadline; /* handshake, drain and linger; 0: none */
	bool welcome;
	_Atomic bool poke;

	bool is_unix;
	struct tls_session *tls;      /* owned; NULL: plain */
	struct tls_session *tls_next; /* owned: begins when all that is plain is sent */
	bool tls_begun; /* ... by bytes that have arrived; its keys are the front end's */
	bool shaking;   /* tls and fd are the handshake thread's */
	struct handshake handshake; /* while shaking */

	/* The sink: where the next bytes of the stream go. */
	uint8_t *sink; /* NULL with sink_len: nowhere */
	size_t sink_len;

	/* What arrived and could not be taken yet; touched only then. */
	uint8_t *stash; /* RX_BUFFER bytes of addresses, owned */
	uint32_t stash_len;
	bool blocked; /* the front end was not ready */

	struct conn_tx *tx_head, **tx_tail;
	bool want_out;  /* there is more to send than the socket takes */
	bool eof;       /* the peer sends no more */
	uint32_t armed; /* EPOLL* bits epoll has */

	char tls_how[64]; /* "TLSv1.3 …" once encrypted; under the register's lock */
	struct export *export; /* borrowed from the front end, see conn_bind */
	bool owns;             /* export_own said so */
	char peer[112], client[224];
	struct io_stats stats;
	uint8_t state[] __attribute__((aligned(8))); /* no more: a list walks past it */
};

/* Takes over fd on success. The peer's address is already checked. */
int conn_new(struct engine *g, const struct front *front, int fd, const char *peer,
	     struct log_limit *limit, struct conn **ret);

/* On the worker: it is ours now. */
void conn_start(struct conn *c);

/*
 * After this errno of a send or receive it is tried again when epoll says so. A host
 * that is short of memory for a moment is no reason to take a guest's swap away.
 */
static inline bool conn_may_retry(int error)
{
	return error == EAGAIN || error == EINTR || error == ENOMEM || error == ENOBUFS;
}

/* On the worker: reads and handles once. True when there was something. */
bool conn_input(struct conn *c);

/* On the worker: something happened to its socket (EPOLL* bits). */
void conn_event(struct conn *c, uint32_t events);

/* On the worker, about once a second and when poked. */
void conn_tick(struct conn *c);

/* On the worker: one slice of what front->work has to do. */
void conn_work(struct conn *c);

/* conn_caps.c, on the worker: must it wait for a limit? Then it is on worker->paused. */
bool conn_is_held(struct conn *c);

/* conn_caps.c, on the worker: it has waited, or is ending. */
void conn_unpause(struct conn *c);

/* conn_caps.c, on the worker: lets those go on whose time has come. */
void conn_resume_due(struct worker *w);

/* On the worker: answers go out, which may free what input was waiting for. */
void conn_settle(struct conn *c);

/* On the worker: frees it if it is dead. True if it was. */
bool conn_reap(struct conn *c);

/* On the worker: ends it now, whatever is queued. */
void conn_abort(struct conn *c);

/* conn_tx.c, on the worker: sends what is queued until the socket is full; then, or
 * when input is blocked, tells epoll what to look for. */
void conn_output(struct conn *c);
void conn_rearm(struct conn *c);

/* conn_tls.c, on the worker: as recvmsg and sendmsg with MSG_DONTWAIT, encrypted or not. */
ssize_t conn_recvmsg(struct conn *c, const struct msghdr *m);
ssize_t conn_sendmsg(struct conn *c, const struct msghdr *m);

/* conn_tls.c, on the worker: gives the connection to the handshake thread; takes it
 * back if that is through with it (true: it was). */
void conn_shake(struct conn *c);
bool conn_shaken(struct conn *c);

/* conn_tls.c, on the worker: no bytes of this connection are left to be sent. */
bool conn_all_sent(struct conn *c);

/* conn_tls.c, on the worker: our goodbye, if it is encrypted. */
void conn_bye(struct conn *c);

/* Any thread: has the owner look at c->poke soon. */
void worker_wake(struct worker *w);

#endif
