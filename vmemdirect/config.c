/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command line in, struct config out; main thread, no side effects but messages. */
#include "vmemdirect/config.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/size.h"
#include "vmemdirect/config_help.h"
#include "vmemdirect/qmp.h"

enum {
	OPT_QMP = 256,
	OPT_DOMAIN,
	OPT_MEMDEV,
	OPT_PID,
	OPT_RAM,
	OPT_SSD,
	OPT_SSD_SIZE,
	OPT_SPILL,
	OPT_MIRROR,
	OPT_NO_PREALLOCATE,
	OPT_TIER,
	OPT_NAME,
	OPT_POLICY,
	OPT_PREFETCH,
	OPT_SPIN,
	OPT_PIN,
	OPT_FORCE,
	OPT_RESUME,
	OPT_AUTO_RESUME,
	OPT_STATE,
	OPT_LOG,
	OPT_METRICS,
	OPT_LISTEN,
	OPT_SOURCE_QMP,
	OPT_SOURCE_MEMDEV,
	OPT_PAUSED,
	OPT_JSON,
	OPT_HISTORY,
	OPT_HISTORY_CHUNK,
	OPT_TO,
	OPT_PERIOD,
};

static const struct option options[] = {
	{ "qmp", required_argument, NULL, OPT_QMP },
	{ "domain", required_argument, NULL, OPT_DOMAIN },
	{ "memdev", required_argument, NULL, OPT_MEMDEV },
	{ "pid", required_argument, NULL, OPT_PID },
	{ "ram", required_argument, NULL, OPT_RAM },
	{ "ssd", required_argument, NULL, OPT_SSD },
	{ "ssd-size", required_argument, NULL, OPT_SSD_SIZE },
	{ "spill", required_argument, NULL, OPT_SPILL },
	{ "mirror", required_argument, NULL, OPT_MIRROR },
	{ "no-preallocate", no_argument, NULL, OPT_NO_PREALLOCATE },
	{ "tier", required_argument, NULL, OPT_TIER },
	{ "name", required_argument, NULL, OPT_NAME },
	{ "policy", required_argument, NULL, OPT_POLICY },
	{ "prefetch", required_argument, NULL, OPT_PREFETCH },
	{ "spin", required_argument, NULL, OPT_SPIN },
	{ "pin", required_argument, NULL, OPT_PIN },
	{ "force", no_argument, NULL, OPT_FORCE },
	{ "resume", required_argument, NULL, OPT_RESUME },
	{ "auto-resume", no_argument, NULL, OPT_AUTO_RESUME },
	{ "state", required_argument, NULL, OPT_STATE },
	{ "log", required_argument, NULL, OPT_LOG },
	{ "metrics", required_argument, NULL, OPT_METRICS },
	{ "listen", required_argument, NULL, OPT_LISTEN },
	{ "source-qmp", required_argument, NULL, OPT_SOURCE_QMP },
	{ "source-memdev", required_argument, NULL, OPT_SOURCE_MEMDEV },
	{ "paused", no_argument, NULL, OPT_PAUSED },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "history", required_argument, NULL, OPT_HISTORY },
	{ "history-chunk", required_argument, NULL, OPT_HISTORY_CHUNK },
	{ "to", required_argument, NULL, OPT_TO },
	{ "period", required_argument, NULL, OPT_PERIOD },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

bool config_name_ok(const char *name)
{
	static const char ok[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				 "0123456789-_.+@";

	return *name && *name != '.' && strlen(name) < GUEST_NAME_MAX &&
	       strspn(name, ok) == strlen(name);
}

static int bad(const char *option, const char *value, const char *want)
{
	fprintf(stderr, "vmemdirect: --%s %s: %s\n", option, value, want);
	return -EINVAL;
}

static int take_text(const char *option, const char *value, char *ret, size_t len)
{
	if (strlen(value) >= len)
		return bad(option, value, "too long");
	strcpy(ret, value);
	return 0;
}

static int take_number(const char *option, const char *value, unsigned long max,
		       unsigned long *ret)
{
	char *end;

	errno = 0;
	*ret = strtoul(value, &end, 10);
	if (errno || end == value || *end || *ret > max || *value == '-')
		return bad(option, value, "not a number that makes sense");
	return 0;
}

static int take_name(const char *option, const char *value, struct config *c)
{
	if (!config_name_ok(value))
		return bad(option, value, "letters, digits and -_.+@ only, at most 63");
	strcpy(c->name, value);
	return 0;
}

static int take_domain(const char *value, struct config *c)
{
	if (!config_name_ok(value) || *value == '-')
		return bad("domain", value,
			   "letters, digits and -_.+@ only, at most 63");
	snprintf(c->qmp, sizeof(c->qmp), QMP_VIRSH "%s", value);
	if (!c->name[0])
		strcpy(c->name, value);
	return 0;
}

static int take_log(const char *value)
{
	enum log_level level;

	if (log_level_parse(value, &level) < 0)
		return bad("log", value, "err, warning, notice, info or debug");
	log_set_level(level);
	return 0;
}

/* Nobody is asked who he is: so nobody from outside. */
static int take_metrics(const char *value, struct config *c)
{
	c->metrics_on = strcmp(value, "off") != 0;
	if (!c->metrics_on)
		return 0;
	if (addr_parse(value, CONFIG_METRICS_PORT, &c->metrics) < 0 ||
	    c->metrics.sa.sa_family == AF_UNIX)
		return bad("metrics", value, "ADDR:PORT, e.g. 127.0.0.1:9403, or off");
	if (!addr_is_local(&c->metrics.sa))
		return bad("metrics", value,
			   "a loopback address; for other hosts put a proxy in front, "
			   "or give `vmemdirect metrics` to node_exporter");
	return 0;
}

/* HOST:PORT, also as QEMU writes it. */
static const char *without_tcp(const char *value)
{
	return strncmp(value, "tcp:", 4) ? value : value + 4;
}

static int take_watch_option(int opt, const char *value, struct config *c)
{
	unsigned long n;
	int r;

	if (opt == OPT_TO)
		return take_text("to", without_tcp(value), c->to, sizeof(c->to));
	r = take_number("period", value, 3600000, &n);
	c->period_ms = (uint32_t)n;
	return !r && n < 10 ? bad("period", value, "10 ms at least") : r;
}

static int take_receive_option(int opt, const char *value, struct config *c)
{
	unsigned long n;
	int r;

	switch (opt) {
	case OPT_HISTORY:
		return take_text("history", without_tcp(value), c->history,
				 sizeof(c->history));
	case OPT_HISTORY_CHUNK:
		r = take_number("history-chunk", value, 1 << 20, &n);
		c->history_chunk = (uint32_t)n;
		return r;
	case OPT_LISTEN:
		return take_text("listen", without_tcp(value), c->listen,
				 sizeof(c->listen));
	case OPT_SOURCE_QMP:
		return take_text("source-qmp", value, c->source_qmp,
				 sizeof(c->source_qmp));
	case OPT_SOURCE_MEMDEV:
		if (c->nr_source_memdevs == GUEST_BLOCKS_MAX ||
		    strlen(value) >= GUEST_NAME_MAX)
			return bad("source-memdev", value, "too many, or too long");
		c->source_memdev[c->nr_source_memdevs++] = value;
		return 0;
	case OPT_PAUSED:
		c->stay_paused = true;
		return 0;
	case OPT_JSON:
		c->json = true;
		return 0;
	}
	return -EINVAL;
}

/* Whether the verb knows the option: each has some of its own, and watch pages nothing. */
static bool takes(const struct config *c, int opt)
{
	if (opt == '?')
		return true; /* getopt has said so */
	if (c->watch)
		return opt <= OPT_PID || opt == OPT_NAME || opt == OPT_LOG ||
		       opt >= OPT_TO;
	if (c->receive)
		return opt != OPT_PID && opt != OPT_RESUME && opt != OPT_AUTO_RESUME &&
		       opt < OPT_TO;
	return opt < OPT_LISTEN;
}

static int take_option(int opt, const char *value, struct config *c)
{
	unsigned long n;
	int r;
	switch (opt) {
	case OPT_QMP:
		return take_text("qmp", value, c->qmp, sizeof(c->qmp));
	case OPT_DOMAIN:
		return take_domain(value, c);
	case OPT_MEMDEV:
		if (c->nr_memdevs == GUEST_BLOCKS_MAX ||
		    strlen(value) >= GUEST_NAME_MAX)
			return bad("memdev", value, "too many, or too long");
		c->memdev[c->nr_memdevs++] = value;
		return 0;
	case OPT_PID:
		r = take_number("pid", value, 1 << 22, &n);
		c->pid = (pid_t)n;
		return !r && !n ? bad("pid", value, "no process has it") : r;
	case OPT_RAM:
		r = size_parse(value, &c->ram_bytes);
		return r < 0 ? bad("ram", value, "not a size, e.g. 2G") : 0;
	case OPT_SSD:
		return take_text("ssd", value, c->ssd, sizeof(c->ssd));
	case OPT_SSD_SIZE:
		r = size_parse(value, &c->ssd_bytes);
		return r < 0 || !c->ssd_bytes
			       ? bad("ssd-size", value, "not a size, e.g. 2G")
			       : 0;
	case OPT_SPILL:
		if (c->nr_spills == CONFIG_SPILLS_MAX)
			return bad("spill", value, "too many");
		c->spill[c->nr_spills++] = value;
		c->spill_tier = true;
		return 0;
	case OPT_MIRROR:
		r = take_number("mirror", value, 2, &n);
		c->mirror = (unsigned int)n;
		return !r && !n ? bad("mirror", value, "1 or 2") : r;
	case OPT_NO_PREALLOCATE:
		c->preallocate = false;
		return 0;
	case OPT_TIER:
		c->null_tier = !strcmp(value, "null");
		return c->null_tier || !strcmp(value, "ssd")
			       ? 0
			       : bad("tier", value, "ssd or null");
	case OPT_NAME:
		return take_name("name", value, c);
	case OPT_POLICY:
		return policy_parse(value, &c->policy) < 0
			       ? bad("policy", value, "s3fifo or fifo")
			       : 0;
	case OPT_PREFETCH:
		r = take_number("prefetch", value, 4096, &n);
		c->prefetch_pages = (uint32_t)n;
		return r;
	case OPT_SPIN:
		r = take_number("spin", value, 1000000, &n);
		c->spin_us = (uint32_t)n;
		return r;
	case OPT_PIN:
		return pin_parse(value, &c->pin) < 0
			       ? bad("pin", value, "auto, bpf, kcore or off")
			       : 0;
	case OPT_FORCE:
		c->force = true;
		return 0;
	case OPT_RESUME:
		c->resume = true;
		return take_name("resume", value, c);
	case OPT_AUTO_RESUME:
		c->auto_resume = true;
		return 0;
	case OPT_STATE:
		return take_text("state", value, c->state_dir,
				 sizeof(c->state_dir) / 2);
	case OPT_LOG:
		return take_log(value);
	case OPT_METRICS:
		return take_metrics(value, c);
	}
	if (opt == OPT_TO || opt == OPT_PERIOD)
		return take_watch_option(opt, value, c);
	return take_receive_option(opt, value, c);
}

static int complain(const struct config *c, const char *what)
{
	const char *verb = c->receive ? "receive" : c->watch ? "watch" : "attach";

	fprintf(stderr, "vmemdirect: %s: %s\n(vmemdirect %s --help)\n", verb, what,
		verb);
	return -EINVAL;
}

static int check_watch(const struct config *c)
{
	if (!c->to[0])
		return complain(c, "say who gets the history: --to HOST:PORT");
	if (!c->qmp[0] && !c->pid)
		return complain(
			c, "say which VM: --qmp SOCKET, --domain NAME or --pid PID");
	if (c->nr_memdevs && !c->qmp[0])
		return complain(c, "--memdev needs --qmp or --domain");
	return 0;
}

static int check_spill(const struct config *c)
{
	if (c->ssd_bytes && !c->ssd[0])
		return complain(c, "--ssd-size is of --ssd");
	if (!c->nr_spills && (c->ssd_bytes || c->mirror > 1))
		return complain(c, "--ssd-size and --mirror need --spill");
	if (c->mirror > 1 && c->nr_spills < 2)
		return complain(c, "--mirror 2 needs exports of two hosts");
	return 0;
}

static int check(const struct config *c)
{
	if (c->watch)
		return check_watch(c);
	if (c->receive && !c->listen[0])
		return complain(c, "say where the source connects: --listen HOST:PORT");
	if (c->nr_source_memdevs > c->nr_memdevs)
		return complain(c, "--source-memdev names a --memdev each, in order");
	if (c->resume)
		return 0;
	if (c->auto_resume && !c->name[0])
		return complain(c, "--auto-resume needs --name");
	if (!c->qmp[0] && !c->pid)
		return complain(
			c, "say which VM: --qmp SOCKET, --domain NAME or --pid PID");
	if (c->nr_memdevs && !c->qmp[0])
		return complain(c, "--memdev needs --qmp or --domain");
	if (!c->ram_bytes)
		return complain(c, "say how much may be resident: --ram SIZE");
	if (c->null_tier ? c->ssd[0] || c->nr_spills : !c->ssd[0] && !c->nr_spills)
		return complain(c, "say where pages go: --ssd PATH, --spill URL");
	return check_spill(c);
}

static int parse(int argc, char **argv, const char *help, struct config *ret)
{
	struct config c = {
		.preallocate = true,
		.spin_us = 50,
		.prefetch_pages = 256,
		.receive = help == config_receive_help,
		.watch = help == config_watch_help,
		.period_ms = 1000,
		.mirror = 1,
	};
	char unknown[64];
	int opt, i, r = 0;

	strcpy(c.state_dir, CONFIG_STATE_DIR);
	optind = 1;
	while (!r && (opt = getopt_long(argc, argv, "h", options, &i)) != -1) {
		if (opt == 'h') {
			fputs(help, stdout);
			return 1;
		}
		if (takes(&c, opt)) {
			r = take_option(opt, optarg, &c);
			continue;
		}
		snprintf(unknown, sizeof(unknown), "it has no option --%s",
			 options[i].name);
		r = complain(&c, unknown);
	}
	if (!r && optind < argc)
		r = complain(&c, "too many words");
	if (!r)
		r = check(&c);
	if (!r)
		*ret = c;
	return r;
}

int config_parse_attach(int argc, char **argv, struct config *ret)
{
	return parse(argc, argv, config_attach_help, ret);
}

int config_parse_receive(int argc, char **argv, struct config *ret)
{
	return parse(argc, argv, config_receive_help, ret);
}

int config_parse_watch(int argc, char **argv, struct config *ret)
{
	return parse(argc, argv, config_watch_help, ret);
}
