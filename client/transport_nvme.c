/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NVMe/TCP by the kernel's own host driver: it reconnects by itself, so there is no
 * keeper and nothing to arm. In comes an attachment with a URL, out comes its block
 * device. Main thread.
 */
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/dhchap_file.h"
#include "client/file.h"
#include "client/hostnqn.h"
#include "client/nvme_fabrics.h"
#include "client/nvme_sysfs.h"
#include "client/request_queue.h"
#include "client/resolve.h"
#include "client/say.h"
#include "client/tls_key.h"
#include "client/transport.h"
#include "client/uevent.h"

#define SYS "/sys"

/* For the namespace to appear; the scan is a handful of commands. */
#define DISK_TIMEOUT_MS 30000

static const char *nvme_misfit(const struct transport_options *o)
{
	if (o->connections)
		return "--connections";
	if (o->auth)
		return "--auth";
	return o->timeout_s ? "--timeout" : NULL;
}

struct offer {
	const char *wanted;
	bool has_wanted;
	char names[400]; /* comma-separated, for people */
};

static void add_offer(void *arg, const char *nqn)
{
	struct offer *o = arg;
	size_t n = strlen(o->names);

	if (!strcmp(nqn, o->wanted))
		o->has_wanted = true;
	snprintf(o->names + n, sizeof(o->names) - n, "%s%s", n ? ", " : "", nqn);
}

/* The server answered, and refused: asks it what it would have allowed. */
static void say_refused(const struct nvme_options *o, const char *said)
{
	struct offer offer = { .wanted = o->nqn };
	int r = nvme_fabrics_discover(o, add_offer, &offer);

	if (!r && !offer.has_wanted)
		say_error("%s port %u has no export %s for this host; it has: %s. "
			  "(If it should be there, the server's access list may hide "
			  "it: this host is %s)",
			  o->traddr, o->port, o->nqn,
			  offer.names[0] ? offer.names : "none", o->hostnqn);
	else if (!r)
		say_error(
			"%s port %u has the export %s but refused this host: allow it "
			"there (memserver --allow %s)%s%s",
			o->traddr, o->port, o->nqn, o->hostnqn,
			said[0] ? "; the kernel says: " : "", said);
	else
		say_error("%s port %u refused %s%s%s", o->traddr, o->port, o->nqn,
			  said[0] ? "; the kernel says: " : "", said);
}

/* It is about secrets: true, and it has been said what. */
static bool say_unproved(const struct nvme_options *o, int r, const char *said)
{
	/* Authentication Required: it went on without having logged in. */
	bool went_on = strstr(said, "ret=401") != NULL;
	bool about_auth = went_on || strstr(said, "authentic") ||
			  strstr(said, ": no key") || strstr(said, "secret");

	if (!about_auth && r != -ENOKEY && r != -EKEYREJECTED)
		return false;
	if (!o->secret[0])
		say_error("%s port %u wants this host to prove itself: give its secret "
			  "with --dhchap-secret-file FILE (this host is %s)",
			  o->traddr, o->port, o->hostnqn);
	else if (went_on || r == -EPROTONOSUPPORT || r == -EOPNOTSUPP)
		say_error("this kernel cannot authenticate: it is built without "
			  "CONFIG_NVME_HOST_AUTH (Debian has it since 6.12)");
	else
		say_error("%s port %u and this host do not believe each other: compare "
			  "the secrets here and in memserver's --nvme-auth file, for "
			  "%s%s%s%s",
			  o->traddr, o->port, o->hostnqn,
			  o->concat ? ", and see that its --nvme-concat is not off"
				    : "",
			  said[0] ? "; the kernel says: " : "", said);
	return true;
}

/* It is about TLS, or may be: true, and it has been said what. */
static bool say_no_tls(const struct nvme_options *o, int r, const char *said)
{
	bool about_tls = strstr(said, "TLS") || strstr(said, "PSK");
	const char *sep = said[0] ? "; the kernel says: " : "";
	bool tls = o->tls || o->concat;

	if (!tls && (r == -ECONNRESET || r == -ENOTCONN || r == -EPIPE)) {
		say_error("%s port %u ends the connection at its first bytes: if it "
			  "wants TLS (memserver --nvme-tls), give this host's key with "
			  "--tls-key-file FILE%s%s",
			  o->traddr, o->port, sep, said);
		return true;
	}
	if (!tls || !(about_tls || r == -ENOKEY || r == -ESRCH))
		return false;
	if (r == -ESRCH)
		say_error("nobody shakes hands for the kernel: tlshd must run (package "
			  "ktls-utils)%s%s",
			  sep, said);
	else if (o->concat)
		say_error("the login was good, but the TLS handshake with its key "
			  "failed: see what %s and tlshd log%s%s",
			  o->traddr, sep, said);
	else if (r == -ENOKEY && !o->tls_key)
		say_error("the kernel has no key for %s and %s: give it with "
			  "--tls-key-file FILE",
			  o->hostnqn, o->nqn);
	else
		say_error("the TLS handshake with %s port %u failed: compare the keys "
			  "here and in memserver's --nvme-tls-keys file, for %s; "
			  "see also what tlshd logs%s%s",
			  o->traddr, o->port, o->hostnqn, sep, said);
	return true;
}

/* Connect was answered by "concatenate first" (ASCR), which the host did not mean to. */
static bool say_no_concat(const struct nvme_options *o, int r, const char *said)
{
	if (o->concat || r != -EOPNOTSUPP || !strstr(said, "connect queue: 0"))
		return false;
	say_error("%s port %u serves this host over TLS only: add --concat (Linux 6.15 "
		  "or newer)%s",
		  o->traddr, o->port,
		  o->secret[0] ? "" : " and --dhchap-secret-file FILE");
	return true;
}

static void say_failed(const struct nvme_options *o, int r, const char *said)
{
	if (say_no_concat(o, r, said) || say_no_tls(o, r, said) ||
	    say_unproved(o, r, said))
		return;
	switch (-r) {
	case ECONNREFUSED:
		say_error("nobody listens at %s port %u: is memserver running there, "
			  "with --nvme %s:%u (it serves loopback only by default)?",
			  o->traddr, o->port, o->traddr, o->port);
		return;
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case ENETUNREACH:
		say_error("%s port %u can't be reached (%s): check address, route and "
			  "firewall",
			  o->traddr, o->port, strerror(-r));
		return;
	case EALREADY:
		say_error(
			"the kernel is already connected to %s at %s, not by memswap: "
			"nvme disconnect -n %s",
			o->nqn, o->traddr, o->nqn);
		return;
	case EINVAL:
		say_error("the kernel doesn't take the connection's options%s%s",
			  said[0] ? "; it says: " : "", said);
		return;
	case ENAMETOOLONG:
		say_error("the name of the export is too long");
		return;
	case EIO:
	case EOPNOTSUPP:
	case EACCES:
	case ECONNRESET:
	case EKEYREJECTED:
		say_refused(o, said);
		return;
	default:
		say_error("can't connect to %s port %u: %s%s%s", o->traddr, o->port,
			  strerror(-r), said[0] ? "; the kernel says: " : "", said);
	}
}

static int look_for_disk(void *arg)
{
	struct attachment *a = arg;
	int r = nvme_sysfs_disk(SYS, a->controller, a->kdev);

	return r == -ENODEV ? 0 : r ? r : 1;
}

/* Name and identity of what was connected. */
static int describe(struct attachment *a, const char *nqn, int events)
{
	char id[128];
	uint64_t sectors;
	int r = uevent_wait(events, DISK_TIMEOUT_MS, look_for_disk, a);

	if (r == -ENOENT)
		say_error("the controller %s went away again: see the kernel's log",
			  a->controller);
	else if (r == -ETIMEDOUT)
		say_error("%s has no namespace with a size: is the export empty?", nqn);
	if (r < 0)
		return r;
	r = file_read_number(&sectors, SYS "/block/%s/size", a->kdev);
	if (r) {
		say_error("%s vanished: %s", a->kdev, strerror(-r));
		return r;
	}
	a->size_bytes = sectors * 512;
	if (file_read(id, sizeof(id), SYS "/block/%s/wwid", a->kdev) <= 0)
		strcpy(id, "?");
	snprintf(a->canonical, sizeof(a->canonical), "%.150s %.100s", nqn, id);
	return 0;
}

/* Requests are put together on the way there, and cut at the head. */
static void bound(const struct attachment *a)
{
	char disk[PATH_MAX];

	snprintf(disk, sizeof(disk), SYS "/block/%s", a->kdev);
	request_queue_bound(disk);
	if (!nvme_sysfs_way(SYS, a->controller, a->kdev, disk, sizeof(disk)))
		request_queue_bound(disk);
}

static int connect_one(const struct nvme_options *o, const struct nbd_address *to,
		       struct attachment *a, char *said, size_t said_len, char *traddr)
{
	struct nvme_options with = *o;

	resolve_numeric(to, traddr, NI_MAXHOST);
	with.traddr = traddr;
	say_step("connecting to %s port %u, %s", traddr, o->port, o->nqn);
	return nvme_fabrics_connect(&with, a->controller, said, said_len);
}

static int read_secrets(const struct transport_options *t, struct dhchap_secret *secret,
			struct dhchap_secret *ctrl_secret)
{
	int r = dhchap_file_read("--dhchap-secret-file", t->dhchap_secret_file, secret);

	ctrl_secret->text[0] = '\0';
	if (!r)
		r = dhchap_file_read("--dhchap-ctrl-secret-file",
				     t->dhchap_ctrl_secret_file, ctrl_secret);
	return r;
}

/* Can the kernel do what it is asked to? */
static int check_kernel(const struct nvme_options *o)
{
	if (o->secret[0] && !nvme_fabrics_has_auth()) {
		say_error("this kernel cannot authenticate: it is built without "
			  "CONFIG_NVME_HOST_AUTH (Debian has it since 6.12)");
		return -EOPNOTSUPP;
	}
	if (o->tls && !nvme_fabrics_has_tls()) {
		say_error(
			"this kernel has no TLS for NVMe/TCP: it is older than 6.7, or "
			"built without CONFIG_NVME_TCP_TLS (Debian has it since 6.12)");
		return -EOPNOTSUPP;
	}
	if (o->concat && !nvme_fabrics_has_concat()) {
		say_error("this kernel has no --concat: it is older than 6.15, or "
			  "built without CONFIG_NVME_TCP_TLS; with a key on both sides "
			  "older ones have TLS, too (--tls-key-file FILE)");
		return -EOPNOTSUPP;
	}
	return 0;
}

static int nvme_connect(struct attachment *a, const struct transport_options *t)
{
	char nqn[NVME_OPTIONS_NQN_MAX + 1], traddr[NI_MAXHOST], said[256];
	struct nbd_address to[RESOLVE_MAX];
	struct dhchap_secret secret, ctrl_secret;
	struct hostnqn host;
	struct nvme_options o = {
		.port = a->url.port,
		.secret = secret.text,
		.ctrl_secret = ctrl_secret.text,
		.nqn = nqn,
		.hostnqn = host.nqn,
		.hostid = host.id,
		.nr_io_queues = t->nr_io_queues
					? t->nr_io_queues
					: request_queues(sysconf(_SC_NPROCESSORS_ONLN)),
		.queue_size = t->queue_size ? t->queue_size : REQUEST_QUEUE_SIZE,
		.hdr_digest = t->hdr_digest,
		.data_digest = t->data_digest,
		.tls = t->tls,
		.concat = t->concat,
	};
	int events, n, r;

	if (nvme_options_nqn(a->url.name, nqn, sizeof(nqn))) {
		say_error("\"%s\" is no name for an NVMe export", a->url.name);
		return -EINVAL;
	}
	r = read_secrets(t, &secret, &ctrl_secret);
	if (!r)
		r = nvme_fabrics_ready();
	if (!r)
		r = hostnqn_get(&host);
	if (!r)
		r = check_kernel(&o);
	if (!r && t->tls_key_file)
		r = tls_key_insert("--tls-key-file", t->tls_key_file, host.nqn, nqn,
				   &o.tls_key);
	if (r)
		goto out;
	n = resolve_url(&a->url, to);
	r = n < 0 ? n : 0;
	if (r)
		goto out;
	events = uevent_open();
	if (events < 0) {
		say_error("can't listen to the kernel's events: %s", strerror(-events));
		r = events;
		goto out;
	}
	r = -EHOSTUNREACH;
	for (int i = 0; i < n; i++) {
		r = connect_one(&o, &to[i], a, said, sizeof(said), traddr);
		if (!r)
			break;
	}
	o.traddr = traddr;
	if (r)
		say_failed(&o, r, said);
	else
		r = describe(a, nqn, events);
	close(events);
	if (!r)
		bound(a);
	else if (a->controller[0])
		nvme_fabrics_delete(a->controller);
out:
	dhchap_secret_wipe(&secret);
	dhchap_secret_wipe(&ctrl_secret);
	return r;
}

static int nvme_arm(struct attachment *a)
{
	(void)a; /* ctrl_loss_tmo=-1 has said it all */
	return 0;
}

/* The controller that this attachment made, or -ENOENT. */
static int find_controller(const struct attachment *a, char *controller)
{
	char nqn[NVME_OPTIONS_NQN_MAX + 1], text[256];
	struct nbd_address to[RESOLVE_MAX];
	char traddr[NI_MAXHOST];
	int n;

	if (nvme_options_nqn(a->url.name, nqn, sizeof(nqn)))
		return -ENOENT;
	if (a->controller[0]) {
		strcpy(controller, a->controller);
		/* Its number may have gone to another after it was deleted. */
		if (file_read(text, sizeof(text), SYS "/class/nvme/%s/subsysnqn",
			      controller) < 0 ||
		    strcmp(text, nqn))
			return -ENOENT;
		return 0;
	}
	n = resolve_url(&a->url, to);
	for (int i = 0; i < n; i++)
		if (!nvme_sysfs_find(SYS, nqn,
				     resolve_numeric(&to[i], traddr, NI_MAXHOST),
				     a->url.port, controller))
			return 0;
	return -ENOENT;
}

static int nvme_disconnect(struct attachment *a)
{
	char controller[NVME_SYSFS_NAME_MAX + 1];
	int r;

	if (find_controller(a, controller))
		return 0;
	say_step("deleting the controller %s", controller);
	r = nvme_fabrics_delete(controller);
	if (r)
		say_error("can't delete the controller %s: %s", controller,
			  strerror(-r));
	return r;
}

static void nvme_status(const struct attachment *a, struct transport_status *ret)
{
	char controller[NVME_SYSFS_NAME_MAX + 1], text[32] = "";
	char way[sizeof(ret->stat) - sizeof("/stat")];

	memset(ret, 0, sizeof(*ret));
	ret->state = TRANSPORT_DEAD;
	if (find_controller(a, controller) ||
	    file_read(text, sizeof(text), SYS "/class/nvme/%s/state", controller) < 0) {
		strcpy(ret->detail, "the controller is gone");
		return;
	}
	if (!nvme_sysfs_way(SYS, controller, a->kdev, way, sizeof(way)))
		snprintf(ret->stat, sizeof(ret->stat), "%s/stat", way);
	if (!strcmp(text, "live") && nvme_sysfs_has_disk(SYS, controller, a->kdev)) {
		strcpy(ret->detail, "the server no longer has these bytes");
		return;
	}
	if (!strcmp(text, "live"))
		ret->state = TRANSPORT_LIVE;
	else if (!strcmp(text, "connecting") || !strcmp(text, "resetting") ||
		 !strcmp(text, "new"))
		ret->state = TRANSPORT_CONNECTING;
	if (ret->state != TRANSPORT_LIVE)
		snprintf(ret->detail, sizeof(ret->detail), "the controller %s is %s",
			 controller, text);
}

const struct transport transport_nvme = {
	.name = "nvme-tcp",
	.misfit = nvme_misfit,
	.connect = nvme_connect,
	.arm = nvme_arm,
	.disconnect = nvme_disconnect,
	.status = nvme_status,
};
