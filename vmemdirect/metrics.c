/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Status objects in, text out; names are checked before they come here. */
#include "vmemdirect/metrics.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static json_object *vms[METRICS_VMS_MAX];
static unsigned int nr;

/* What is told: where it is in the status, and under which label. */
static const struct metric {
	const char *family, *type, *help;
	const char *group, *member; /* group NULL: the status itself */
	const char *label, *value;  /* label NULL: none */
	double scale;
} metrics[] = {
	{ "memory_bytes", "gauge", "Memory the VM owns.", NULL, "memory_bytes", NULL,
	  NULL, 1 },
	{ "limit_bytes", "gauge", "How much may be resident.", NULL, "limit_bytes",
	  NULL, NULL, 1 },
	{ "resident_bytes", "gauge", "How much is.", NULL, "resident_bytes", NULL, NULL,
	  1 },
	{ "unpaged_bytes", "gauge", "Memory the VM got after the attach, not paged.",
	  NULL, "unpaged_bytes", NULL, NULL, 1 },
	{ "unplugged_bytes", "gauge", "Paged memory the VM has given back since.", NULL,
	  "unplugged_bytes", NULL, NULL, 1 },
	{ "faults_total", "counter", "Faults by how they ended.", "faults", "tier",
	  "kind", "tier", 1 },
	{ "faults_total", "", "", "faults", "zero", "kind", "zero", 1 },
	{ "faults_total", "", "", "faults", "inflight", "kind", "inflight", 1 },
	{ "faults_total", "", "", "faults", "cancelled_eviction", "kind", "cancel", 1 },
	{ "faults_total", "", "", "faults", "other", "kind", "other", 1 },
	{ "waits_total", "counter", "Faults that waited for room.", "faults",
	  "waited_for_room", NULL, NULL, 1 },
	{ "reading_pages", "gauge", "Faults whose page is being read.", "faults",
	  "reading", NULL, NULL, 1 },
	{ "reading_pages_most", "gauge", "The most of them at one time.", "faults",
	  "reading_most", NULL, NULL, 1 },
	{ "fault_seconds", "gauge", "Latency of faults since the start.", "latency",
	  "p50_ns", "quantile", "0.5", 1e-9 },
	{ "fault_seconds", "", "", "latency", "p99_ns", "quantile", "0.99", 1e-9 },
	{ "fault_seconds", "", "", "latency", "p999_ns", "quantile", "0.999", 1e-9 },
	{ "prefetched_pages_total", "counter", "Pages read ahead.", "prefetch", "pages",
	  NULL, NULL, 1 },
	{ "prefetch_sampled_total", "counter", "Of a sample of them.", "prefetch",
	  "sampled_hits", "used", "yes", 1 },
	{ "prefetch_sampled_total", "", "", "prefetch", "sampled_misses", "used", "no",
	  1 },
	{ "evictions_total", "counter", "Pages evicted, by what was to write.",
	  "evictions", "written", "kind", "written", 1 },
	{ "evictions_total", "", "", "evictions", "clean", "kind", "clean", 1 },
	{ "evictions_total", "", "", "evictions", "zero", "kind", "zero", 1 },
	{ "hot_bytes", "gauge", "Resident memory found touched when last looked at.",
	  "sampling", "hot_bytes", NULL, NULL, 1 },
	{ "tier_bytes_total", "counter", "Bytes moved.", "tier", "read_bytes",
	  "direction", "read", 1 },
	{ "tier_bytes_total", "", "", "tier", "written_bytes", "direction", "write",
	  1 },
	{ "tier_errors_total", "counter", "Trouble with the tier.", "trouble",
	  "read_errors", "kind", "read", 1 },
	{ "tier_errors_total", "", "", "trouble", "write_errors", "kind", "write", 1 },
	{ "tier_errors_total", "", "", "trouble", "bad_hashes", "kind", "checksum", 1 },
	{ "degraded_pages", "gauge", "Pages on exports with one copy left or none.",
	  "tier", "degraded_pages", NULL, NULL, 1 },
	{ "lost_pages_total", "counter", "Pages that could not be read when wanted.",
	  "trouble", "lost_pages", NULL, NULL, 1 },
};

void metrics_begin(void)
{
	nr = 0;
}

void metrics_add(json_object *status)
{
	if (nr < METRICS_VMS_MAX)
		vms[nr++] = json_object_get(status);
}

static json_object *find(json_object *status, const struct metric *m)
{
	json_object *group = status, *faults, *value = NULL;

	if (m->group && !strcmp(m->group, "latency")) {
		if (!json_object_object_get_ex(status, "faults", &faults))
			return NULL;
		status = faults;
	}
	if (m->group && !json_object_object_get_ex(status, m->group, &group))
		return NULL;
	json_object_object_get_ex(group, m->member, &value);
	return value;
}

static void print_one(FILE *f, json_object *status, const struct metric *m)
{
	json_object *name, *value = find(status, m);

	if (!value || !json_object_object_get_ex(status, "name", &name))
		return;
	fprintf(f, "vmemdirect_%s{vm=\"%s\"", m->family, json_object_get_string(name));
	if (m->label)
		fprintf(f, ",%s=\"%s\"", m->label, m->value);
	if (m->scale < 1)
		fprintf(f, "} %g\n", (double)json_object_get_uint64(value) * m->scale);
	else
		fprintf(f, "} %" PRIu64 "\n", json_object_get_uint64(value));
}

/* Of each place of the tier: SSD and sub-hosts. */
static const struct place_metric {
	const char *family, *type, *help, *member;
} place_metrics[] = {
	{ "place_up", "gauge", "Is the SSD or sub-host there.", "up" },
	{ "place_size_bytes", "gauge", "What it can hold.", "size_bytes" },
	{ "place_used_bytes", "gauge", "What it holds.", "used_bytes" },
	{ "place_read_bytes_total", "counter", "Read from it.", "read_bytes" },
	{ "place_written_bytes_total", "counter", "Written to it.", "written_bytes" },
	{ "place_losses_total", "counter", "How often it was lost.", "losses" },
};

static void print_places(FILE *f, json_object *status, const struct place_metric *m)
{
	json_object *tier, *list, *vm, *name, *value;

	if (!json_object_object_get_ex(status, "tier", &tier) ||
	    !json_object_object_get_ex(tier, "places", &list) ||
	    !json_object_object_get_ex(status, "name", &vm))
		return;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		json_object *p = json_object_array_get_idx(list, i);

		if (json_object_object_get_ex(p, "name", &name) &&
		    json_object_object_get_ex(p, m->member, &value))
			fprintf(f,
				"vmemdirect_%s{vm=\"%s\",place=\"%s\"} %" PRIu64 "\n",
				m->family, json_object_get_string(vm),
				json_object_get_string(name),
				json_object_get_uint64(value));
	}
}

static void print_all_places(FILE *f)
{
	for (size_t i = 0; i < sizeof(place_metrics) / sizeof(place_metrics[0]); i++) {
		const struct place_metric *m = &place_metrics[i];

		fprintf(f, "# HELP vmemdirect_%s %s\n# TYPE vmemdirect_%s %s\n",
			m->family, m->help, m->family, m->type);
		for (unsigned int v = 0; v < nr; v++)
			print_places(f, vms[v], m);
	}
}

void metrics_print(FILE *f)
{
	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++) {
		const struct metric *m = &metrics[i];

		if (m->type[0])
			fprintf(f, "# HELP vmemdirect_%s %s\n# TYPE vmemdirect_%s %s\n",
				m->family, m->help, m->family, m->type);
		for (unsigned int v = 0; v < nr; v++)
			print_one(f, vms[v], m);
	}
	print_all_places(f);
	while (nr)
		json_object_put(vms[--nr]);
}

char *metrics_text(json_object *status, size_t *ret_len)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, ret_len);

	metrics_begin();
	metrics_add(status);
	json_object_put(status);
	if (!f)
		return NULL;
	metrics_print(f);
	if (fclose(f) == 0)
		return text;
	free(text);
	return NULL;
}
