/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * iSCSI by the kernel's initiator and open-iscsi's daemon, which reconnects by itself.
 * In comes an attachment with a URL, out comes its block device. Main thread.
 *
 * memserver offers an export under NAME and NAME:GENERATION; the latter is taken, since
 * it is gone when the bytes are: a lender that was rebooted gives errors, never zeros.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "client/file.h"
#include "client/iscsiadm.h"
#include "client/request_queue.h"
#include "client/resolve.h"
#include "client/say.h"
#include "client/transport.h"
#include "client/uevent.h"
#include "lib/chap.h"
#include "lib/cleanup.h"

#define SESSIONS        "/sys/class/iscsi_session"
#define PREFIX          "iqn.2026-11.io.remem:"
#define GENERATION      12 /* hex digits */
#define DISK_TIMEOUT_MS 30000
#define KNOCK_TIMEOUT_S 10
#define WAIT_FOR_SERVER "86400" /* seconds that I/O waits for a lost server */

static const char *iscsi_misfit(const struct transport_options *o)
{
	if (o->connections)
		return "--connections";
	if (o->timeout_s)
		return "--timeout";
	if (o->nr_io_queues)
		return "--nr-io-queues";
	if (o->queue_size)
		return "--queue-size";
	if (o->hdr_digest)
		return "--hdr-digest";
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

/* ---- which target ---- */

struct offer {
	char wanted[ISCSIADM_NAME_MAX + 1];
	char found[ISCSIADM_NAME_MAX + 1]; /* empty: not there */
	char names[400];                   /* comma-separated, for people */
};

static bool is_generation(const char *text)
{
	size_t n = strspn(text, "0123456789abcdef");

	return n == GENERATION && !text[n];
}

static void add_offer(void *arg, const char *target)
{
	struct offer *o = arg;
	size_t n = strlen(o->names), len = strlen(o->wanted);

	if (!strncmp(target, o->wanted, len)) {
		if (!target[len] && !o->found[0])
			strcpy(o->found, target);
		else if (target[len] == ':' && is_generation(target + len + 1))
			strcpy(o->found, target);
	}
	snprintf(o->names + n, sizeof(o->names) - n, "%s%s", n ? ", " : "", target);
}

static int want(const struct url *u, struct offer *o)
{
	bool whole = !strncmp(u->name, "iqn.", 4);

	memset(o, 0, sizeof(*o));
	for (const char *c = u->name; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr(".:_-", *c)) {
			say_error("\"%s\" is no name for an iSCSI target", u->name);
			return -EINVAL;
		}
	if ((size_t)snprintf(o->wanted, sizeof(o->wanted), "%s%s", whole ? "" : PREFIX,
			     u->name) >= sizeof(o->wanted)) {
		say_error("the name of the export is too long");
		return -ENAMETOOLONG;
	}
	return 0;
}

static void name_portal(const struct nbd_address *to, uint16_t port, char *buf,
			size_t len)
{
	char addr[NI_MAXHOST];
	bool v6;

	resolve_numeric(to, addr, sizeof(addr));
	v6 = strchr(addr, ':') != NULL;
	snprintf(buf, len, "%s%.60s%s:%u", v6 ? "[" : "", addr, v6 ? "]" : "", port);
}

/* Does anybody listen? open-iscsi asks for a long time, and tells less. */
static int knock(const struct nbd_address *to)
{
	_cleanup_close_ int fd =
		socket(to->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval patience = { .tv_sec = KNOCK_TIMEOUT_S };

	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0)
		return -errno;
	if (!connect(fd, (const struct sockaddr *)&to->addr, to->len))
		return 0;
	return errno == EINPROGRESS ? -ETIMEDOUT : -errno;
}

static int ask(const struct nbd_address *to, const char *portal, struct offer *o)
{
	int r = knock(to);

	if (r == -ECONNREFUSED)
		say_error("nobody listens at %s: is memserver running there, with "
			  "--iscsi %s?",
			  portal, portal);
	else if (r)
		say_error("%s can't be reached (%s): check address, route and firewall",
			  portal, strerror(-r));
	return r ? r : iscsiadm_discover(portal, add_offer, o);
}

/* The portal and the full name of the target. */
static int find_target(struct attachment *a, struct iscsi_place *p)
{
	struct nbd_address to[RESOLVE_MAX];
	struct offer o;
	int r = want(&a->url, &o), n;

	if (r)
		return r;
	n = resolve_url(&a->url, to);
	if (n < 0)
		return n;
	r = -EHOSTUNREACH;
	for (int i = 0; i < n && r; i++) {
		name_portal(&to[i], a->url.port, p->portal, sizeof(p->portal));
		r = ask(&to[i], p->portal, &o);
	}
	if (r)
		return r;
	if (!o.found[0]) {
		say_error(
			"%s has no export %s for this host; it has: %s. (If it should "
			"be there: it has a quota, is in use over another protocol, or "
			"the server's access list hides it)",
			p->portal, o.wanted, o.names[0] ? o.names : "none");
		return -ENOENT;
	}
	strcpy(p->target, o.found);
	return 0;
}

/* ---- what the kernel has ---- */

/* The session with this target; -ENOENT. */
static int find_session(const char *target, char *session, size_t len)
{
	DIR *dir = opendir(SESSIONS);
	struct dirent *d;
	char name[256];
	int r = -ENOENT;

	while (dir && r && (d = readdir(dir))) {
		if (strncmp(d->d_name, "session", 7) || strlen(d->d_name) >= len)
			continue;
		if (file_read(name, sizeof(name), SESSIONS "/%s/targetname",
			      d->d_name) > 0 &&
		    !strcmp(name, target)) {
			strcpy(session, d->d_name);
			r = 0;
		}
	}
	if (dir)
		closedir(dir);
	return r;
}

/* The first name in a folder that begins with `prefix` and ends with `suffix`. */
static int first_entry(const char *folder, const char *prefix, const char *suffix,
		       char *ret, size_t len)
{
	DIR *dir = opendir(folder);
	struct dirent *d;
	int r = -ENODEV;

	while (dir && r && (d = readdir(dir))) {
		size_t n = strlen(d->d_name), s = strlen(suffix);

		if (d->d_name[0] == '.' || strncmp(d->d_name, prefix, strlen(prefix)) ||
		    n < s || strcmp(d->d_name + n - s, suffix) || n >= len)
			continue;
		strcpy(ret, d->d_name);
		r = 0;
	}
	if (dir)
		closedir(dir);
	return r;
}

/* The disk of LUN 1 of a session. -ENODEV: not yet. */
static int find_disk(const char *session, char *kdev, size_t len)
{
	char folder[256], target[64], unit[64];
	uint64_t sectors;
	int r;

	snprintf(folder, sizeof(folder), SESSIONS "/%s/device", session);
	r = first_entry(folder, "target", "", target, sizeof(target));
	if (r)
		return r;
	snprintf(folder, sizeof(folder), SESSIONS "/%s/device/%s", session, target);
	r = first_entry(folder, "", ":1", unit, sizeof(unit));
	if (r)
		return r;
	snprintf(folder, sizeof(folder), SESSIONS "/%s/device/%s/%s/block", session,
		 target, unit);
	r = first_entry(folder, "sd", "", kdev, len);
	if (!r && (file_read_number(&sectors, "/sys/block/%s/size", kdev) || !sectors))
		r = -ENODEV;
	return r;
}

static int look_for_disk(void *arg)
{
	struct attachment *a = arg;

	return find_disk(a->controller, a->kdev, sizeof(a->kdev)) ? 0 : 1;
}

static int describe(struct attachment *a, const struct iscsi_place *p, int events)
{
	uint64_t sectors;
	char disk[64];
	int r = find_session(p->target, a->controller, sizeof(a->controller));

	if (!r)
		r = uevent_wait(events, DISK_TIMEOUT_MS, look_for_disk, a);
	if (r < 0) {
		say_error("%s is logged in but no disk has come: %s; see the "
			  "kernel's log",
			  p->target, strerror(-r));
		return r;
	}
	r = file_read_number(&sectors, "/sys/block/%s/size", a->kdev);
	if (r) {
		say_error("%s vanished: %s", a->kdev, strerror(-r));
		return r;
	}
	a->size_bytes = sectors * 512;
	snprintf(a->canonical, sizeof(a->canonical), "%.160s %.80s", p->target,
		 p->portal);
	snprintf(disk, sizeof(disk), "/sys/block/%s", a->kdev);
	request_queue_bound(disk); /* and open-iscsi's own 32 of them */
	return 0;
}

/* ---- the transport ---- */

static int log_in(struct attachment *a, const struct iscsi_place *p,
		  const struct chap *chap)
{
	int events = uevent_open(), r;

	if (events < 0) {
		say_error("can't listen to the kernel's events: %s", strerror(-events));
		return events;
	}
	r = iscsiadm_login(p, chap);
	if (!r)
		r = describe(a, p, events);
	close(events);
	if (r && r != -EALREADY)
		iscsiadm_logout(p);
	return r;
}

static int iscsi_connect(struct attachment *a, const struct transport_options *t)
{
	struct iscsi_place p;
	struct chap chap;
	char err[400];
	int r = iscsiadm_ready();

	if (!r && t->auth) {
		r = chap_load(t->auth, &chap, err, sizeof(err));
		if (r)
			say_error("--auth %s", err);
	}
	if (!r)
		r = find_target(a, &p);
	if (!r)
		r = log_in(a, &p, t->auth ? &chap : NULL);
	chap_wipe(&chap);
	return r;
}

/* What was connected, from `canonical`, or by looking for what a connect that was cut
 * short has left. */
static int find_place(const struct attachment *a, struct iscsi_place *p, char *session,
		      size_t len)
{
	struct nbd_address to[RESOLVE_MAX];
	struct offer o;

	if (sscanf(a->canonical, "%223s %79s", p->target, p->portal) != 2) {
		DIR *dir;
		struct dirent *d;
		char name[256];

		if (want(&a->url, &o) || resolve_url(&a->url, to) <= 0)
			return -ENOENT;
		name_portal(&to[0], a->url.port, p->portal, sizeof(p->portal));
		dir = opendir(SESSIONS);
		while (dir && (d = readdir(dir)))
			if (file_read(name, sizeof(name), SESSIONS "/%s/targetname",
				      d->d_name) > 0)
				add_offer(&o, name);
		if (dir)
			closedir(dir);
		if (!o.found[0])
			return -ENOENT;
		strcpy(p->target, o.found);
	}
	return find_session(p->target, session, len);
}

/* From now on I/O waits. iscsid leaves a recovery_tmo set here as it is. */
static int iscsi_arm(struct attachment *a)
{
	struct iscsi_place p;
	char session[32], path[128];
	int r = find_place(a, &p, session, sizeof(session));

	if (!r) {
		snprintf(path, sizeof(path), SESSIONS "/%s/recovery_tmo", session);
		r = file_write(path, WAIT_FOR_SERVER);
	}
	if (r)
		say_error("can't make %s wait for its server: %s", a->kdev,
			  strerror(-r));
	return r;
}

static int iscsi_disconnect(struct attachment *a)
{
	struct iscsi_place p;
	char session[32];

	if (find_place(a, &p, session, sizeof(session)))
		return 0;
	say_step("logging out of %s", p.target);
	return iscsiadm_logout(&p);
}

static void iscsi_status(const struct attachment *a, struct transport_status *ret)
{
	char session[32], text[32] = "", kdev[32];
	struct iscsi_place p;

	memset(ret, 0, sizeof(*ret));
	ret->state = TRANSPORT_DEAD;
	if (find_place(a, &p, session, sizeof(session)) ||
	    file_read(text, sizeof(text), SESSIONS "/%s/state", session) < 0) {
		strcpy(ret->detail, "the session is gone");
		return;
	}
	if (find_disk(session, kdev, sizeof(kdev)) || strcmp(kdev, a->kdev)) {
		strcpy(ret->detail, "the session has lost its disk");
		return;
	}
	snprintf(ret->stat, sizeof(ret->stat), "/sys/block/%s/stat", a->kdev);
	if (!strcmp(text, "LOGGED_IN")) {
		ret->state = TRANSPORT_LIVE;
		return;
	}
	ret->state = strcmp(text, "FREE") ? TRANSPORT_CONNECTING : TRANSPORT_DEAD;
	snprintf(ret->detail, sizeof(ret->detail), "the session is %s", text);
}

const struct transport transport_iscsi = {
	.name = "iscsi",
	.misfit = iscsi_misfit,
	.connect = iscsi_connect,
	.arm = iscsi_arm,
	.disconnect = iscsi_disconnect,
	.status = iscsi_status,
};
