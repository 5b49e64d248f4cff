/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vmemdirect: a command line in; `attach` becomes the daemon of one VM and sits in its
 * loop (signals, control socket, the pager's events, the end of the process), the
 * other verbs ask such a daemon.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "lib/fault.h"
#include "lib/httpd.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/size.h"
#include "vmemdirect/config.h"
#include "vmemdirect/ctl.h"
#include "vmemdirect/metrics.h"
#include "vmemdirect/receive.h"
#include "vmemdirect/verb_watch.h"
#include "vmemdirect/verbs.h"
#include "vmemdirect/vm.h"

struct daemon {
	struct loop *loop;
	struct ctl_server *ctl;
	struct vm vm;
	struct loop_fd pager_watch, pid_watch;
	struct loop_timer timer;
	struct httpd *metrics; /* owned; NULL: off */
	struct loop_fd metrics_watch;
	struct receive *receive; /* owned */
	bool gone;               /* the process, while it was receiving */
};

/* A VM waits for us while we wait for memory: ours is locked, as it is touched. */
static void secure_memory(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "-1000", 5) != 5)
		log_info("the kernel may choose vmemdirect when memory runs out "
			 "(oom_score_adj: %s)",
			 strerror(errno));
	if (fd >= 0)
		close(fd);
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
		log_warn("memory cannot be locked (%s): raise LimitMEMLOCK",
			 strerror(errno));
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0)
		log_info("not marked as part of the I/O path (PR_SET_IO_FLUSHER: %s)",
			 strerror(errno));
}

static void on_signal(void *arg, int signo)
{
	char need[SIZE_FORMAT_MAX], have[SIZE_FORMAT_MAX];
	struct daemon *d = arg;
	uint64_t n, h;

	if (signo == SIGHUP)
		return;
	if (d->vm.state == VM_RECEIVING) {
		receive_stop(d->receive);
		return;
	}
	if (vm_detach(&d->vm, &n, &h) < 0)
		vm_err(&d->vm.guest,
		       "not ending: %s have to come back into memory and the host has "
		       "%s. "
		       "Raise that, or kill -9 %d (the VM then waits for attach "
		       "--resume)",
		       size_format(n, need, sizeof(need)),
		       size_format(h, have, sizeof(have)), getpid());
	else
		vm_note(&d->vm.guest, "detaching (signal %d)", signo);
}

static void stop_if_over(struct daemon *d)
{
	if (d->vm.state == VM_DETACHED || d->vm.state == VM_ENDED)
		loop_stop(d->loop);
}

/* The router finds out by itself, and says at which step; unless it only listens. */
static void gone_while_receiving(struct daemon *d)
{
	d->gone = true;
	receive_destination_gone(d->receive);
}

static void on_pager(void *arg, uint32_t ready)
{
	struct daemon *d = arg;
	uint32_t events = pager_events(d->vm.pager);

	if ((events & PAGER_GONE) && d->vm.state == VM_RECEIVING) {
		gone_while_receiving(d);
		events &= ~PAGER_GONE;
	}
	vm_on_events(&d->vm, events);
	stop_if_over(d);
}

static void on_exit_(void *arg, uint32_t events)
{
	struct daemon *d = arg;

	loop_fd_del(&d->pid_watch);
	if (d->vm.state == VM_RECEIVING) {
		gone_while_receiving(d);
		return;
	}
	vm_on_exit(&d->vm);
	stop_if_over(d);
}

static void on_timer(void *arg)
{
	struct daemon *d = arg;

	vm_look_at_memory(&d->vm);
	if (d->metrics)
		httpd_run(d->metrics);
}

/* ---- metrics ---- */

static char *metrics_of(void *arg, size_t *ret_len)
{
	struct daemon *d = arg;

	return metrics_text(ctl_status(&d->vm), ret_len);
}

static void on_metrics(void *arg, uint32_t events)
{
	struct daemon *d = arg;

	httpd_run(d->metrics);
}

/* Before the attach: a port that is taken must not end a daemon with pages out. One
 * that goes on with such a VM does so without metrics. */
static int listen_for_metrics(struct daemon *d, const struct config *cfg)
{
	const struct httpd_cfg http = {
		.addr = cfg->metrics,
		.text = metrics_of,
		.arg = d,
	};
	int r = cfg->metrics_on ? httpd_start(&http, &d->metrics) : 0;

	return cfg->resume || cfg->auto_resume ? 0 : r;
}

static int serve_metrics(struct daemon *d)
{
	return d->metrics ? loop_fd_add(d->loop, &d->metrics_watch,
					httpd_fd(d->metrics), EPOLLIN, on_metrics, d)
			  : 0;
}

static int serve(struct daemon *d)
{
	int r = loop_fd_add(d->loop, &d->pager_watch, pager_event_fd(d->vm.pager),
			    EPOLLIN, on_pager, d);

	if (!r)
		r = loop_fd_add(d->loop, &d->pid_watch, d->vm.guest.pidfd, EPOLLIN,
				on_exit_, d);
	if (!r)
		r = ctl_open(d->loop, &d->vm, &d->ctl);
	if (!r)
		r = serve_metrics(d);
	if (!r)
		r = loop_timer_init(d->loop, &d->timer, on_timer, d);
	if (!r) {
		loop_timer_set(&d->timer, PLUG_LOOK_S * UINT64_C(1000000000),
			       PLUG_LOOK_S * UINT64_C(1000000000));
		sd_notify(0, "READY=1");
		r = loop_run(d->loop);
	}
	if (r < 0)
		log_err("%s; the VM waits for: vmemdirect attach --resume %s",
			strerror(-r), d->vm.guest.name);
	loop_timer_fini(&d->timer);
	loop_fd_del(&d->metrics_watch);
	loop_fd_del(&d->pager_watch);
	loop_fd_del(&d->pid_watch);
	return r;
}

/* What comes before the VM is touched. */
static int prepare(struct daemon *d, const struct config *cfg)
{
	int r;

	signal(SIGPIPE, SIG_IGN);
	secure_memory();
	r = loop_new(&d->loop);
	if (!r)
		r = loop_signals(d->loop, on_signal, d);
	return r < 0 ? r : listen_for_metrics(d, cfg);
}

/* A VM that waits for a resume which failed for a reason that may pass. */
#define EXIT_VM_WAITS 3

static int failed_attach(const struct vm *v, int r)
{
	bool for_good = r == -ESTALE || r == -ESRCH || r == -ENOENT || r == -EPROTO;

	return v->cfg.resume && !for_good ? EXIT_VM_WAITS : 1;
}

static int do_attach(int argc, char **argv)
{
	struct daemon d = { 0 };
	struct config cfg;
	int r = config_parse_attach(argc, argv, &cfg);

	if (r)
		return r < 0 ? 2 : 0;
	if (fault_init() < 0)
		return 2;
	r = prepare(&d, &cfg);
	if (!r)
		r = vm_open(&cfg, &d.vm);
	if (r < 0) {
		httpd_stop(d.metrics);
		loop_free(d.loop);
		return failed_attach(&d.vm, r);
	}
	if (d.vm.cfg.resume)
		receive_resume(&d.vm);
	r = serve(&d);
	sd_notify(0, "STOPPING=1");
	httpd_stop(d.metrics);
	vm_close(&d.vm);
	ctl_close(d.ctl);
	rmdir(d.vm.dir);
	loop_free(d.loop);
	return r < 0;
}

/* The migration has come to its end, whichever. */
static void on_received(void *arg, bool here)
{
	struct daemon *d = arg;

	if (here)
		d->vm.state = VM_PAGED;
	if (here && d->gone)
		vm_on_exit(&d->vm);
	if (!here || d->gone)
		loop_stop(d->loop);
}

static int do_receive(int argc, char **argv)
{
	struct daemon d = { 0 };
	struct config cfg;
	bool failed;
	int r = config_parse_receive(argc, argv, &cfg);

	if (r)
		return r < 0 ? 2 : 0;
	if (fault_init() < 0)
		return 2;
	r = prepare(&d, &cfg);
	if (!r)
		r = receive_open(&cfg, d.loop, &d.vm, on_received, &d, &d.receive);
	if (r < 0) {
		httpd_stop(d.metrics);
		loop_free(d.loop);
		return 1;
	}
	r = serve(&d);
	sd_notify(0, "STOPPING=1");
	httpd_stop(d.metrics);
	failed = d.vm.state == VM_RECEIVING || !receive_done(d.receive);
	ctl_close(d.ctl); /* it asks receive for its status */
	receive_close(d.receive);
	vm_close(&d.vm);
	rmdir(d.vm.dir);
	loop_free(d.loop);
	return r < 0 || failed;
}

static int do_version(int argc, char **argv)
{
	puts("vmemdirect " REMEM_VERSION);
	return 0;
}

static const struct verb {
	const char *name, *help;
	int (*fn)(int argc, char **argv);
} verbs[] = {
	{ "attach", "page a running VM: keep at most so much of it in RAM", do_attach },
	{ "receive", "take a migrating VM in, straight into RAM and onto SSD",
	  do_receive },
	{ "watch", "learn which pages a VM uses, for the host it migrates to",
	  verb_watch },
	{ "status", "what a paged VM is doing", verbs_status },
	{ "list", "all paged VMs of this host", verbs_list },
	{ "set", "change the limit while the VM runs", verbs_set },
	{ "detach", "bring everything back and leave an ordinary VM", verbs_detach },
	{ "metrics", "the figures of all paged VMs, for Prometheus", verbs_metrics },
	{ "fault", "make a fault point fail (for tests)", verbs_fault },
	{ "version", "print it", do_version },
};

static void print_help(FILE *f)
{
	fputs("usage: vmemdirect VERB ...\n\n", f);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		fprintf(f, "  %-8s %s\n", verbs[i].name, verbs[i].help);
	fputs("\nvmemdirect VERB --help tells more of one; vmemdirect(8) all.\n", f);
}

int main(int argc, char **argv)
{
	log_init("vmemdirect");
	if (argc < 2) {
		print_help(stderr);
		return 2;
	}
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (!strcmp(argv[1], verbs[i].name))
			return verbs[i].fn(argc - 1, argv + 1);
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		print_help(stdout);
		return 0;
	}
	if (!strcmp(argv[1], "--version"))
		return do_version(argc, argv);
	fprintf(stderr, "vmemdirect: no verb \"%s\"\n", argv[1]);
	print_help(stderr);
	return 2;
}
