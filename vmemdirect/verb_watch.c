/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A command line in, an access history out when a receiver asks for it. Once a second:
 * look which pages are mapped, count them, unmap them. A round in whose time a
 * migration has read all of the memory tells nothing and is not counted.
 */
#include "vmemdirect/verb_watch.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "lib/addr.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/size.h"
#include "vmemdirect/attach/attach.h"
#include "vmemdirect/config.h"
#include "vmemdirect/find.h"
#include "vmemdirect/history/scan.h"
#include "vmemdirect/history/sender.h"
#include "vmemdirect/qmp.h"

#define PORT         4445
#define CPU_SHARE    10 /* a round may take one part in so many of one CPU */
#define FULL_SAMPLES 16 /* an aging byte remembers no more */

struct watcher {
	struct config cfg;
	struct guest guest;
	struct loop *loop;
	struct scan *scan;     /* owned */
	struct sender *sender; /* owned */
	struct loop_timer round;
	struct loop_fd pid_watch;
	bool clean; /* all pages were unmapped at the end of the last round */
	bool swap_told;
	int status;
};

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static bool migrating(const struct watcher *w)
{
	static const char *const at_rest[] = { "", "none", "completed", "failed",
					       "cancelled" };
	char status[32];

	if (!w->cfg.qmp[0])
		return false;
	qmp_status(w->cfg.qmp, "query-migrate", status, sizeof(status));
	for (size_t i = 0; i < sizeof(at_rest) / sizeof(at_rest[0]); i++)
		if (!strcmp(status, at_rest[i]))
			return false;
	return true;
}

static bool wanted(void *arg)
{
	const struct watcher *w = arg;

	return sender_wanted(w->sender);
}

/* ---- a round ---- */

/* Only while the host cannot swap the VM is unmapping a page free of consequences. */
static bool swap_is_off(struct watcher *w)
{
	bool on = attach_may_be_swapped(&w->guest);

	if (on && !w->swap_told)
		vm_warn(&w->guest, "the host's swap may take its pages now: nothing is "
				   "sampled until that ends");
	w->swap_told = on;
	return !on;
}

static void tell_sample(const struct watcher *w, uint64_t spent_ns)
{
	char size[SIZE_FORMAT_MAX];
	uint32_t n = scan_samples(w->scan);

	size_format(scan_seen(w->scan) << GUEST_PAGE_SHIFT, size, sizeof(size));
	if (n == FULL_SAMPLES)
		vm_note(&w->guest, "%u samples: the history is full", n);
	vm_info(&w->guest, "sample %u: %s touched; %.1f ms of CPU", n, size,
		(double)spent_ns / 1e6);
}

static int one_round(struct watcher *w)
{
	bool was_clean = w->clean, counted = false;
	uint64_t began = cpu_ns();
	int r;

	w->clean = false;
	if (!swap_is_off(w))
		return 0;
	r = scan_look(w->scan, wanted, w);
	if (r < 0)
		return r;
	if (migrating(w) || wanted(w))
		return 0;
	if (was_clean) {
		scan_count(w->scan);
		counted = true;
	}
	r = scan_forget(w->scan, wanted, w);
	w->clean = !r;
	if (counted)
		tell_sample(w, cpu_ns() - began);
	return r;
}

static void give_up(struct watcher *w, int error)
{
	if (error == -EINVAL)
		vm_err(&w->guest, "its memory is locked (mem-lock=on, hugepages): it "
				  "cannot be watched");
	else
		vm_err(&w->guest, "cannot be watched: %s%s", strerror(-error),
		       error == -EPERM ? " (needs CAP_SYS_PTRACE and CAP_SYS_NICE)"
				       : "");
	w->status = 1;
	loop_stop(w->loop);
}

static void on_round(void *arg)
{
	struct watcher *w = arg;
	uint64_t period = w->cfg.period_ms * UINT64_C(1000000), began = cpu_ns(), cost;
	int r = one_round(w);

	if (r < 0 && r != -ECANCELED && r != -ESRCH) {
		give_up(w, r);
		return;
	}
	cost = (cpu_ns() - began) * CPU_SHARE;
	loop_timer_set(&w->round, cost > period ? cost : period, 0);
}

/* ---- life ---- */

static void on_exit_(void *arg, uint32_t events)
{
	struct watcher *w = arg;

	vm_note(&w->guest, "process %d has ended", w->guest.pid);
	loop_stop(w->loop);
}

static void on_signal(void *arg, int signo)
{
	struct watcher *w = arg;

	if (signo != SIGHUP)
		loop_stop(w->loop);
}

static const uint8_t *ages(void *arg, uint32_t *ret_samples)
{
	const struct watcher *w = arg;

	*ret_samples = scan_samples(w->scan);
	return scan_ages(w->scan);
}

static int open_sender(struct watcher *w)
{
	struct sender_cfg s = { .guest = &w->guest, .ages = ages, .arg = w };
	struct history_hello *h = &s.hello;
	int r = addr_parse(w->cfg.to, PORT, &s.to);

	if (r < 0) {
		log_err("--to %s: not an address (HOST:PORT, numbers)", w->cfg.to);
		return r;
	}
	snprintf(h->name, sizeof(h->name), "%s", w->guest.name);
	if (w->cfg.qmp[0])
		find_uuid(w->cfg.qmp, h->uuid);
	h->nr_blocks = w->guest.nr_blocks;
	for (unsigned int i = 0; i < h->nr_blocks; i++) {
		/* A process's map knows no names of QEMU's. */
		if (w->cfg.qmp[0])
			memcpy(h->block[i].name, w->guest.block[i].name,
			       sizeof(h->block[i].name));
		h->block[i].size_bytes = w->guest.block[i].size_bytes;
	}
	return sender_open(&s, w->loop, &w->sender);
}

static int find_guest(struct watcher *w)
{
	struct attach_cfg a = { .nr_want = 0 };
	int r = w->cfg.qmp[0] ? find_by_qmp(&w->cfg, &a) : 0;

	if (r < 0)
		return r;
	find_default_name(&w->cfg);
	a.name = w->cfg.name;
	a.pid = w->cfg.pid;
	return attach_look(&a, &w->guest);
}

static int open_all(struct watcher *w)
{
	int r = find_guest(w);

	if (r < 0)
		return r; /* logged */
	r = loop_signals(w->loop, on_signal, w);
	if (!r)
		r = scan_new(&w->guest, &w->scan);
	if (!r)
		r = loop_fd_add(w->loop, &w->pid_watch, w->guest.pidfd, EPOLLIN,
				on_exit_, w);
	if (!r)
		r = loop_timer_init(w->loop, &w->round, on_round, w);
	if (!r)
		r = open_sender(w);
	if (r < 0)
		vm_err(&w->guest, "cannot be watched: %s", strerror(-r));
	return r;
}

static void close_all(struct watcher *w)
{
	sender_close(w->sender);
	loop_timer_fini(&w->round);
	loop_fd_del(&w->pid_watch);
	scan_free(w->scan);
	attach_close(&w->guest);
	loop_free(w->loop);
}

int verb_watch(int argc, char **argv)
{
	struct watcher w = { .status = 0 };
	char size[SIZE_FORMAT_MAX];
	int r = config_parse_watch(argc, argv, &w.cfg);

	if (r)
		return r < 0 ? 2 : 0;
	signal(SIGPIPE, SIG_IGN);
	if (fault_init() < 0)
		return 2;
	w.guest.pidfd = w.guest.uffd = -1;
	for (unsigned int i = 0; i < GUEST_BLOCKS_MAX; i++)
		w.guest.block[i].fd = -1;
	r = loop_new(&w.loop);
	if (!r)
		r = open_all(&w);
	if (!r) {
		vm_note(&w.guest, "watching process %d: %s of memory", w.guest.pid,
			size_format(w.guest.nr_pages << GUEST_PAGE_SHIFT, size,
				    sizeof(size)));
		sd_notify(0, "READY=1");
		loop_timer_set(&w.round, 1, 0);
		r = loop_run(w.loop);
	}
	close_all(&w);
	return r < 0 ? 1 : w.status;
}
