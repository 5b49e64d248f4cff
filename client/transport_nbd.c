/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NBD: memswap negotiates, the kernel's driver gets the sockets, a keeper replaces
 * those that die. In comes an attachment with a URL, out comes its block device. Main
 * thread.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/file.h"
#include "client/keeper.h"
#include "client/modprobe.h"
#include "client/nbd_dial.h"
#include "client/nbd_netlink.h"
#include "client/request_queue.h"
#include "client/resolve.h"
#include "client/say.h"
#include "client/state.h"
#include "client/transport.h"
#include "lib/proto/nbd.h"

#define BLOCK_BYTES 4096u

#define DIAL_TIMEOUT_MS 10000

/*
 * Requests that were under way when a server died are sent again when they are this
 * old, so an outage costs up to this much more than it lasts. A server that takes
 * longer to answer is treated as dead, which does no harm but to speed.
 */
#define TIMEOUT_DEFAULT_S 10

/* Between connect and arm in the same run: what the keeper will inherit. */
static struct {
	struct nbd_dial dial;
	struct nbd_netlink_device device;
	int fds[NBD_NETLINK_SOCKETS_MAX];
	size_t nr;
} fresh;

static const char *nbd_misfit(const struct transport_options *o)
{
	if (o->nr_io_queues)
		return "--nr-io-queues";
	if (o->hdr_digest)
		return "--hdr-digest";
	if (o->auth)
		return "--auth";
	if (o->dhchap_secret_file)
		return "--dhchap-secret-file";
	if (o->dhchap_ctrl_secret_file)
		return "--dhchap-ctrl-secret-file";
	if (o->concat)
		return "--concat";
	if (o->tls)
		return o->tls_key_file ? "--tls-key-file" : "--tls";
	return o->data_digest ? "--data-digest" : NULL;
}

static void close_fresh(void)
{
	for (size_t i = 0; i < fresh.nr; i++)
		close(fresh.fds[i]);
	fresh.nr = 0;
}

static int open_netlink(struct nbd_netlink *nl)
{
	int r = nbd_netlink_open(nl);

	if (r == -ENOENT) {
		/* No partitions: nobody should look for them in swapped memory. */
		r = modprobe_load("nbd", "max_part=0");
		if (r)
			return r;
		r = nbd_netlink_open(nl);
	}
	if (r)
		say_error("can't talk to the kernel's nbd driver: %s", strerror(-r));
	return r;
}

struct offer {
	char names[400]; /* comma-separated, for people */
};

static void add_offer(void *arg, const char *name, size_t len)
{
	struct offer *o = arg;
	size_t n = strlen(o->names);

	snprintf(o->names + n, sizeof(o->names) - n, "%s%.*s", n ? ", " : "",
		 len > 80 ? 80 : (int)len, name);
	for (char *p = o->names + n; *p; p++)
		if (*p < ' ' || *p == 0x7f)
			*p = '?';
}

static void say_unknown(const char *url, struct nbd_handshake *h, int fd)
{
	struct offer offer = { .names = "" };
	int r = -ENOTCONN;

	h->found = add_offer;
	h->found_arg = &offer;
	if (fd >= 0)
		r = nbd_dial_list(&fresh.dial, h, fd);
	h->found = NULL;
	h->found_arg = NULL;
	if (r)
		say_error("%s: the server has no such export", url);
	else
		say_error("%s: the server has no such export; it has: %s", url,
			  offer.names[0] ? offer.names : "none");
}

/* The server answered, and refused. */
static void say_refused(const char *url, struct nbd_handshake *h, int r, int fd)
{
	const char *words = h->refusal_text;
	const char *colon = words[0] ? ": " : "";

	switch (-r) {
	case ENOENT:
		say_unknown(url, h, fd);
		return;
	case EACCES:
		say_error("%s: the server doesn't allow this host (memserver "
			  "--allow)%s%s",
			  url, colon, words);
		return;
	case ENOKEY:
		say_error("%s: the server insists on TLS, which memswap doesn't speak "
			  "yet%s%s",
			  url, colon, words);
		return;
	case ESHUTDOWN:
		say_error("%s: the server is shutting down%s%s", url, colon, words);
		return;
	default:
		say_error("%s: the server refused (0x%08" PRIx32 ")%s%s", url,
			  h->refusal, colon, words);
	}
}

static void say_failed(const struct url *u, const char *url, int r)
{
	switch (-r) {
	case ECONNREFUSED:
	case ENOENT:
		if (u->scheme == URL_NBD_UNIX)
			say_error("%s: nobody listens at %s (%s)", url, u->socket,
				  strerror(-r));
		else
			say_error(
				"%s: nobody listens there: is memserver running, with "
				"--nbd ADDR:%u (it serves loopback only by default)?",
				url, u->port);
		return;
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case ENETUNREACH:
		say_error(
			"%s: can't be reached (%s): check address, route and firewall",
			url, strerror(-r));
		return;
	case EPROTO:
		say_error("%s: what answers there doesn't speak NBD", url);
		return;
	case EOPNOTSUPP:
		say_error("%s: the server speaks only the NBD negotiation of before "
			  "2016; "
			  "memswap needs NBD_OPT_GO",
			  url);
		return;
	case ECONNRESET:
		say_error(
			"%s: the server closed the connection: does it allow this host "
			"(memserver --allow)?",
			url);
		return;
	default:
		say_error("%s: %s", url, strerror(-r));
	}
}

/* The first connection: tries every address, learns what the export is. */
static int dial_first(const struct attachment *a, struct nbd_handshake *h)
{
	struct nbd_address to[RESOLVE_MAX];
	char url[URL_TEXT_MAX + 1];
	int n = resolve_url(&a->url, to), r = -EHOSTUNREACH, fd = -1, left = -1;

	if (n < 0)
		return n;
	url_format(&a->url, url);
	memset(&fresh.dial, 0, sizeof(fresh.dial));
	strcpy(fresh.dial.name, a->url.name);
	fresh.dial.timeout_ms = DIAL_TIMEOUT_MS;
	h->refusal = 0;
	for (int i = 0; i < n && r && !h->refusal; i++) {
		fresh.dial.address = to[i];
		r = nbd_dial_go(&fresh.dial, h, &fd, &left);
	}
	if (!r) {
		fresh.fds[fresh.nr++] = fd;
		return 0;
	}
	if (h->refusal)
		say_refused(url, h, r, left);
	else
		say_failed(&a->url, url, r);
	if (left >= 0)
		close(left);
	return r;
}

static int check_export(const char *url, const struct nbd_export_info *i)
{
	if (i->flags & NBD_FLAG_READ_ONLY) {
		say_error("%s is read-only: nothing can swap on it", url);
		return -EROFS;
	}
	if (i->block_min > BLOCK_BYTES) {
		say_error("%s wants blocks of at least %" PRIu32
			  " bytes, swap writes %u",
			  url, i->block_min, BLOCK_BYTES);
		return -EOPNOTSUPP;
	}
	if (i->size_bytes < BLOCK_BYTES || i->size_bytes > INT64_MAX) {
		say_error("%s has a size of %" PRIu64 " bytes", url, i->size_bytes);
		return -EINVAL;
	}
	return 0;
}

static unsigned int choose_connections(const struct transport_options *o,
				       uint16_t flags)
{
	unsigned int n = o->connections;

	if (!n)
		n = request_queues(sysconf(_SC_NPROCESSORS_ONLN));
	if (n > 1 && !(flags & NBD_FLAG_CAN_MULTI_CONN)) {
		if (o->connections)
			say_warning("the server takes one connection only");
		return 1;
	}
	return n;
}

static int dial_others(const char *url, unsigned int connections,
		       const struct nbd_export_info *first)
{
	struct nbd_handshake h = { .found = NULL };

	while (fresh.nr < connections) {
		int fd = -1;
		int r = nbd_dial_go(&fresh.dial, &h, &fd, NULL);

		if (!r && (h.info.size_bytes != first->size_bytes ||
			   h.info.flags != first->flags)) {
			close(fd);
			r = -ESTALE;
		}
		if (r) {
			say_error("%s: connection %zu of %u: %s", url, fresh.nr + 1,
				  connections, strerror(-r));
			return r;
		}
		fresh.fds[fresh.nr++] = fd;
	}
	return 0;
}

static void backend_name(const struct attachment *a, char buf[64])
{
	snprintf(buf, 64, "memswap %s", a->uuid);
}

static int make_device(struct attachment *a, const struct nbd_export_info *i)
{
	static char backend[64]; /* outlives the call: the keeper inherits it */
	struct nbd_netlink nl;
	uint32_t index;
	int r;

	backend_name(a, backend);
	fresh.device = (struct nbd_netlink_device){
		.size_bytes = i->size_bytes / BLOCK_BYTES * BLOCK_BYTES,
		.block_bytes = BLOCK_BYTES,
		.server_flags = i->flags,
		.timeout_s = a->timeout_s,
		.dead_timeout_s = 0, /* until it is armed */
		.backend = backend,
		.fds = fresh.fds,
		.nr_fds = fresh.nr,
	};
	r = open_netlink(&nl);
	if (r)
		return r;
	r = nbd_netlink_connect(&nl, &fresh.device, &index);
	nbd_netlink_close(&nl);
	if (r) {
		say_error("the kernel doesn't make an nbd device: %s", strerror(-r));
		return r;
	}
	snprintf(a->kdev, sizeof(a->kdev), "nbd%" PRIu32, index);
	a->size_bytes = fresh.device.size_bytes;
	return 0;
}

/* The driver always makes 128 requests; its scheduler hands out so many of them. */
static void bound(const struct attachment *a, const struct transport_options *o)
{
	char disk[64];

	snprintf(disk, sizeof(disk), "/sys/block/%s", a->kdev);
	request_queue_bound(disk);
	request_queue_resize(disk, o->queue_size ? o->queue_size : REQUEST_QUEUE_SIZE);
}

static int nbd_connect(struct attachment *a, const struct transport_options *o)
{
	struct nbd_handshake h = { .found = NULL };
	char url[URL_TEXT_MAX + 1];
	struct nbd_netlink nl;
	int r = open_netlink(&nl);

	if (r)
		return r;
	nbd_netlink_close(&nl);
	url_format(&a->url, url);
	say_step("connecting to %s", url);
	fresh.nr = 0;
	r = dial_first(a, &h);
	if (!r)
		r = check_export(url, &h.info);
	if (!r) {
		struct nbd_export_info first = h.info;

		/* From here on only to the very bytes that answered first. */
		strcpy(a->canonical, first.name);
		strcpy(fresh.dial.name, first.name);
		a->connections = choose_connections(o, first.flags);
		a->timeout_s = o->timeout_s ? o->timeout_s : TIMEOUT_DEFAULT_S;
		r = dial_others(url, a->connections, &first);
		if (!r)
			r = make_device(a, &first);
	}
	if (r)
		close_fresh();
	else
		bound(a, o);
	return r;
}

/* The N of "nbdN" if the device is the one that this attachment made; else -ENOENT. */
static int find_device(const struct attachment *a, uint32_t *ret_index)
{
	char want[64], text[64];

	backend_name(a, want);
	if (a->kdev[0]) {
		if (sscanf(a->kdev, "nbd%" SCNu32, ret_index) != 1 ||
		    file_read(text, sizeof(text), "/sys/block/%s/backend", a->kdev) <
			    0 ||
		    strcmp(text, want))
			return -ENOENT;
		return 0;
	}
	for (uint32_t i = 0; i < 1024; i++) {
		int r = file_read(text, sizeof(text),
				  "/sys/block/nbd%" PRIu32 "/backend", i);

		if (r > 0 && !strcmp(text, want)) {
			*ret_index = i;
			return 0;
		}
	}
	return -ENOENT;
}

/* The keeper of an earlier run has died: a new one, which doesn't have the sockets. */
static int prepare_again(const struct attachment *a, struct keeper_job *job)
{
	struct nbd_address to[RESOLVE_MAX];
	static char backend[64];
	int n = resolve_url(&a->url, to);

	if (n < 0)
		return n;
	backend_name(a, backend);
	job->dial =
		(struct nbd_dial){ .address = to[0], .timeout_ms = DIAL_TIMEOUT_MS };
	strcpy(job->dial.name, a->canonical);
	job->device = (struct nbd_netlink_device){
		.size_bytes = a->size_bytes,
		.block_bytes = BLOCK_BYTES,
		.timeout_s = a->timeout_s,
		.backend = backend,
	};
	return 0;
}

static int nbd_arm(struct attachment *a)
{
	char page[512];
	struct keeper_job job = { .connections = a->connections };
	struct nbd_netlink nl;
	int r = find_device(a, &job.index);

	if (r) {
		say_error("the kernel no longer has the device %s", a->kdev);
		return r;
	}
	memcpy(job.swap_uuid, a->swap_uuid, sizeof(job.swap_uuid));
	job.page_path = state_path(&a->url, "keeper", page, sizeof(page));
	if (fresh.nr) {
		job.dial = fresh.dial;
		job.device = fresh.device;
	} else {
		r = prepare_again(a, &job);
		if (r)
			return r;
	}
	r = keeper_start(&job);
	close_fresh();
	if (r) {
		say_error("the keeper of %s can't start: %s%s", a->kdev, strerror(-r),
			  r == -ENOMEM || r == -EAGAIN ? " (ulimit -l?)" : "");
		return r;
	}
	r = open_netlink(&nl);
	if (r)
		return r;
	r = nbd_netlink_set_dead_timeout(&nl, job.index, job.device.backend,
					 NBD_NETLINK_FOREVER_S);
	nbd_netlink_close(&nl);
	if (r)
		say_error("can't make %s wait for its server: %s", a->kdev,
			  strerror(-r));
	return r;
}

static int nbd_disconnect(struct attachment *a)
{
	struct nbd_netlink nl;
	char page[512];
	uint32_t index;
	int r;

	close_fresh();
	r = keeper_stop(state_path(&a->url, "keeper", page, sizeof(page)));
	if (r) {
		say_error("can't end the keeper of %s: %s", a->kdev, strerror(-r));
		return r;
	}
	if (find_device(a, &index))
		return 0;
	say_step("disconnecting nbd%" PRIu32, index);
	r = open_netlink(&nl);
	if (r)
		return r;
	r = nbd_netlink_disconnect(&nl, index);
	nbd_netlink_close(&nl);
	if (r)
		say_error("can't disconnect nbd%" PRIu32 ": %s", index, strerror(-r));
	return r;
}

static void keeper_status(const struct keeper_view *v, struct transport_status *ret)
{
	ret->keeper = v->alive ? v->pid : 0;
	ret->live = v->live;
	ret->connections = v->connections;
	ret->reconnects = v->reconnects;
	if (v->state == KEEPER_LOST) {
		ret->state = TRANSPORT_DEAD;
		strcpy(ret->detail, "the server no longer has these bytes");
	} else if (!v->alive) {
		strcpy(ret->detail, "its keeper is gone: type memswap on again");
	} else if (v->state != KEEPER_LIVE) {
		ret->state = v->state == KEEPER_CONNECTING ? TRANSPORT_CONNECTING
							   : TRANSPORT_LIVE;
		snprintf(ret->detail, sizeof(ret->detail), "%u of %u connections%s%s",
			 v->live, v->connections, v->last_error ? ", last error: " : "",
			 v->last_error ? strerror(v->last_error) : "");
	}
}

static void nbd_status(const struct attachment *a, struct transport_status *ret)
{
	struct keeper_view v;
	char page[512];
	uint32_t index;

	memset(ret, 0, sizeof(*ret));
	ret->connections = a->connections;
	snprintf(ret->stat, sizeof(ret->stat), "/sys/block/%s/stat", a->kdev);
	if (find_device(a, &index)) {
		ret->state = TRANSPORT_DEAD;
		strcpy(ret->detail, "the kernel's device is gone");
	} else if (a->phase >= PHASE_ARMED) {
		strcpy(ret->detail, "its keeper is gone: type memswap on again");
	}
	if (!keeper_look(state_path(&a->url, "keeper", page, sizeof(page)), &v)) {
		ret->detail[0] = '\0';
		keeper_status(&v, ret);
	}
}

const struct transport transport_nbd = {
	.name = "nbd",
	.misfit = nbd_misfit,
	.connect = nbd_connect,
	.arm = nbd_arm,
	.disconnect = nbd_disconnect,
	.status = nbd_status,
};
