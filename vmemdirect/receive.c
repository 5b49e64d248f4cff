/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A configuration in, a VM that has migrated in out: QMP to both QEMUs, the sockets,
 * progress and summary around the router. Main thread, except the functions in
 * router_ops, which are the router's; what both touch is said at the field.
 */
#include "vmemdirect/receive.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "lib/addr.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/size.h"
#include "vmemdirect/find.h"
#include "vmemdirect/history/inbox.h"
#include "vmemdirect/migrate/router.h"
#include "vmemdirect/qmp.h"

#define PORT           4444
#define ASK_S          30    /* how long a source may take to end its migration */
#define START_MS       10000 /* how long the router waits for the VM to run */
#define START_LOOK_MS  5
#define PROGRESS_NS    UINT64_C(1000000000)
#define CONNECT_TRIES  500
#define CONNECT_NAP_NS 10000000

struct receive {
	struct vm *vm; /* main's, but for what the router's callbacks below use of it */
	struct router *router; /* owned */
	struct inbox *inbox;   /* owned; NULL: no --history */
	struct loop_fd watch;
	struct loop_timer progress;
	receive_end_fn end;
	void *arg;
	uint64_t last_bytes;
	bool ended;
	bool spoilt; /* the destination was given a part: it can do nothing else any more */
	char dir_socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

static void nap(long ns)
{
	const struct timespec t = { .tv_nsec = ns };

	nanosleep(&t, NULL);
}

/* The journal's, which is the router's until that has ended, and the order's then. */
static enum handover state_of(const struct receive *r)
{
	return (enum handover)atomic_load(&r->vm->table.header->handover);
}

/* ---- QMP ---- */

static json_object *one_capability(const char *name)
{
	json_object *cap = json_object_new_object(), *list = json_object_new_array(),
		    *o = json_object_new_object();

	json_object_object_add(cap, "capability", json_object_new_string(name));
	json_object_object_add(cap, "state", json_object_new_boolean(true));
	json_object_array_add(list, cap);
	json_object_object_add(o, "capabilities", list);
	return o;
}

static enum router_source ask(const char *source_qmp)
{
	char status[32];
	time_t until = time(NULL) + ASK_S;

	do {
		qmp_status(source_qmp, "query-migrate", status, sizeof(status));
		if (!status[0])
			return ROUTER_SOURCE_SILENT;
		if (!strcmp(status, "completed"))
			return ROUTER_SOURCE_GAVE_UP;
		if (!strcmp(status, "failed") || !strcmp(status, "cancelled"))
			return ROUTER_SOURCE_KEEPS;
		nap(20000000);
	} while (time(NULL) < until);
	return ROUTER_SOURCE_SILENT;
}

/* The destination's state before it is told to wait: only this one is a destination. */
static int check_waiting(const struct config *c)
{
	char status[32];

	qmp_status(c->qmp, "query-status", status, sizeof(status));
	if (!strcmp(status, "inmigrate") || !status[0])
		return 0; /* (whoever does not answer is complained about later) */
	log_err("%s: this QEMU does not wait for a migration (it is %s): start it with "
		"-incoming defer",
		c->qmp, status);
	return -EINVAL;
}

/* ---- what the router asks for, in its thread ---- */

static int connect_unix(const char *path, int *ret_fd)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	for (int i = 0; connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0; i++) {
		if (i == CONNECT_TRIES ||
		    (errno != ENOENT && errno != ECONNREFUSED && errno != EAGAIN))
			return -errno;
		nap(CONNECT_NAP_NS);
	}
	*ret_fd = take_fd(&fd);
	return 0;
}

static int listen_there(const struct receive *r, const char *uri)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "uri", json_object_new_string(uri));
	return qmp_once(r->vm->cfg.qmp, "migrate-incoming", o, NULL,
			"it takes no migration (-incoming defer?)");
}

static int open_by_socket(struct receive *r, int *ret_fd)
{
	char uri[sizeof(r->dir_socket) + 8];
	int e;

	snprintf(uri, sizeof(uri), "unix:%s", r->dir_socket);
	unlink(r->dir_socket);
	e = listen_there(r, uri);
	if (e < 0)
		return e;
	e = connect_unix(r->dir_socket, ret_fd);
	if (e < 0)
		vm_err(&r->vm->guest, "%s: %s", r->dir_socket, strerror(-e));
	unlink(r->dir_socket);
	return e;
}

/* The port that QEMU listens at: {"socket-address": [{"port": "49152", ...}]}. */
static int incoming_port(const char *qmp, in_port_t *ret)
{
	json_object *o = NULL, *list, *port;
	int n = 0;

	qmp_once(qmp, "query-migrate", NULL, &o, "its port is not known");
	if (o && json_object_object_get_ex(o, "socket-address", &list) &&
	    json_object_is_type(list, json_type_array) &&
	    json_object_array_length(list) &&
	    json_object_object_get_ex(json_object_array_get_idx(list, 0), "port",
				      &port))
		n = atoi(json_object_get_string(port));
	json_object_put(o);
	*ret = htons((in_port_t)n);
	return n > 0 && n <= UINT16_MAX ? 0 : -EPROTO;
}

static int open_by_port(struct receive *r, int *ret_fd)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int e = fd < 0 ? -errno : listen_there(r, "tcp:127.0.0.1:0");

	if (!e)
		e = incoming_port(r->vm->cfg.qmp, &addr.sin_port);
	if (!e && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		e = -errno;
	if (e < 0)
		vm_err(&r->vm->guest, "no connection to QEMU: %s", strerror(-e));
	else
		*ret_fd = take_fd(&fd);
	return e;
}

/* One of another user's, as libvirt's are, cannot make a socket in our folder. */
static bool is_ours(pid_t pid)
{
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	return stat(path, &st) < 0 || st.st_uid == geteuid();
}

static int open_destination(void *arg, int *ret_fd)
{
	struct receive *r = arg;
	/* While it waits, "stop" means: do not start by yourself afterwards. */
	int e = qmp_once(r->vm->cfg.qmp, "stop", NULL, NULL,
			 "it cannot be told not to start");

	if (e < 0)
		return e;
	return is_ours(r->vm->guest.pid) ? open_by_socket(r, ret_fd)
					 : open_by_port(r, ret_fd);
}

static uint8_t *history(void *arg, uint32_t *ret_samples)
{
	struct receive *r = arg;
	uint8_t *ages = NULL;

	if (r->inbox)
		inbox_take(r->inbox, &ages, ret_samples);
	return ages;
}

static int memory_complete(void *arg)
{
	struct receive *r = arg;

	return vm_start(r->vm);
}

static void moved(void *arg, enum handover state, bool start)
{
	struct receive *r = arg;

	atomic_store(&r->vm->table.header->start_vm, start);
	atomic_store(&r->vm->table.header->handover, (uint32_t)state);
}

static enum router_source ask_source(void *arg)
{
	struct receive *r = arg;
	const char *path = r->vm->cfg.source_qmp;

	return *path ? ask(path) : ROUTER_SOURCE_SILENT;
}

/* The order tells QEMU until the VM runs; most often that is at once. */
static int start_vm(void *arg)
{
	struct receive *r = arg;
	struct pollfd gone = { .fd = r->vm->guest.pidfd, .events = POLLIN };
	int64_t until = clock_ms() + START_MS;

	order_start(&r->vm->order);
	while (state_of(r) != HANDOVER_DONE)
		if (clock_ms() > until || poll(&gone, 1, START_LOOK_MS) > 0)
			return -ETIMEDOUT;
	return 0;
}

/* ---- progress and summary ---- */

static void put(json_object *o, const char *key, uint64_t n)
{
	json_object_object_add(o, key, json_object_new_uint64(n));
}

static json_object *history_status(const struct place_stats *p)
{
	json_object *o = json_object_new_object(), *bins = json_object_new_array();

	put(o, "samples", p->samples);
	put(o, "threshold", p->rule.score);
	put(o, "ram_pages", p->history_ram);
	put(o, "tier_pages", p->history_tier);
	for (unsigned int i = 0; i < 256; i++)
		json_object_array_add(bins,
				      json_object_new_uint64(p->rule.histogram[i]));
	json_object_object_add(o, "histogram", bins);
	return o;
}

json_object *receive_status(const struct receive *r)
{
	json_object *o = json_object_new_object();
	enum handover state = state_of(r);
	bool started =
		state == HANDOVER_DONE && atomic_load(&r->vm->table.header->start_vm);
	struct router_stats s;

	router_get_stats(r->router, &s);
	json_object_object_add(o, "state",
			       json_object_new_string(handover_name(state)));
	put(o, "memory_pages", s.nr_pages);
	put(o, "seen_pages", s.place.seen);
	put(o, "ram_pages", s.place.to_ram);
	put(o, "tier_pages", s.place.to_tier);
	put(o, "zero_pages", s.place.zero);
	put(o, "again_pages", s.place.again);
	put(o, "promoted_pages", s.place.promoted);
	put(o, "again_tier_pages", s.place.again_on_tier);
	put(o, "in_ram_pages", s.place.in_ram);
	put(o, "tier_writes", s.place.tier_writes);
	json_object_object_add(o, "history",
			       s.place.by_history ? history_status(&s.place) : NULL);
	json_object_object_add(
		o, "watched",
		json_object_new_boolean(r->inbox && inbox_has_watcher(r->inbox)));
	put(o, "received_bytes", s.received_bytes);
	put(o, "forwarded_bytes", s.forwarded_bytes);
	put(o, "memory_ms", s.receive_ns / 1000000);
	put(o, "load_ms", s.downtime_ns / 1000000);
	json_object_object_add(o, "started", json_object_new_boolean(started));
	return o;
}

static const char *pages(uint64_t n, char *buf)
{
	return size_format(n << GUEST_PAGE_SHIFT, buf, SIZE_FORMAT_MAX);
}

static void on_progress(void *arg)
{
	struct receive *r = arg;
	char ram[SIZE_FORMAT_MAX], tier[SIZE_FORMAT_MAX], zero[SIZE_FORMAT_MAX];
	struct router_stats s;
	uint64_t rate;

	router_get_stats(r->router, &s);
	if (s.state != HANDOVER_RECEIVING)
		return;
	rate = s.received_bytes - r->last_bytes;
	r->last_bytes = s.received_bytes;
	vm_info(&r->vm->guest,
		"migration: %" PRIu64 " %% seen; %s to RAM, %s to the tier, %s zero; "
		"%.0f MB/s, about %" PRIu64 " s left",
		s.place.seen * 100 / s.nr_pages, pages(s.place.to_ram, ram),
		pages(s.place.to_tier, tier), pages(s.place.zero, zero),
		(double)rate / 1e6,
		s.place.seen ? (s.nr_pages - s.place.seen) * s.receive_ns /
				       s.place.seen / 1000000000
			     : 0);
}

static void summary(const struct receive *r)
{
	char ram[SIZE_FORMAT_MAX], tier[SIZE_FORMAT_MAX], zero[SIZE_FORMAT_MAX],
		again[SIZE_FORMAT_MAX], in[SIZE_FORMAT_MAX];
	struct router_stats s;
	json_object *o;

	router_get_stats(r->router, &s);
	vm_note(&r->vm->guest,
		"migrated: %s received in %.2f s (%.0f MB/s), device state in %.0f ms; "
		"%s to RAM, %s to the tier in %" PRIu64 " writes, %s zero; %s of it "
		"sent again",
		size_format(s.received_bytes, in, sizeof(in)),
		(double)s.receive_ns / 1e9,
		s.receive_ns ? (double)s.received_bytes * 1e3 / (double)s.receive_ns
			     : 0.0,
		(double)s.downtime_ns / 1e6, pages(s.place.to_ram, ram),
		pages(s.place.to_tier, tier), s.place.tier_writes,
		pages(s.place.zero, zero), pages(s.place.again, again));
	if (s.place.by_history)
		vm_note(&r->vm->guest,
			"by access history (%u samples, threshold %u): %s to RAM, %s "
			"to "
			"the tier",
			s.place.samples, s.place.rule.score,
			pages(s.place.history_ram, ram),
			pages(s.place.history_tier, tier));
	if (!r->vm->cfg.json)
		return;
	o = receive_status(r);
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
	fflush(stdout);
	json_object_put(o);
}

static void say_unclear(const struct vm *v)
{
	vm_err(&v->guest,
	       "the source was told that the VM is here, but does not say that it gave "
	       "it up: the VM stays paused here. If the source's \"info migrate\" says "
	       "completed: cont here. Otherwise end this QEMU");
}

static void on_end(void *arg, uint32_t events)
{
	struct receive *r = arg;
	struct router_stats s;

	loop_fd_del(&r->watch);
	loop_timer_set(&r->progress, 0, 0);
	router_get_stats(r->router, &s);
	r->ended = true;
	if (s.state == HANDOVER_COMMITTED)
		vm_err(&r->vm->guest,
		       "the VM is here, the source has given it up, but QEMU does not "
		       "let it go on: it is told until it does");
	if (s.state == HANDOVER_DONE || s.state == HANDOVER_COMMITTED)
		summary(r);
	if (s.state == HANDOVER_UNCLEAR)
		say_unclear(r->vm);
	r->spoilt = s.state == HANDOVER_FAILED && s.forwarded_bytes;
	r->end(r->arg, s.state != HANDOVER_FAILED);
}

/* ---- life ---- */

/* `option` and `what` are for the log. */
static int listen_at(const char *option, const char *text, const char *what,
		     int *ret_fd)
{
	_cleanup_close_ int fd = -1;
	char shown[ADDR_TEXT_MAX];
	struct addr a;
	int one = 1, r;

	/* QEMU's way to say "any address". */
	if (!strncmp(text, "0:", 2)) {
		char any[64];

		snprintf(any, sizeof(any), "0.0.0.0:%s", text + 2);
		r = addr_parse(any, PORT, &a);
	} else {
		r = addr_parse(text, PORT, &a);
	}
	if (r < 0) {
		log_err("%s %s: not an address (HOST:PORT, numbers)", option, text);
		return r;
	}
	fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, &a.sa, a.len) < 0 || listen(fd, 4) < 0) {
		r = -errno;
		log_err("%s %s: %s", option, text, strerror(-r));
		return r;
	}
	a.len = sizeof(a.storage);
	getsockname(fd, &a.sa, &a.len);
	log_note("waiting for %s at %s", what,
		 addr_format(&a.sa, shown, sizeof(shown)));
	*ret_fd = take_fd(&fd);
	return 0;
}

static int open_inbox(struct receive *r, const struct router_cfg *router)
{
	struct vm *v = r->vm;
	struct inbox_cfg cfg = { .listen_fd = -1 };
	int e = listen_at("--history", v->cfg.history, "an access history",
			  &cfg.listen_fd);

	if (e < 0)
		return e;
	memcpy(cfg.source_name, router->source_name, sizeof(cfg.source_name));
	find_uuid(v->cfg.qmp, cfg.uuid);
	e = inbox_open(&cfg, &v->guest, &r->inbox);
	if (e < 0) {
		close(cfg.listen_fd);
		vm_err(&v->guest, "--history: %s", strerror(-e));
	}
	return e;
}

static int start(struct receive *r, struct loop *l)
{
	struct vm *v = r->vm;
	struct router_cfg cfg = {
		.limit_pages = v->cfg.ram_bytes >> GUEST_PAGE_SHIFT,
		.stay_paused = v->cfg.stay_paused,
		.history_chunk = v->cfg.history_chunk,
		.ops = { open_destination, history, memory_complete, moved, ask_source,
			 start_vm, r },
	};
	int e;

	for (unsigned int i = 0; i < v->cfg.nr_source_memdevs; i++)
		for (unsigned int k = 0; k < v->guest.nr_blocks; k++)
			if (!strcmp(v->guest.block[k].name, v->cfg.memdev[i]))
				cfg.source_name[k] = v->cfg.source_memdev[i];
	if ((size_t)snprintf(r->dir_socket, sizeof(r->dir_socket), "%s/incoming",
			     v->dir) >= sizeof(r->dir_socket)) {
		vm_err(&v->guest, "--state %s: too long for a socket's path",
		       v->cfg.state_dir);
		return -ENAMETOOLONG;
	}
	if (v->cfg.source_qmp[0]) {
		e = qmp_once(v->cfg.source_qmp, "migrate-set-capabilities",
			     one_capability("return-path"), NULL,
			     "return-path cannot be turned on");
		if (e < 0)
			return e;
	}
	e = v->cfg.history[0] ? open_inbox(r, &cfg) : 0;
	if (!e)
		e = listen_at("--listen", v->cfg.listen, "a migration", &cfg.listen_fd);
	if (e < 0)
		return e;
	e = router_start(&cfg, &v->guest, &v->table, v->tier, &r->router);
	if (e < 0) {
		close(cfg.listen_fd);
		vm_err(&v->guest, "the router does not start: %s", strerror(-e));
		return e;
	}
	v->receive = r;
	e = loop_fd_add(l, &r->watch, router_event_fd(r->router), EPOLLIN, on_end, r);
	if (!e)
		e = loop_timer_init(l, &r->progress, on_progress, r);
	if (!e)
		loop_timer_set(&r->progress, PROGRESS_NS, PROGRESS_NS);
	return e;
}

int receive_open(const struct config *cfg, struct loop *l, struct vm *v,
		 receive_end_fn end, void *arg, struct receive **ret)
{
	struct receive *r = calloc(1, sizeof(*r));
	int e;

	if (!r)
		return -ENOMEM;
	r->vm = v;
	r->end = end;
	r->arg = arg;
	e = check_waiting(cfg);
	if (!e)
		e = vm_open(cfg, v);
	if (e < 0) {
		free(r);
		return e;
	}
	e = start(r, l);
	if (e < 0) {
		receive_close(r);
		vm_close(v);
		rmdir(v->dir);
		return e;
	}
	*ret = r;
	return 0;
}

void receive_stop(struct receive *r)
{
	if (r->inbox)
		inbox_cancel(r->inbox);
	router_stop(r->router);
}

void receive_destination_gone(struct receive *r)
{
	struct router_stats s;

	router_get_stats(r->router, &s);
	if (s.state > HANDOVER_OPENING)
		return; /* the router's connection to it ends */
	vm_err(&r->vm->guest, "the destination QEMU has ended");
	router_stop(r->router);
}

bool receive_done(const struct receive *r)
{
	struct router_stats s;

	router_get_stats(r->router, &s);
	return s.state == HANDOVER_COMMITTED || s.state == HANDOVER_DONE ||
	       s.state == HANDOVER_UNCLEAR;
}

void receive_close(struct receive *r)
{
	if (!r)
		return;
	loop_fd_del(&r->watch);
	loop_timer_fini(&r->progress);
	if (r->inbox)
		inbox_cancel(r->inbox);
	router_free(r->router);
	inbox_close(r->inbox);
	if (r->spoilt)
		qmp_once(r->vm->cfg.qmp, "quit", NULL, NULL, NULL);
	r->vm->receive = NULL;
	if (r->dir_socket[0])
		unlink(r->dir_socket);
	free(r);
}

void receive_resume(struct vm *v)
{
	struct page_header *h = v->table.header;
	enum router_source says = ROUTER_SOURCE_GAVE_UP;
	enum handover at = (enum handover)atomic_load(&h->handover);

	if (at != HANDOVER_COMMITTING && at != HANDOVER_COMMITTED &&
	    at != HANDOVER_UNCLEAR)
		return;
	if (at != HANDOVER_COMMITTED)
		says = v->cfg.source_qmp[0] ? ask(v->cfg.source_qmp)
					    : ROUTER_SOURCE_SILENT;
	if (says == ROUTER_SOURCE_SILENT) {
		say_unclear(v);
		return;
	}
	if (says == ROUTER_SOURCE_KEEPS) {
		vm_err(&v->guest, "the source has kept the VM: ending the QEMU here");
		atomic_store(&h->handover, HANDOVER_FAILED);
		qmp_once(v->cfg.qmp, "quit", NULL, NULL, "it does not end");
		return;
	}
	vm_note(&v->guest, "the source has given the VM up: it is here");
	atomic_store(&h->handover,
		     atomic_load(&h->start_vm) ? HANDOVER_COMMITTED : HANDOVER_DONE);
	order_start(&v->order);
}
