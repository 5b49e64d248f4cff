/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memctl: administrates a memserver. A command line in, one verb run; its requests go
 * to the daemon's control socket.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "client/memctl_verbs.h"
#include "lib/ctl_client.h"

/* Options a verb takes beside -s and --json. */
enum { TAKES_QUOTA = 1, TAKES_FORCE = 2, TAKES_LIMITS = 4, TAKES_TLS = 8 };

static const struct verb {
	const char *name;
	int (*fn)(struct memctl *m);
	int min_args, max_args;
	int takes;
	const char *usage, *help;
} verbs[] = {
	{ "list", memctl_list, 0, 0, 0, "list", "the exports" },
	{ "create", memctl_create, 2, 2, TAKES_QUOTA | TAKES_TLS,
	  "create NAME SIZE [--quota SIZE] [--tls]",
	  "make an export; --tls: no door serves it in the clear" },
	{ "resize", memctl_create, 2, 2, TAKES_QUOTA, "resize NAME SIZE [--quota SIZE]",
	  "change its size; smaller only while not in use" },
	{ "limit", memctl_limit, 0, 1, TAKES_LIMITS,
	  "limit NAME|--clients [--bandwidth SIZE] [--iops N]",
	  "what its clients, or each client (and --quota), may do" },
	{ "drop", memctl_drop, 1, 1, TAKES_FORCE, "drop NAME [--force]",
	  "remove an export and its bytes; in use only by force" },
	{ "stat", memctl_stat, 0, 1, 0, "stat [NAME]",
	  "counters, latencies, memory; with NAME its clients too" },
	{ "who", memctl_who, 0, 0, 0, "who", "the connections" },
	{ "kick", memctl_kick, 1, 1, 0, "kick ID", "end a connection" },
	{ "show", memctl_show, 1, 1, 0, "show config", "the configuration in effect" },
	{ "reload", memctl_reload, 0, 0, 0, "reload",
	  "read the files of secrets again" },
	{ "log-level", memctl_log_level, 0, 1, 0, "log-level [LEVEL]",
	  "show or set what is logged" },
	{ "fault", memctl_fault, 0, 1, 0, "fault [SPEC]",
	  "show or arm fault points, for tests" },
	{ "version", memctl_version, 0, 0, 0, "version", "the daemon's" },
};

#define NR_VERBS (sizeof(verbs) / sizeof(verbs[0]))

static void help(void)
{
	puts("Usage: memctl [-s PATH | -H HOST] [--json] VERB ...\n"
	     "Administrates the memserver of this host, or of another.\n");
	for (size_t i = 0; i < NR_VERBS; i++)
		printf("  %-34s%s\n", verbs[i].usage, verbs[i].help);
	puts("\n  -s, --socket PATH   the memserver's control socket\n"
	     "  -H, --host HOST[:PORT]  a memserver elsewhere (--remote), over TLS\n"
	     "  -u, --user NAME     log in there as NAME (who you are here)\n"
	     "      --password-file FILE  with the password in it (asked for)\n"
	     "      --ca FILE       whose certificate it must show (the system's)\n"
	     "      --json          print results as JSON\n"
	     "  -h, --help          print this and exit\n"
	     "  -V, --version       print the version of memctl and exit\n\n"
	     "Sizes are bytes or as 512M and 4G. memctl(1) tells more.");
}

static int complain(const char *what, const char *arg, const char *rest)
{
	fprintf(stderr, "memctl: %s%s%s; see memctl --help\n", what, arg, rest);
	return MEMCTL_USAGE;
}

/* Reads the options, wherever they stand. -1: go on; else the exit status. */
static int parse(int argc, char **argv, struct memctl *m)
{
	static const struct option options[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "host", required_argument, NULL, 'H' },
		{ "user", required_argument, NULL, 'u' },
		{ "password-file", required_argument, NULL, 'p' },
		{ "ca", required_argument, NULL, 'A' },
		{ "json", no_argument, NULL, 'j' },
		{ "quota", required_argument, NULL, 'q' },
		{ "bandwidth", required_argument, NULL, 'b' },
		{ "iops", required_argument, NULL, 'i' },
		{ "clients", no_argument, NULL, 'c' },
		{ "force", no_argument, NULL, 'f' },
		{ "tls", no_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	int o;

	opterr = 0;
	while ((o = getopt_long(argc, argv, ":s:H:u:hV", options, NULL)) != -1)
		switch (o) {
		case 's':
			m->socket = optarg;
			break;
		case 'H':
			m->host = optarg;
			break;
		case 'u':
			m->user = optarg;
			break;
		case 'p':
			m->password_file = optarg;
			break;
		case 'A':
			m->ca = optarg;
			break;
		case 'j':
			m->json = true;
			break;
		case 'q':
			m->quota = optarg;
			break;
		case 'b':
			m->bandwidth = optarg;
			break;
		case 'i':
			m->iops = optarg;
			break;
		case 'c':
			m->clients = true;
			break;
		case 'f':
			m->force = true;
			break;
		case 't':
			m->tls = true;
			break;
		case 'h':
			help();
			return MEMCTL_DONE;
		case 'V':
			puts("memctl " REMEM_VERSION);
			return MEMCTL_DONE;
		case ':':
			return complain("", argv[optind - 1], " needs a value");
		default:
			return complain("no such option: ", argv[optind - 1], "");
		}
	return -1;
}

/* Checks what the verb is given and runs it. */
static int run(const struct verb *v, struct memctl *m)
{
	if (m->nr_args < v->min_args || m->nr_args > v->max_args)
		return memctl_usage(m, "wrong number of arguments; usage: memctl %s",
				    v->usage);
	if (m->quota && !(v->takes & TAKES_QUOTA) && !m->clients)
		return memctl_usage(m, "it takes no --quota; usage: memctl %s",
				    v->usage);
	if ((m->bandwidth || m->iops || m->clients) && !(v->takes & TAKES_LIMITS))
		return memctl_usage(m, "it takes no limits; usage: memctl %s",
				    v->usage);
	if (m->tls && !(v->takes & TAKES_TLS))
		return memctl_usage(m, "it takes no --tls; usage: memctl %s", v->usage);
	if (m->force && !(v->takes & TAKES_FORCE))
		return memctl_usage(m, "it takes no --force; usage: memctl %s",
				    v->usage);
	return v->fn(m);
}

static const struct verb *find(const char *name)
{
	for (size_t i = 0; i < NR_VERBS; i++)
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	return NULL;
}

int main(int argc, char **argv)
{
	char path[256];
	struct memctl m = { .socket = path };
	const struct verb *v;
	int r;

	ctl_default_path("memserver", path, sizeof(path));
	r = parse(argc, argv, &m);
	if (r >= 0)
		return r;
	if (optind == argc)
		return complain("say what to do", "", "");
	m.verb = argv[optind];
	m.args = argv + optind + 1;
	m.nr_args = argc - optind - 1;
	v = find(m.verb);
	if (!v)
		return complain("no such verb: ", m.verb, "");
	r = run(v, &m);
	ctl_client_close(m.client);
	if (!r && fflush(stdout)) {
		perror("memctl: standard output");
		r = MEMCTL_FAILED;
	}
	return r;
}
