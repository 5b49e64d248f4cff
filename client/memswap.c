/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memswap: swaps on memory that another host lends. What a person types comes in, one
 * verb runs, its exit status goes out. One thread.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/keeper.h"
#include "client/say.h"
#include "client/verbs.h"

static const struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
} verbs[] = {
	{ "on", verb_on_run },
	{ "off", verb_off_run },
	{ "status", verb_status_run },
};

static const char help[] =
	"memswap: swap on memory that another host lends\n"
	"\n"
	"  memswap on URL [options]         attach the export and swap on it\n"
	"  memswap on --all                 every line of /etc/memswap.urls\n"
	"  memswap off [URL|DEVICE|--all]   bring everything back, and detach\n"
	"  memswap status [--json]          what is attached, how it is doing\n"
	"  memswap --help | --version\n"
	"\n"
	"URL:\n"
	"  nvme-tcp://HOST[:PORT]/EXPORT    port 4420\n"
	"  nbd://HOST[:PORT]/EXPORT         port 10809\n"
	"  nbd+unix:///EXPORT?socket=PATH\n"
	"  iscsi://HOST[:PORT]/EXPORT       port 3260, by open-iscsi\n"
	"\n"
	"on:\n"
	"  -p, --priority N      swap priority, 1 to 32767 (above all present ones)\n"
	"  --no-discard          never give freed pages back to the lender\n"
	"  --min-free SIZE|keep  vm.min_free_kbytes while attached (by the RAM's "
	"size)\n"
	"  --force               overwrite what the export holds; take it from a host "
	"that\n"
	"                        is gone\n"
	"  -v, --verbose         say every step\n"
	"  nbd:       --connections N (one per CPU, at most 4), --timeout SECONDS "
	"(10),\n"
	"             --queue-size N (32)\n"
	"  nvme-tcp:  --nr-io-queues N, --queue-size N (32), --hdr-digest,\n"
	"             --data-digest,\n"
	"             --dhchap-secret-file FILE, --dhchap-ctrl-secret-file FILE,\n"
	"             --concat, --tls, --tls-key-file FILE\n"
	"  iscsi:     --auth FILE (CHAP)\n"
	"\n"
	"off:\n"
	"  --force               although it may not fit into RAM, or the server is "
	"gone\n"
	"                        (then what was swapped out is lost)\n"
	"  -v, --verbose         show how much is left\n"
	"\n"
	"Exit status: 0 done, 1 failed, 2 typed wrong. memswap(8) has the rest.\n";

int verb_usage(const char *fmt, ...)
{
	char text[1500];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	say_error("%s (memswap --help)", text);
	return 2;
}

int verb_need_root(const char *what)
{
	if (!geteuid())
		return 0;
	say_error("%s needs root: try sudo", what);
	return 1;
}

int main(int argc, char **argv)
{
	keeper_use_title(argc, argv);
	if (argc < 2) {
		fputs(help, stderr);
		return 2;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		fputs(help, stdout);
		return 0;
	}
	if (!strcmp(argv[1], "--version")) {
		puts("memswap " REMEM_VERSION);
		return 0;
	}
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (!strcmp(argv[1], verbs[i].name)) {
			if (argc > 2 &&
			    (!strcmp(argv[2], "--help") || !strcmp(argv[2], "-h"))) {
				fputs(help, stdout);
				return 0;
			}
			return verbs[i].run(argc - 1, argv + 1);
		}
	return verb_usage("no verb \"%s\": on, off or status", argv[1]);
}
