/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `memswap on`: a URL in, a swap device that the kernel uses out. Each step is in the
 * state folder before it is done, and undone in reverse order when a later one fails.
 * Main thread.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/swap.h>
#include <time.h>

#include "client/detach.h"
#include "client/device.h"
#include "client/say.h"
#include "client/state.h"
#include "client/swaps.h"
#include "client/transport.h"
#include "client/tune.h"
#include "client/urls_file.h"
#include "client/uuid.h"
#include "client/verbs.h"
#include "lib/cleanup.h"
#include "lib/size.h"

struct wish {
	struct url url;
	struct transport_options transport;
	int priority; /* 0: above all others */
	bool discard, force, all, keep_min_free;
	uint64_t min_free_kb; /* 0: by the rule */
};

enum {
	OPT_NO_DISCARD = 256,
	OPT_MIN_FREE,
	OPT_FORCE,
	OPT_ALL,
	OPT_CONNECTIONS,
	OPT_TIMEOUT,
	OPT_AUTH,
	OPT_NR_IO_QUEUES,
	OPT_QUEUE_SIZE,
	OPT_HDR_DIGEST,
	OPT_DATA_DIGEST,
	OPT_DHCHAP_SECRET,
	OPT_DHCHAP_CTRL_SECRET,
	OPT_CONCAT,
	OPT_TLS,
	OPT_TLS_KEY
};

static const struct option options[] = {
	{ "priority", required_argument, NULL, 'p' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "no-discard", no_argument, NULL, OPT_NO_DISCARD },
	{ "min-free", required_argument, NULL, OPT_MIN_FREE },
	{ "force", no_argument, NULL, OPT_FORCE },
	{ "all", no_argument, NULL, OPT_ALL },
	{ "connections", required_argument, NULL, OPT_CONNECTIONS },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "auth", required_argument, NULL, OPT_AUTH },
	{ "nr-io-queues", required_argument, NULL, OPT_NR_IO_QUEUES },
	{ "queue-size", required_argument, NULL, OPT_QUEUE_SIZE },
	{ "hdr-digest", no_argument, NULL, OPT_HDR_DIGEST },
	{ "data-digest", no_argument, NULL, OPT_DATA_DIGEST },
	{ "dhchap-secret-file", required_argument, NULL, OPT_DHCHAP_SECRET },
	{ "dhchap-ctrl-secret-file", required_argument, NULL, OPT_DHCHAP_CTRL_SECRET },
	{ "concat", no_argument, NULL, OPT_CONCAT },
	{ "tls", no_argument, NULL, OPT_TLS },
	{ "tls-key-file", required_argument, NULL, OPT_TLS_KEY },
	{ NULL, 0, NULL, 0 },
};

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

static int number(const char *flag, const char *text, unsigned int min,
		  unsigned int max, unsigned int *ret)
{
	char *end;
	unsigned long v;

	errno = 0;
	v = strtoul(text, &end, 10);
	if (errno || end == text || *end || text[0] == '-' || v < min || v > max)
		return verb_usage("%s %s: it takes a number from %u to %u", flag, text,
				  min, max);
	*ret = (unsigned int)v;
	return 0;
}

static int min_free(struct wish *w, const char *text)
{
	uint64_t bytes;

	w->keep_min_free = !strcmp(text, "keep");
	if (w->keep_min_free)
		return 0;
	if (size_parse(text, &bytes) || bytes < (1u << 20) || bytes > UINT64_C(1) << 34)
		return verb_usage(
			"--min-free %s: it takes \"keep\" or a size from 1M to "
			"16G",
			text);
	w->min_free_kb = bytes >> 10;
	return 0;
}

static int take_option(struct wish *w, int c)
{
	unsigned int n = 0;
	int r = 0;

	switch (c) {
	case 'p':
		r = number("--priority", optarg, 1, SWAP_FLAG_PRIO_MASK, &n);
		w->priority = (int)n;
		return r;
	case 'v':
		say_verbose(true);
		return 0;
	case OPT_NO_DISCARD:
		w->discard = false;
		return 0;
	case OPT_MIN_FREE:
		return min_free(w, optarg);
	case OPT_FORCE:
		w->force = true;
		return 0;
	case OPT_ALL:
		w->all = true;
		return 0;
	case OPT_CONNECTIONS:
		return number("--connections", optarg, 1, 16,
			      &w->transport.connections);
	case OPT_TIMEOUT:
		return number("--timeout", optarg, 1, 3600, &w->transport.timeout_s);
	case OPT_AUTH:
		w->transport.auth = optarg;
		return 0;
	case OPT_NR_IO_QUEUES:
		return number("--nr-io-queues", optarg, 1, 1024,
			      &w->transport.nr_io_queues);
	case OPT_QUEUE_SIZE:
		return number("--queue-size", optarg, 16, 1024,
			      &w->transport.queue_size);
	case OPT_HDR_DIGEST:
		w->transport.hdr_digest = true;
		return 0;
	case OPT_DATA_DIGEST:
		w->transport.data_digest = true;
		return 0;
	case OPT_DHCHAP_SECRET:
		w->transport.dhchap_secret_file = optarg;
		return 0;
	case OPT_DHCHAP_CTRL_SECRET:
		w->transport.dhchap_ctrl_secret_file = optarg;
		return 0;
	case OPT_TLS_KEY:
		w->transport.tls_key_file = optarg;
		w->transport.tls = true;
		return 0;
	case OPT_CONCAT:
		w->transport.concat = true;
		return 0;
	case OPT_TLS:
		w->transport.tls = true;
		return 0;
	case ':':
		return verb_usage("%s needs a value", "the last option");
	default:
		return verb_usage("on: unknown option");
	}
}

static int parse(int argc, char **argv, struct wish *w)
{
	const char *why, *misfit;
	int c, r;

	memset(w, 0, sizeof(*w));
	w->discard = true;
	optind = 0; /* glibc: begin anew, `on --all` parses many lines */
	opterr = 0;
	for (;;) {
		int at = optind ? optind : 1;

		c = getopt_long(argc, argv, ":p:v", options, NULL);
		if (c < 0)
			break;
		if (c == ':')
			return verb_usage("%s needs a value", argv[at]);
		if (c == '?')
			return verb_usage("on: unknown option %s", argv[at]);
		r = take_option(w, c);
		if (r)
			return r;
	}
	if (w->all)
		return optind == argc ? 0 : verb_usage("on --all takes no URL");
	if (optind != argc - 1)
		return verb_usage("on needs one URL, such as nbd://HOST/default");
	if (url_parse(argv[optind], &w->url, &why))
		return verb_usage("%s: %s", argv[optind], why);
	if (w->transport.dhchap_ctrl_secret_file && !w->transport.dhchap_secret_file)
		return verb_usage("--dhchap-ctrl-secret-file needs "
				  "--dhchap-secret-file: the server proves itself to a "
				  "host that does so");
	if (w->transport.concat && w->transport.tls)
		return verb_usage("--concat makes a key itself: leave out %s",
				  w->transport.tls_key_file ? "--tls-key-file"
							    : "--tls");
	misfit = transport_of(&w->url)->misfit(&w->transport);
	if (misfit)
		return verb_usage("%s has no meaning for %s", misfit,
				  transport_of(&w->url)->name);
	if (w->transport.concat && !w->transport.dhchap_secret_file)
		return verb_usage(
			"--concat needs --dhchap-secret-file: its key for TLS "
			"comes of the login");
	return 0;
}

static int enter(struct attachment *a, enum phase phase)
{
	a->phase = phase;
	if (interrupted) {
		say_error("interrupted: undoing");
		return -EINTR;
	}
	return state_save(a);
}

static int swap_on(struct attachment *a)
{
	struct swaps s;
	char path[64];
	int r = swaps_read(&s);

	if (!r) {
		if (!a->priority)
			a->priority = swaps_next_priority(&s);
		snprintf(path, sizeof(path), "/dev/%s", a->kdev);
		say_step("switching on %s, priority %d", path, a->priority);
		r = swaps_on(path, a->priority, a->discard);
	}
	if (r == -EPERM)
		say_error("swapon /dev/%s: the kernel has no place for another swap "
			  "area, "
			  "or this container may not add one",
			  a->kdev);
	else if (r)
		say_error("swapon /dev/%s: %s", a->kdev, strerror(-r));
	return r;
}

/* From nothing to a swap that is on; what it leaves on failure is for detach_device. */
static int attach(struct attachment *a, const struct wish *w)
{
	const struct transport *t = transport_of(&w->url);
	struct timespec now;
	int r = enter(a, PHASE_CONNECTING);

	if (!r) {
		r = t->connect(a, &w->transport);
		if (r)
			return r;
		r = enter(a, PHASE_CONNECTED);
	}
	if (!r)
		r = device_prepare(a, w->force);
	if (!r && !w->keep_min_free)
		tune_raise(w->min_free_kb);
	if (!r)
		r = t->arm(a);
	if (!r)
		r = enter(a, PHASE_ARMED);
	if (!r)
		r = swap_on(a);
	if (r)
		return r;
	clock_gettime(CLOCK_REALTIME, &now);
	a->since_s = now.tv_sec;
	a->phase = PHASE_ON;
	/* It is on, whatever becomes of that: `off` looks at /proc/swaps, too. */
	if (state_save(a))
		say_warning("the state of /dev/%s stays as it was before swapon",
			    a->kdev);
	return 0;
}

/*
 * There is a state: of a device that is on, or of a memswap that died. 1: nothing is
 * left to do; 0: nothing is left of it.
 */
static int take_over(struct attachment *a)
{
	const struct transport *t = transport_of(&a->url);
	struct transport_status status;
	char url[URL_TEXT_MAX + 1];
	struct swaps s;
	int r = swaps_read(&s);

	if (r)
		return r;
	if (!a->kdev[0] || !swaps_find(&s, a->kdev)) {
		say_warning("undoing what an earlier memswap left of %s",
			    url_format(&a->url, url));
		return detach_device(a);
	}
	if (a->phase != PHASE_ON) {
		a->phase = PHASE_ON;
		r = state_save(a);
		if (r)
			return r;
	}
	r = transport_rearm(a);
	if (r) {
		if (r > 0)
			printf("%s: /dev/%s has a keeper again\n",
			       url_format(&a->url, url), a->kdev);
		return r;
	}
	t->status(a, &status);
	printf("%s is already on: /dev/%s, %s\n", url_format(&a->url, url), a->kdev,
	       transport_state_name(status.state));
	return 1;
}

static void announce(const struct attachment *a)
{
	char url[URL_TEXT_MAX + 1], size[SIZE_FORMAT_MAX];

	printf("%s: %s of swap on /dev/%s, priority %d\n", url_format(&a->url, url),
	       size_format(a->size_bytes, size, sizeof(size)), a->kdev, a->priority);
}

static int on_locked(const struct wish *w)
{
	struct attachment a;
	uint8_t uuid[16];
	int r = state_load(&w->url, &a);

	if (!r) {
		r = take_over(&a);
		if (r)
			return r < 0 ? r : 0;
	} else if (r != -ENOENT) {
		say_error("the state of an earlier memswap can't be read: %s",
			  strerror(-r));
		return r;
	}
	memset(&a, 0, sizeof(a));
	a.url = w->url;
	a.priority = w->priority;
	a.discard = w->discard;
	r = uuid_new(uuid);
	uuid_format(uuid, a.uuid);
	if (!r)
		r = attach(&a, w);
	if (!r) {
		announce(&a);
		return 0;
	}
	/* Failing, connect has cleaned up after itself and named no device. */
	if (a.phase > PHASE_CONNECTING)
		detach_device(&a);
	else
		state_remove(&a.url);
	return r;
}

static int on_one(const struct wish *w)
{
	_cleanup_close_ int lock = -1;

	if (state_open_folder())
		return 1;
	lock = state_lock(&w->url, false);
	if (lock == -EBUSY) {
		say_error("another memswap is at work on that export");
		return 1;
	}
	if (lock < 0) {
		say_error("can't lock the state folder: %s", strerror(-lock));
		return 1;
	}
	return on_locked(w) ? 1 : 0;
}

static int on_line(int argc, char **argv, unsigned int line)
{
	struct wish w;

	if (parse(argc, argv, &w)) {
		say_error("%s:%u: not understood", URLS_FILE, line);
		return 1;
	}
	if (w.all) {
		say_error("%s:%u: --all has no meaning here", URLS_FILE, line);
		return 1;
	}
	return interrupted ? 1 : on_one(&w);
}

int verb_on_run(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct wish w;
	int r = parse(argc, argv, &w);

	if (r)
		return r;
	if (verb_need_root("attaching swap"))
		return 1;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	if (!w.all)
		return on_one(&w);
	r = urls_file_each(URLS_FILE, on_line);
	if (r < 0)
		say_error("can't read %s: %s", URLS_FILE, strerror(-r));
	return r ? 1 : 0;
}
