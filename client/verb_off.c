/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `memswap off`: attachments in, nothing left of them. Works while the swap itself
 * does not: its own memory is locked. Main thread.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/detach.h"
#include "client/say.h"
#include "client/state.h"
#include "client/transport.h"
#include "client/verbs.h"
#include "lib/cleanup.h"

#define ATTACHMENTS_MAX 64
#define GONE_LOOKS      3 /* a second apart: an outage shorter than that is none */

enum { OPT_FORCE = 256, OPT_ALL };

static const struct option options[] = {
	{ "verbose", no_argument, NULL, 'v' },
	{ "force", no_argument, NULL, OPT_FORCE },
	{ "all", no_argument, NULL, OPT_ALL },
	{ NULL, 0, NULL, 0 },
};

static struct attachment all[ATTACHMENTS_MAX];
static size_t nr_all;

struct wish {
	bool force, verbose, all;
};

/* A URL in any spelling, "/dev/nbd0" or "nbd0". */
static struct attachment *find(const char *what)
{
	const char *why, *kdev = what;
	struct url u;

	if (!url_parse(what, &u, &why)) {
		for (size_t i = 0; i < nr_all; i++)
			if (!memcmp(&u, &all[i].url, sizeof(u)))
				return &all[i];
		return NULL;
	}
	if (!strncmp(kdev, "/dev/", 5))
		kdev += 5;
	for (size_t i = 0; i < nr_all; i++)
		if (*kdev && !strcmp(all[i].kdev, kdev))
			return &all[i];
	return NULL;
}

static void list_attached(void)
{
	char url[URL_TEXT_MAX + 1];

	for (size_t i = 0; i < nr_all; i++)
		say_error("attached: %s as /dev/%s", url_format(&all[i].url, url),
			  all[i].kdev);
	if (!nr_all)
		say_error("nothing is attached");
}

/*
 * Somebody is at work on it, an `off` very likely. While its server is there he comes to an
 * end; one that is gone he waits for, and only without the device that wait ends.
 */
static int lock_by_force(struct attachment *a)
{
	const struct transport *t = transport_of(&a->url);
	struct transport_status s;
	unsigned int gone = 0;
	int lock;

	say_warning("another memswap is at work on it: waiting for it");
	while ((lock = state_lock(&a->url, false)) == -EBUSY) {
		t->status(a, &s);
		gone = s.state == TRANSPORT_LIVE ? 0 : gone + 1;
		if (gone == GONE_LOOKS) {
			say_warning("the server is gone: cutting its device off");
			t->disconnect(a);
		}
		sleep(1);
	}
	return lock;
}

static int off_one(struct attachment *a, const struct wish *w)
{
	_cleanup_close_ int lock = state_lock(&a->url, false);
	char url[URL_TEXT_MAX + 1];
	int r;

	if (lock == -EBUSY && w->force)
		lock = lock_by_force(a);
	if (lock == -EBUSY) {
		say_error("%s: another memswap is at work on it",
			  url_format(&a->url, url));
		return 1;
	}
	if (lock < 0) {
		say_error("can't lock the state folder: %s", strerror(-lock));
		return 1;
	}
	r = state_load(&a->url, a);
	if (!r)
		r = detach_swap(a, w->force, w->verbose);
	else if (r == -ENOENT)
		r = 0; /* whoever held the lock has done it */
	else
		say_error("the state can't be read: %s", strerror(-r));
	if (!r)
		printf("%s is off\n", url_format(&a->url, url));
	return r ? 1 : 0;
}

static int off_all(const struct wish *w)
{
	int failed = 0;

	for (size_t i = nr_all; i-- > 0;)
		failed |= off_one(&all[i], w);
	return failed;
}

static int parse(int argc, char **argv, struct wish *w)
{
	int c;

	memset(w, 0, sizeof(*w));
	opterr = 0;
	while ((c = getopt_long(argc, argv, "v", options, NULL)) >= 0) {
		switch (c) {
		case 'v':
			w->verbose = true;
			say_verbose(true);
			break;
		case OPT_FORCE:
			w->force = true;
			break;
		case OPT_ALL:
			w->all = true;
			break;
		default:
			return verb_usage("off: unknown option %s", argv[optind - 1]);
		}
	}
	if (w->all && optind != argc)
		return verb_usage("off --all takes no URL");
	return 0;
}

int verb_off_run(int argc, char **argv)
{
	struct wish w;
	int failed = 0, r = parse(argc, argv, &w);

	if (r)
		return r;
	if (verb_need_root("detaching swap"))
		return 1;
	mlockall(MCL_CURRENT | MCL_FUTURE);
	nr_all = state_list(all, ATTACHMENTS_MAX);
	if (w.all)
		return off_all(&w);
	if (optind == argc && nr_all == 1)
		return off_one(&all[0], &w);
	if (optind == argc) {
		say_error("off needs a URL, a device or --all");
		list_attached();
		return 2;
	}
	for (; optind < argc; optind++) {
		struct attachment *a = find(argv[optind]);

		if (a) {
			failed |= off_one(a, &w);
			continue;
		}
		say_error("%s is not attached by memswap", argv[optind]);
		list_attached();
		failed = 1;
	}
	return failed;
}
