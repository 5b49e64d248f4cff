/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A URL in, a claimed export out: libnbd's calls made with a deadline, on a connection
 * that is closed again. Main thread.
 */
#include "vmemdirect/tier/nbd_export.h"

#include <errno.h>
#include <inttypes.h>
#include <libnbd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "vmemdirect/tier/tier.h"

#define MAGIC       "vmemdirect spill"
#define DISCARD_MAX (UINT64_C(1) << 30) /* bytes of one request */

struct label {
	char magic[16];
	uint8_t id[16];
	char host[64], vm[64];
};

_Static_assert(sizeof(struct label) <= NBD_LABEL_BYTES, "the label fits its page");

/* ---- its address ---- */

static int resolve(const char *url, const char *host, const char *port,
		   struct nbd_export *x)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;
	int r = getaddrinfo(host, port, &hints, &found);

	if (r) {
		log_err("%s: %s", url, gai_strerror(r));
		return -EHOSTUNREACH;
	}
	memcpy(&x->addr, found->ai_addr, found->ai_addrlen);
	x->addr_len = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

/* Parts HOST[:PORT] or [V6][:PORT]; cuts the text up. */
static bool part_host(char *text, char **ret_host, char **ret_port)
{
	char *end = *text == '[' ? strchr(text, ']') : text + strcspn(text, ":");

	if (!end || end == text)
		return false;
	*ret_host = text + (*text == '[');
	if (*text == '[')
		*end++ = 0;
	if (*end && *end != ':')
		return false;
	*ret_port = *end ? end + 1 : NULL;
	*end = 0;
	return **ret_host && (!*ret_port || **ret_port);
}

int nbd_export_parse(const char *url, struct nbd_export *ret)
{
	char text[NBD_URL_MAX], fallback[8], *name, *host, *port;
	struct nbd_export x = { 0 };
	int r = -EINVAL;

	if (strlen(url) < sizeof(text) && !strncmp(url, "nbd://", 6)) {
		strcpy(text, url + 6);
		name = strchr(text, '/');
		if (name && name[1] && !strpbrk(name + 1, "/?#")) {
			*name++ = 0;
			r = part_host(text, &host, &port) ? 0 : -EINVAL;
		}
	}
	if (r < 0) {
		log_err("--spill %s: not of the form nbd://HOST[:PORT]/EXPORT", url);
		return r;
	}
	snprintf(fallback, sizeof(fallback), "%d", NBD_PORT);
	r = resolve(url, host, port ? port : fallback, &x);
	if (r < 0)
		return r;
	strcpy(x.url, url);
	strcpy(x.name, name);
	*ret = x;
	return 0;
}

/* ---- connections ---- */

int nbd_export_dial(const struct nbd_export *x, struct nbd_handle *h)
{
	const struct linger none = { .l_onoff = 1 };

	if (nbd_set_export_name(h, x->name) < 0 ||
	    nbd_aio_connect(h, (const struct sockaddr *)&x->addr, x->addr_len) < 0)
		return -1;
	setsockopt(nbd_aio_get_fd(h), SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	return 0;
}

/* ---- calls with a deadline ---- */

struct call {
	struct nbd_handle *h; /* owned */
	const struct nbd_export *x;
	int64_t deadline_ms;
	bool done;
	int error;
};

static int on_done(void *arg, int *error)
{
	struct call *c = arg;

	c->done = true;
	c->error = *error;
	return 1;
}

static int complain(const struct call *c, const char *what)
{
	log_err("%s: %s: %s", c->x->url, what,
		nbd_get_error() ? nbd_get_error() : "no answer");
	return -EIO;
}

/* Until the call is done, or, `done` NULL, the connection is ready. */
static int drive(struct call *c, const bool *done, const char *what)
{
	while (done ? !*done : nbd_aio_is_ready(c->h) != 1) {
		int64_t left = c->deadline_ms - clock_ms();

		if (nbd_aio_is_dead(c->h) || nbd_aio_is_closed(c->h))
			return complain(c, what);
		if (left <= 0) {
			log_err("%s: %s: no answer within %d s", c->x->url, what,
				NBD_CONTACT_MS / 1000);
			return -ETIMEDOUT;
		}
		if (nbd_poll(c->h, (int)left) < 0)
			return complain(c, what);
	}
	if (done && c->error) {
		log_err("%s: %s: %s", c->x->url, what, strerror(c->error));
		return -EIO;
	}
	return 0;
}

static int dial(struct call *c, const struct nbd_export *x)
{
	*c = (struct call){ .h = nbd_create(),
			    .x = x,
			    .deadline_ms = clock_ms() + NBD_CONTACT_MS };
	if (!c->h)
		return -ENOMEM;
	if (nbd_set_full_info(c->h, true) < 0 || nbd_export_dial(x, c->h) < 0)
		return complain(c, "connecting");
	return drive(c, NULL, "connecting");
}

static int transfer(struct call *c, void *label, bool write)
{
	const nbd_completion_callback cb = { .callback = on_done, .user_data = c };
	const char *what = write ? "writing its label" : "reading its label";
	int64_t r;

	c->done = false;
	r = write ? nbd_aio_pwrite(c->h, label, NBD_LABEL_BYTES, 0, cb, 0)
		  : nbd_aio_pread(c->h, label, NBD_LABEL_BYTES, 0, cb, 0);
	return r < 0 ? complain(c, what) : drive(c, &c->done, what);
}

/* ---- claiming and releasing ---- */

static int learn(struct call *c, struct nbd_export *x)
{
	int64_t size = nbd_get_size(c->h);
	char *name = nbd_get_canonical_export_name(c->h);

	if (name && strlen(name) < sizeof(x->name))
		strcpy(x->name, name);
	free(name);
	if (nbd_is_read_only(c->h) != 0) {
		log_err("%s is read-only", x->url);
		return -EROFS;
	}
	x->nr_pages = size < 0 ? 0 : (uint64_t)size / TIER_PAGE_SIZE;
	if (x->nr_pages < 2) {
		log_err("%s: too small (%" PRId64 " bytes)", x->url, size);
		return -ENOSPC;
	}
	return 0;
}

static void our_host(char *buf, size_t len)
{
	memset(buf, 0, len);
	gethostname(buf, len - 1);
}

static bool is_empty(const uint8_t *page)
{
	return !page[0] && !memcmp(page, page + 1, NBD_LABEL_BYTES - 1);
}

/*
 * An empty export may be taken, and one with a label that this VM of this host has left
 * (its vmemdirect holds the journal, so it is not in use). Whatever else lies there is
 * somebody's: another VM's pages, a guest's swap area.
 */
static int check_label(const struct nbd_export *x, const uint8_t *page, const char *vm)
{
	const struct label *l = (const void *)page;
	char host[sizeof(l->host)];

	our_host(host, sizeof(host));
	if (is_empty(page))
		return 0;
	if (memcmp(l->magic, MAGIC, sizeof(l->magic)) != 0) {
		log_err("%s holds something already (a guest's swap area?): one "
			"export for each VM; if nobody needs it: drop the export and "
			"make it anew",
			x->url);
		return -EBUSY;
	}
	if (!strncmp(l->host, host, sizeof(l->host)) &&
	    !strncmp(l->vm, vm, sizeof(l->vm)))
		return 0;
	log_err("%s holds pages of VM %.64s of host %.64s: one export for each VM (if "
		"that VM is gone: drop the export and make it anew)",
		x->url, l->vm, l->host);
	return -EBUSY;
}

int nbd_export_claim(struct nbd_export *x, const char *vm)
{
	union {
		struct label label;
		uint8_t page[NBD_LABEL_BYTES];
	} u = { 0 };
	struct call c;
	int r = dial(&c, x);

	if (!r)
		r = learn(&c, x);
	if (!r)
		r = transfer(&c, &u, false);
	if (!r)
		r = check_label(x, u.page, vm);
	if (!r && getrandom(x->id, sizeof(x->id), 0) != sizeof(x->id))
		r = -EIO;
	if (!r) {
		memset(&u, 0, sizeof(u));
		memcpy(u.label.magic, MAGIC, sizeof(u.label.magic));
		memcpy(u.label.id, x->id, sizeof(u.label.id));
		our_host(u.label.host, sizeof(u.label.host));
		snprintf(u.label.vm, sizeof(u.label.vm), "%s", vm);
		r = transfer(&c, &u, true);
	}
	nbd_close(c.h);
	return r;
}

static int discard_all(struct call *c)
{
	const nbd_completion_callback cb = { .callback = on_done, .user_data = c };
	uint64_t size = c->x->nr_pages * TIER_PAGE_SIZE;

	for (uint64_t at = 0, len; at < size; at += len) {
		len = size - at < DISCARD_MAX ? size - at : DISCARD_MAX;
		c->done = false;
		c->deadline_ms = clock_ms() + NBD_CONTACT_MS;
		if (nbd_aio_trim(c->h, len, at, cb, 0) < 0)
			return complain(c, "discarding");
		if (drive(c, &c->done, "discarding") < 0)
			return -EIO;
	}
	return 0;
}

void nbd_export_release(const struct nbd_export *x)
{
	uint8_t page[NBD_LABEL_BYTES] = { 0 };
	struct call c;
	int r = dial(&c, x);

	if (!r)
		r = transfer(&c, page, false);
	if (!r && !nbd_export_labelled(x, page)) {
		log_warn("%s: made anew meanwhile: it stays as it is", x->url);
		nbd_close(c.h);
		return;
	}
	memset(page, 0, sizeof(page));
	if (!r && nbd_can_trim(c.h) == 1)
		r = discard_all(&c);
	if (!r)
		r = transfer(&c, page, true);
	if (r < 0)
		log_warn("%s: its memory is not given back: drop the export there",
			 x->url);
	nbd_close(c.h);
}

bool nbd_export_labelled(const struct nbd_export *x, const void *page)
{
	const struct label *l = page;

	return !memcmp(l->magic, MAGIC, sizeof(l->magic)) &&
	       !memcmp(l->id, x->id, sizeof(l->id));
}
