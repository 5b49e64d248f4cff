// SPDX-License-Identifier: GPL-2.0-or-later
/* A command line comes in, a filled struct load goes out. Start of the program. */
#include "bench/lib/options.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/dhchap_key.h"
#include "lib/secret.h"
#include "lib/size.h"
#include "lib/tls.h"

static int workload_choose(struct load *l)
{
	static const struct {
		const char *name;
		enum io_op op;
		bool random, mix;
	} ops[] = {
		{ "read", IO_READ, false, false },
		{ "write", IO_WRITE, false, false },
		{ "trim", IO_TRIM, false, false },
		{ "randread", IO_READ, true, false },
		{ "randwrite", IO_WRITE, true, false },
		{ "randtrim", IO_TRIM, true, false },
		{ "mix", IO_READ, true, true },
	};

	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++)
		if (!strcmp(ops[i].name, l->cfg.op)) {
			l->work.op = l->target.first_op = ops[i].op;
			l->work.random = ops[i].random;
			l->work.mix = ops[i].mix;
			return 0;
		}
	fprintf(stderr,
		"load: --op %s: read, write, trim, randread, randwrite, "
		"randtrim or mix\n",
		l->cfg.op);
	return -EINVAL;
}

static const char usage[] =
	"usage: load --proto nbd|nvme|iscsi|limit --connect HOST:PORT|unix:PATH [...]\n"
	"  --export NAME      NBD export, NVMe subsystem NQN, iSCSI target name\n"
	"  --op OP            read write trim randread randwrite randtrim mix\n"
	"  --block SIZE       of an I/O (4K)        --span SIZE   of the export to "
	"use\n"
	"  --depth N          per connection (1)    --connections N (1)\n"
	"  --seconds S        of the burst (1)      --warmup S    before it (0)\n"
	"  --tls-ca FILE      NBD by TLS; who vouches for the server\n"
	"  --secret FILE      NVMe: the DHHC-1 secret of this host, "
	"nqn.2026-11.io.remem:bench\n"
	"  --count N          end after N I/O       --mix N       percent of writes "
	"(50)\n"
	"  --cpu N            pin this client       --spin        poll, never sleep\n"
	"  --r2t              NVMe: no data inside the capsule\n"
	"  --prefill          write the span first  --verify      every 4 KiB written\n"
	"  --verify-all       read the whole span at the end too\n"
	"  --server-cpu-pid N a server's process: CPU time of it and its children\n"
	"  --server-cpu N     where it runs: prints what others took of that CPU\n"
	"  --wait S           try to connect for S seconds\n"
	"  --first            one read only; prints when it was done\n"
	"  --idle S           one read, then nothing for S seconds: what does the "
	"server use?\n"
	"Prints one JSON object. Exit status: 0, 1 I/O or verification failed, 2 "
	"usage.\n";

static const struct option options[] = {
	{ "proto", 1, NULL, 'p' },
	{ "connect", 1, NULL, 'c' },
	{ "export", 1, NULL, 'e' },
	{ "op", 1, NULL, 'o' },
	{ "block", 1, NULL, 'b' },
	{ "span", 1, NULL, 'S' },
	{ "depth", 1, NULL, 'd' },
	{ "connections", 1, NULL, 'n' },
	{ "seconds", 1, NULL, 's' },
	{ "warmup", 1, NULL, 'w' },
	{ "count", 1, NULL, 'N' },
	{ "mix", 1, NULL, 'm' },
	{ "cpu", 1, NULL, 'C' },
	{ "spin", 0, NULL, 'P' },
	{ "r2t", 0, NULL, 'R' },
	{ "prefill", 0, NULL, 'f' },
	{ "verify", 0, NULL, 'v' },
	{ "verify-all", 0, NULL, 'V' },
	{ "server-cpu-pid", 1, NULL, 'k' },
	{ "server-cpu", 1, NULL, 'K' },
	{ "wait", 1, NULL, 'W' },
	{ "first", 0, NULL, '1' },
	{ "seed", 1, NULL, 'r' },
	{ "idle", 1, NULL, 'i' },
	{ "tls-ca", 1, NULL, 't' },
	{ "secret", 1, NULL, 'a' },
	{ "help", 0, NULL, 'h' },
	{ 0 },
};

static int choose_proto(struct target *t, const char *name)
{
	static const struct proto *const protos[] = { &nbd_proto, &nvme_proto,
						      &iscsi_proto, &limit_proto };

	for (size_t i = 0; i < sizeof(protos) / sizeof(*protos); i++)
		if (!strcmp(protos[i]->name, name)) {
			t->proto = protos[i];
			return 0;
		}
	return -EINVAL;
}

static int parse_size(const char *text, uint64_t max, uint64_t *ret)
{
	uint64_t n;

	if (size_parse(text, &n) < 0 || !n || n > max)
		return -EINVAL;
	*ret = n;
	return 0;
}

static int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	char *end;
	unsigned long long n = strtoull(text, &end, 10);

	if (!*text || *end || n < min || n > max)
		return -EINVAL;
	*ret = n;
	return 0;
}

static int parse_seconds(const char *text, double *ret)
{
	char *end;
	double s = strtod(text, &end);

	if (!*text || *end || !(s >= 0 && s < 1e6))
		return -EINVAL;
	*ret = s;
	return 0;
}

static int read_ca(struct target *t, const char *path)
{
	const struct tls_files files = { .ca = path };
	char error[TLS_ERROR_MAX];
	int r = tls_client_new(&files, &t->tls, error);

	if (r < 0)
		fprintf(stderr, "load: %s\n", error);
	return r;
}

static int read_secret(struct target *t, const char *path)
{
	char error[SECRET_ERROR_MAX], *text;
	const char *why;
	size_t len;
	int r = secret_read(path, false, &text, &len, error);

	if (r < 0) {
		fprintf(stderr, "load: %s\n", error);
		return r;
	}
	t->secret = calloc(1, sizeof(*t->secret));
	r = t->secret ? dhchap_key_parse(text, strcspn(text, "\n"), t->secret, &why)
		      : -ENOMEM;
	if (r == -EINVAL)
		fprintf(stderr, "load: %s: %s\n", path, why);
	secret_free(text, len);
	return r;
}

static int flag(struct load *l, int f, const char *value)
{
	struct config *c = &l->cfg;
	uint64_t n = 0;
	int r = 0;

	switch (f) {
	case 'p':
		return choose_proto(&l->target, value);
	case 'c':
		l->target.where = value;
		return 0;
	case 'e':
		l->target.export = value;
		return 0;
	case 'o':
		c->op = value;
		return 0;
	case 'b':
		r = parse_size(value, 4u << 20, &n);
		l->target.block_bytes = (uint32_t)n;
		return r;
	case 'S':
		return parse_size(value, UINT64_MAX, &c->span_bytes);
	case 'd':
		r = parse_number(value, 1, 1024, &n);
		l->target.depth = (uint32_t)n;
		return r;
	case 'n':
		r = parse_number(value, 1, MAX_CONNS, &n);
		c->nr_conns = (uint32_t)n;
		return r;
	case 's':
		return parse_seconds(value, &c->seconds);
	case 'w':
		return parse_seconds(value, &c->warmup);
	case 'W':
		return parse_seconds(value, &c->wait);
	case 'i':
		return parse_seconds(value, &c->idle);
	case 'N':
		return parse_number(value, 1, UINT64_MAX, &c->count);
	case 'm':
		r = parse_number(value, 0, 100, &n);
		c->write_percent = (uint32_t)n;
		return r;
	case 'C':
		r = parse_number(value, 0, CPU_SETSIZE - 1, &n);
		c->cpu = (int)n;
		return r;
	case 'K':
		r = parse_number(value, 0, CPU_SETSIZE - 1, &n);
		c->server_cpu = (int)n;
		return r;
	case 'k':
		r = parse_number(value, 1, INT32_MAX, &n);
		c->server = (pid_t)n;
		return r;
	case 'r':
		return parse_number(value, 0, UINT64_MAX, &c->seed);
	case 't':
		return read_ca(&l->target, value);
	case 'a':
		return read_secret(&l->target, value);
	case 'P':
		c->spin = true;
		return 0;
	case 'R':
		l->target.r2t = true;
		return 0;
	case 'f':
		c->prefill = true;
		return 0;
	case 'v':
		c->verify = true;
		return 0;
	case 'V':
		c->verify = c->verify_all = true;
		return 0;
	case '1':
		c->first = true;
		return 0;
	}
	return -EINVAL;
}

int options_parse(struct load *l, int argc, char **argv)
{
	int f, i;

	while ((f = getopt_long(argc, argv, "", options, &i)) != -1) {
		if (f == 'h') {
			fputs(usage, stdout);
			exit(0);
		}
		if (f == '?')
			return -EINVAL;
		if (flag(l, f, optarg) < 0) {
			fprintf(stderr, "load: --%s %s: not possible; see --help\n",
				options[i].name, optarg);
			return -EINVAL;
		}
	}
	if (optind != argc || !l->target.proto || !l->target.where ||
	    (l->cfg.verify && l->target.block_bytes % WORKLOAD_CELL)) {
		fputs(usage, stderr);
		return -EINVAL;
	}
	if (!l->target.export)
		l->target.export = l->target.proto->default_export;
	/* A count given and no time: the count decides. */
	if (l->cfg.seconds == 0)
		l->cfg.seconds = l->cfg.count ? 1e5 : 1;
	return workload_choose(l);
}
