/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `memswap status`: the state folder, sysfs and /proc/swaps in, a report for people or
 * JSON out. Takes no lock: it must answer while an `off` takes its time. Main thread.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/file.h"
#include "client/say.h"
#include "client/state.h"
#include "client/swaps.h"
#include "client/transport.h"
#include "client/uuid.h"
#include "client/verbs.h"
#include "lib/size.h"

#define ATTACHMENTS_MAX 64

struct report {
	const struct attachment *a;
	struct transport_status t;
	bool swapping; /* the kernel has it in its table */
	uint64_t used_bytes;
	bool has_rate;
	double over_s;              /* the time since the last report, or since `on` */
	double in_per_s, out_per_s; /* bytes */
};

struct sample {
	int64_t at_ms;
	uint64_t in_bytes, out_bytes;
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

/* Linux Documentation/block/stat.rst: fields 3 and 7 count sectors of 512 bytes. */
static int read_sample(const char *path, struct sample *ret)
{
	uint64_t in, out;
	char text[512];

	if (!path[0] || file_read(text, sizeof(text), "%s", path) < 0 ||
	    sscanf(text, "%*u %*u %" SCNu64 " %*u %*u %*u %" SCNu64, &in, &out) != 2)
		return -ENOENT;
	*ret = (struct sample){ .at_ms = now_ms(),
				.in_bytes = in * 512,
				.out_bytes = out * 512 };
	return 0;
}

static void add_rate(struct report *r)
{
	struct sample now, last = { .at_ms = r->a->since_s * 1000 };
	char text[96], path[512];
	double s;

	if (read_sample(r->t.stat, &now))
		return;
	state_path(&r->a->url, "sample", path, sizeof(path));
	if (file_read(text, sizeof(text), "%s", path) > 0 &&
	    sscanf(text, "%" SCNd64 " %" SCNu64 " %" SCNu64, &last.at_ms,
		   &last.in_bytes, &last.out_bytes) != 3)
		last = (struct sample){ .at_ms = r->a->since_s * 1000 };
	snprintf(text, sizeof(text), "%" PRId64 " %" PRIu64 " %" PRIu64 "\n", now.at_ms,
		 now.in_bytes, now.out_bytes);
	file_create(path, text); /* who isn't root sees the time since root looked */
	s = (double)(now.at_ms - last.at_ms) / 1000;
	if (s <= 0 || now.in_bytes < last.in_bytes || now.out_bytes < last.out_bytes)
		return;
	r->has_rate = true;
	r->over_s = s;
	r->in_per_s = (double)(now.in_bytes - last.in_bytes) / s;
	r->out_per_s = (double)(now.out_bytes - last.out_bytes) / s;
}

static struct report look(const struct attachment *a, const struct swaps *s)
{
	struct report r = { .a = a };
	const struct swaps_entry *e = a->kdev[0] ? swaps_find(s, a->kdev) : NULL;

	transport_of(&a->url)->status(a, &r.t);
	r.swapping = e != NULL;
	r.used_bytes = e ? e->used_bytes : 0;
	add_rate(&r);
	return r;
}

static const char *phase_text(const struct report *r)
{
	if (r->a->phase == PHASE_OFF)
		return ", being switched off";
	if (r->swapping)
		return "";
	return r->a->phase == PHASE_ON ? ", but not swapped on"
				       : ", not yet swapped on";
}

static const char *size(uint64_t bytes, char *buf)
{
	return size_format(bytes, buf, SIZE_FORMAT_MAX);
}

static void print(const struct report *r)
{
	char url[URL_TEXT_MAX + 1], b1[SIZE_FORMAT_MAX], b2[SIZE_FORMAT_MAX];
	const struct attachment *a = r->a;

	printf("%s  %s%s%s%s%s\n", url_format(&a->url, url),
	       transport_state_name(r->t.state), phase_text(r),
	       r->t.detail[0] ? " (" : "", r->t.detail, r->t.detail[0] ? ")" : "");
	printf("    device   /dev/%s: %s\n", a->kdev[0] ? a->kdev : "?", a->canonical);
	if (r->swapping)
		printf("    swap     %s of %s used, priority %d%s\n",
		       size(r->used_bytes, b1), size(a->size_bytes, b2), a->priority,
		       a->discard ? ", freed pages are given back" : "");
	if (r->has_rate)
		printf("    traffic  in %s/s, out %s/s, over the last %.1f s\n",
		       size((uint64_t)r->in_per_s, b1),
		       size((uint64_t)r->out_per_s, b2), r->over_s);
	if (r->t.connections)
		printf("    keeper   %s%.0d, %u connections, %" PRIu64 " replaced\n",
		       r->t.keeper ? "pid " : "none", r->t.keeper, r->t.connections,
		       r->t.reconnects);
}

static void add(struct json_object *o, const char *key, struct json_object *v)
{
	json_object_object_add(o, key, v);
}

static struct json_object *to_json(const struct report *r)
{
	struct json_object *o = json_object_new_object();
	const struct attachment *a = r->a;
	char url[URL_TEXT_MAX + 1], device[48] = "", uuid[UUID_TEXT_MAX + 1];

	if (a->kdev[0])
		snprintf(device, sizeof(device), "/dev/%s", a->kdev);
	uuid_format(a->swap_uuid, uuid);
	add(o, "url", json_object_new_string(url_format(&a->url, url)));
	add(o, "transport", json_object_new_string(transport_of(&a->url)->name));
	add(o, "state", json_object_new_string(transport_state_name(r->t.state)));
	add(o, "detail", json_object_new_string(r->t.detail));
	add(o, "device", json_object_new_string(device));
	add(o, "name", json_object_new_string(a->canonical));
	add(o, "swap_uuid", json_object_new_string(uuid));
	add(o, "on", json_object_new_boolean(r->swapping));
	add(o, "switching_off", json_object_new_boolean(a->phase == PHASE_OFF));
	add(o, "size_bytes", json_object_new_int64((int64_t)a->size_bytes));
	add(o, "used_bytes", json_object_new_int64((int64_t)r->used_bytes));
	add(o, "priority", json_object_new_int(a->priority));
	add(o, "discard", json_object_new_boolean(a->discard));
	add(o, "since", json_object_new_int64(a->since_s));
	if (r->has_rate) {
		add(o, "rate_seconds", json_object_new_double(r->over_s));
		add(o, "in_bytes_per_second", json_object_new_double(r->in_per_s));
		add(o, "out_bytes_per_second", json_object_new_double(r->out_per_s));
	}
	if (a->controller[0])
		add(o, "controller", json_object_new_string(a->controller));
	if (r->t.connections) {
		add(o, "keeper", json_object_new_int(r->t.keeper));
		add(o, "connections", json_object_new_int((int)r->t.connections));
		add(o, "connections_live", json_object_new_int((int)r->t.live));
		add(o, "reconnects", json_object_new_int64((int64_t)r->t.reconnects));
	}
	return o;
}

static int report_all(bool json)
{
	static struct attachment all[ATTACHMENTS_MAX];
	struct json_object *list = json ? json_object_new_array() : NULL;
	size_t nr = state_list(all, ATTACHMENTS_MAX);
	struct swaps s;
	int r = swaps_read(&s);

	if (r) {
		say_error("can't read /proc/swaps: %s", strerror(-r));
		json_object_put(list);
		return 1;
	}
	for (size_t i = 0; i < nr; i++) {
		struct report report = look(&all[i], &s);

		if (json)
			json_object_array_add(list, to_json(&report));
		else
			print(&report);
	}
	if (json)
		puts(json_object_to_json_string_ext(
			list,
			JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	else if (!nr)
		puts("nothing is attached");
	json_object_put(list);
	return 0;
}

int verb_status_run(int argc, char **argv)
{
	static const struct option options[] = { { "json", no_argument, NULL, 'j' },
						 { NULL, 0, NULL, 0 } };
	bool json = false;
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (c != 'j')
			return verb_usage("status: unknown option %s",
					  argv[optind - 1]);
		json = true;
	}
	if (optind != argc)
		return verb_usage("status takes no argument: %s", argv[optind]);
	return report_all(json);
}
