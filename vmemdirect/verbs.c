/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command lines in, requests to control sockets and their answers as text out. */
#include "vmemdirect/verbs.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/ctl_client.h"
#include "lib/size.h"
#include "vmemdirect/config.h"
#include "vmemdirect/metrics.h"
#include "vmemdirect/record.h"
#include "vmemdirect/watch.h"

#define TIMEOUT_MS 10000
#define PATH_BYTES (CONFIG_PATH_MAX + GUEST_NAME_MAX + 16)

struct verb_opts {
	const char *state_dir, *name, *ram, *policy, *spec, *record;
	uint32_t every_ms;
	bool json, watch, wait;
};

static int usage(const char *text)
{
	fprintf(stderr, "usage: vmemdirect %s\n", text);
	return 2;
}

/* Seconds with a fraction: "1", "0.1". */
static int parse_ms(const char *text, uint32_t *ret_ms)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !(seconds >= 0.01 && seconds <= 86400))
		return -EINVAL;
	*ret_ms = (uint32_t)(seconds * 1000);
	return 0;
}

/* Options common to all; the VM's name is the first word that is none. */
static int parse(int argc, char **argv, struct verb_opts *o)
{
	static const struct option options[] = {
		{ "state", required_argument, NULL, 's' },
		{ "json", no_argument, NULL, 'j' },
		{ "ram", required_argument, NULL, 'r' },
		{ "policy", required_argument, NULL, 'p' },
		{ "watch", no_argument, NULL, 'W' },
		{ "record", required_argument, NULL, 'R' },
		{ "every", required_argument, NULL, 'e' },
		{ "no-wait", no_argument, NULL, 'w' },
		{ 0 },
	};
	int opt;

	*o = (struct verb_opts){
		.state_dir = CONFIG_STATE_DIR,
		.wait = true,
		.every_ms = 1000,
	};
	optind = 1;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (opt) {
		case 's':
			o->state_dir = optarg;
			break;
		case 'j':
			o->json = true;
			break;
		case 'r':
			o->ram = optarg;
			break;
		case 'p':
			o->policy = optarg;
			break;
		case 'W':
			o->watch = true;
			break;
		case 'R':
			o->record = optarg;
			break;
		case 'e':
			if (parse_ms(optarg, &o->every_ms) < 0)
				return -EINVAL;
			break;
		case 'w':
			o->wait = false;
			break;
		default:
			return -EINVAL;
		}
	if (optind < argc)
		o->name = argv[optind++];
	if (optind < argc)
		o->spec = argv[optind++];
	if (optind < argc || strlen(o->state_dir) >= CONFIG_PATH_MAX ||
	    (o->name && !config_name_ok(o->name)))
		return -EINVAL;
	return 0;
}

/* ---- asking ---- */

static void socket_path(const struct verb_opts *o, const char *name, char *buf)
{
	snprintf(buf, PATH_BYTES, "%s/%s/control", o->state_dir, name);
}

static int connect_to(const struct verb_opts *o, const char *name,
		      struct ctl_client **ret, char *error)
{
	char path[PATH_BYTES];

	socket_path(o, name, path);
	return ctl_client_open(path, name, "vmemdirect attach", TIMEOUT_MS, ret, error);
}

/* `req` is taken. */
static int ask(const struct verb_opts *o, const char *name, json_object *req,
	       json_object **ret, char *error)
{
	struct ctl_client *c = NULL;
	json_object *result = NULL;
	int r = connect_to(o, name, &c, error);

	if (!r)
		r = ctl_client_call(c, req, &result, error);
	ctl_client_close(c);
	json_object_put(req);
	if (!r && ret)
		*ret = result;
	else
		json_object_put(result);
	return r;
}

static json_object *request(const char *cmd)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "cmd", json_object_new_string(cmd));
	return o;
}

static int ask_and_report(const struct verb_opts *o, json_object *req)
{
	char error[CTL_ERROR_MAX];

	if (ask(o, o->name, req, NULL, error) == 0)
		return 0;
	fprintf(stderr, "vmemdirect: %s\n", error);
	return 1;
}

/* The only VM there is, when none was named. NULL: none or several, said. */
static const char *only_vm(const struct verb_opts *o)
{
	static char found[GUEST_NAME_MAX];
	char path[PATH_BYTES];
	struct dirent *e;
	unsigned int n = 0;
	DIR *dir = opendir(o->state_dir);

	while (dir && (e = readdir(dir))) {
		if (!config_name_ok(e->d_name))
			continue;
		socket_path(o, e->d_name, path);
		if (access(path, F_OK) < 0)
			continue;
		strcpy(found, e->d_name);
		n++;
	}
	if (dir)
		closedir(dir);
	if (n == 1)
		return found;
	fprintf(stderr,
		n ? "vmemdirect: several VMs are paged: say which (vmemdirect list)\n"
		  : "vmemdirect: no VM is paged here (vmemdirect attach)\n");
	return NULL;
}

/* ---- status ---- */

static uint64_t number(json_object *o, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_uint64(v) : 0;
}

static const char *text(json_object *o, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_string(v) : "?";
}

static json_object *member(json_object *o, const char *key)
{
	json_object *v = NULL;

	json_object_object_get_ex(o, key, &v);
	return v;
}

static const char *size_of(json_object *o, const char *key, char *buf)
{
	return size_format(number(o, key), buf, SIZE_FORMAT_MAX);
}

static double us(json_object *o, const char *key)
{
	return (double)number(o, key) / 1000;
}

static void print_places(json_object *tier)
{
	json_object *list = member(tier, "places");
	char a[SIZE_FORMAT_MAX], b[SIZE_FORMAT_MAX], c[SIZE_FORMAT_MAX];

	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		json_object *p = json_object_array_get_idx(list, i);

		printf("    %-7s %s: %s of %s used; %s read, %" PRIu64 " losses\n",
		       text(p, "state"), text(p, "name"), size_of(p, "used_bytes", a),
		       size_of(p, "size_bytes", b), size_of(p, "read_bytes", c),
		       number(p, "losses"));
	}
	if (number(tier, "degraded_pages"))
		printf("  DEGRADED    %" PRIu64 " pages have one copy left or none\n",
		       number(tier, "degraded_pages"));
	else if (number(tier, "alarm"))
		printf("  ALARM       a sub-host is not there\n");
}

static void print_status(json_object *s)
{
	json_object *f = member(s, "faults"), *l = member(f, "latency"),
		    *e = member(s, "evictions"), *t = member(s, "tier"),
		    *x = member(s, "trouble"), *p = member(s, "prefetch"),
		    *h = member(s, "sampling");
	char a[SIZE_FORMAT_MAX], b[SIZE_FORMAT_MAX], c[SIZE_FORMAT_MAX];

	printf("%s: %s, process %" PRIu64 "\n", text(s, "name"), text(s, "state"),
	       number(s, "pid"));
	printf("  memory      %s, %s resident, limit %s\n",
	       size_of(s, "memory_bytes", a), size_of(s, "resident_bytes", b),
	       size_of(s, "limit_bytes", c));
	if (number(s, "unpaged_bytes"))
		printf("  not paged   %s came after the attach\n",
		       size_of(s, "unpaged_bytes", a));
	if (number(s, "unplugged_bytes"))
		printf("  unplugged   %s since the attach\n",
		       size_of(s, "unplugged_bytes", a));
	printf("  faults      %" PRIu64 " from the tier, %" PRIu64
	       " on their way, %" PRIu64 " new, %" PRIu64 " waited for room\n",
	       number(f, "tier"), number(f, "inflight"), number(f, "zero"),
	       number(f, "waited_for_room"));
	printf("  latency us  %.1f p50, %.1f p90, %.1f p99, %.1f max\n",
	       us(l, "p50_ns"), us(l, "p90_ns"), us(l, "p99_ns"), us(l, "max_ns"));
	printf("  prefetch    %" PRIu64 " pages; of a sample %" PRIu64
	       " were used, %" PRIu64 " not\n",
	       number(p, "pages"), number(p, "sampled_hits"),
	       number(p, "sampled_misses"));
	printf("  sampling    %" PRIu64 " pages were touched again, %" PRIu64
	       " not; %s hot; %.2f us a page\n",
	       number(h, "touched"), number(h, "untouched"), size_of(h, "hot_bytes", a),
	       us(h, "ns_per_page"));
	printf("  evictions   %" PRIu64 " written, %" PRIu64 " clean, %" PRIu64
	       " zero; %" PRIu64 " cancelled, %" PRIu64 " pinned, %" PRIu64 " failed\n",
	       number(e, "written"), number(e, "clean"), number(e, "zero"),
	       number(e, "cancelled"), number(e, "pinned"), number(e, "failed"));
	printf("  %-11s %s: %s read, %s written\n", text(t, "kind"), text(t, "path"),
	       size_of(t, "read_bytes", a), size_of(t, "written_bytes", b));
	print_places(t);
	if (number(x, "read_errors") || number(x, "bad_hashes") ||
	    number(x, "write_errors"))
		printf("  TROUBLE     %" PRIu64 " read errors, %" PRIu64
		       " wrong checksums, %" PRIu64 " write errors\n",
		       number(x, "read_errors"), number(x, "bad_hashes"),
		       number(x, "write_errors"));
	if (*text(x, "vm_order"))
		printf("  STOPPED     %s\n", text(x, "vm_order"));
}

static int ask_for_watch(void *arg, json_object *req, json_object **ret, char *error)
{
	const struct verb_opts *o = arg;

	return ask(o, o->name, req, ret, error);
}

static int ask_for_record(void *arg, json_object **ret)
{
	const struct verb_opts *o = arg;
	char error[CTL_ERROR_MAX], path[PATH_BYTES];

	if (!ask(o, o->name, request("status"), ret, error))
		return 0;
	/* Its socket goes with the daemon; a killed one leaves it. */
	socket_path(o, o->name, path);
	return access(path, F_OK) == 0 ? -EAGAIN : -ENOENT;
}

/* The first answer says whether there is such a VM; the rest goes to the file. */
static int record(struct verb_opts *o)
{
	const struct record r = { o->record, o->every_ms, ask_for_record, o };

	return record_vm(&r) < 0;
}

int verbs_status(int argc, char **argv)
{
	char error[CTL_ERROR_MAX];
	json_object *s = NULL;
	struct verb_opts o;

	if (parse(argc, argv, &o) < 0 || o.spec)
		return usage("status [NAME] [--json | --watch | --record FILE [--every "
			     "SECONDS]] [--state DIR]");
	if (!o.name && !(o.name = only_vm(&o)))
		return 1;
	if (o.watch)
		return watch_vm(&(struct watch_source){ ask_for_watch, &o });
	if (ask(&o, o.name, request("status"), &s, error) < 0) {
		fprintf(stderr, "vmemdirect: %s\n", error);
		return 1;
	}
	if (o.record) {
		json_object_put(s);
		return record(&o);
	}
	if (o.json)
		puts(json_object_to_json_string_ext(s, JSON_C_TO_STRING_PRETTY));
	else
		print_status(s);
	json_object_put(s);
	return 0;
}

/* ---- the others ---- */

int verbs_set(int argc, char **argv)
{
	struct verb_opts o;
	json_object *req;

	if (parse(argc, argv, &o) < 0 || (!o.ram && !o.policy) || o.spec)
		return usage(
			"set [NAME] [--ram SIZE] [--policy s3fifo|fifo] [--state DIR]");
	if (!o.name && !(o.name = only_vm(&o)))
		return 1;
	req = request("set");
	if (o.ram)
		json_object_object_add(req, "ram", json_object_new_string(o.ram));
	if (o.policy)
		json_object_object_add(req, "policy", json_object_new_string(o.policy));
	return ask_and_report(&o, req);
}

/* The daemon ends when all is back; its socket ends with it. */
static int wait_for_end(const struct verb_opts *o)
{
	struct timespec nap = { .tv_nsec = 50 * 1000000 };
	char error[CTL_ERROR_MAX], path[PATH_BYTES];
	json_object *s;

	socket_path(o, o->name, path);
	while (access(path, F_OK) == 0) {
		s = NULL;
		if (ask(o, o->name, request("status"), &s, error) < 0)
			break;
		json_object_put(s);
		nanosleep(&nap, NULL);
	}
	return 0;
}

int verbs_detach(int argc, char **argv)
{
	struct verb_opts o;
	int r;

	if (parse(argc, argv, &o) < 0 || o.spec)
		return usage("detach [NAME] [--no-wait] [--state DIR]");
	if (!o.name && !(o.name = only_vm(&o)))
		return 1;
	r = ask_and_report(&o, request("detach"));
	return !r && o.wait ? wait_for_end(&o) : r;
}

int verbs_fault(int argc, char **argv)
{
	struct verb_opts o;
	char error[CTL_ERROR_MAX];
	json_object *req, *list;

	if (parse(argc, argv, &o) < 0 || !o.name)
		return usage("fault NAME [SPEC] [--state DIR]");
	req = request("fault");
	if (!o.spec) {
		if (ask(&o, o.name, req, &list, error) < 0) {
			fprintf(stderr, "vmemdirect: %s\n", error);
			return 1;
		}
		printf("%s\n",
		       json_object_to_json_string_ext(list, JSON_C_TO_STRING_PLAIN));
		json_object_put(list);
		return 0;
	}
	json_object_object_add(req, "spec", json_object_new_string(o.spec));
	return ask_and_report(&o, req);
}

static void list_one(const struct verb_opts *o, const char *name)
{
	char error[CTL_ERROR_MAX], path[PATH_BYTES], a[SIZE_FORMAT_MAX],
		b[SIZE_FORMAT_MAX], c[SIZE_FORMAT_MAX];
	json_object *s = NULL;

	snprintf(path, sizeof(path), "%s/%s/pages", o->state_dir, name);
	if (access(path, F_OK) < 0)
		return;
	if (ask(o, name, request("status"), &s, error) < 0) {
		printf("%-20s dead (vmemdirect attach --resume %s)\n", name, name);
		return;
	}
	printf("%-20s %-9s %8" PRIu64 " %8s %8s %8s\n", name, text(s, "state"),
	       number(s, "pid"), size_of(s, "memory_bytes", a),
	       size_of(s, "limit_bytes", b), size_of(s, "resident_bytes", c));
	json_object_put(s);
}

int verbs_list(int argc, char **argv)
{
	struct verb_opts o;
	struct dirent *e;
	DIR *dir;

	if (parse(argc, argv, &o) < 0 || o.name)
		return usage("list [--state DIR]");
	printf("%-20s %-9s %8s %8s %8s %8s\n", "NAME", "STATE", "PID", "MEMORY",
	       "LIMIT", "RESIDENT");
	dir = opendir(o.state_dir);
	while (dir && (e = readdir(dir)))
		if (config_name_ok(e->d_name))
			list_one(&o, e->d_name);
	if (dir)
		closedir(dir);
	return 0;
}

/* For node_exporter's textfile collector, or a scrape by way of inetd. */
int verbs_metrics(int argc, char **argv)
{
	char error[CTL_ERROR_MAX];
	struct verb_opts o;
	struct dirent *e;
	DIR *dir;

	if (parse(argc, argv, &o) < 0 || o.name)
		return usage("metrics [--state DIR]");
	metrics_begin();
	dir = opendir(o.state_dir);
	while (dir && (e = readdir(dir))) {
		json_object *s = NULL;

		if (config_name_ok(e->d_name) &&
		    !ask(&o, e->d_name, request("status"), &s, error))
			metrics_add(s);
		json_object_put(s);
	}
	if (dir)
		closedir(dir);
	metrics_print(stdout);
	return 0;
}
