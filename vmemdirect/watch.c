/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Status and heat of a VM in, a screen out. Rates are differences of two looks. In the
 * map a cell is a stretch of the guest's memory: its sign tells how much is resident
 * (blank . : + #), its colour how hot that is.
 */
#include "vmemdirect/watch.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <locale.h>
#include <ncurses.h>
#include <stdint.h>
#include <string.h>

#include "lib/ctl_client.h"
#include "lib/size.h"

#define MAP_TOP 10

/* What rates are made of. */
struct look {
	uint64_t faults, prefetched, written, clean, read_bytes, written_bytes;
};

static json_object *walk(json_object *o, const char *group, const char *member)
{
	json_object *g = o, *v = NULL;

	if (group && !json_object_object_get_ex(o, group, &g))
		return NULL;
	json_object_object_get_ex(g, member, &v);
	return v;
}

static uint64_t get(json_object *o, const char *group, const char *member)
{
	return json_object_get_uint64(walk(o, group, member));
}

static json_object *request(const char *cmd)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "cmd", json_object_new_string(cmd));
	return o;
}

static struct look look_at(json_object *s)
{
	return (struct look){
		.faults = get(s, "faults", "tier") + get(s, "faults", "zero") +
			  get(s, "faults", "inflight"),
		.prefetched = get(s, "prefetch", "pages"),
		.written = get(s, "evictions", "written"),
		.clean = get(s, "evictions", "clean") + get(s, "evictions", "zero"),
		.read_bytes = get(s, "tier", "read_bytes"),
		.written_bytes = get(s, "tier", "written_bytes"),
	};
}

static void bar(int y, const char *label, uint64_t part, uint64_t limit, uint64_t all)
{
	char a[SIZE_FORMAT_MAX], b[SIZE_FORMAT_MAX], c[SIZE_FORMAT_MAX];
	int width = COLS - 50;

	mvprintw(y, 0, "%-10s", label);
	for (int i = 0; i < width && all; i++) {
		uint64_t here = all * (uint64_t)i / (uint64_t)width;

		mvaddch(y, 11 + i, here < part ? '#' : here < limit ? '-' : '.');
	}
	printw(" %s of %s, limit %s", size_format(part, a, sizeof(a)),
	       size_format(all, b, sizeof(b)), size_format(limit, c, sizeof(c)));
}

static void draw_figures(json_object *s, const struct look *now,
			 const struct look *last)
{
	json_object *l = walk(s, "faults", "latency");
	char a[SIZE_FORMAT_MAX], b[SIZE_FORMAT_MAX], c[SIZE_FORMAT_MAX];

	attron(A_BOLD);
	mvprintw(0, 0, "%s", json_object_get_string(walk(s, NULL, "name")));
	attroff(A_BOLD);
	printw("  %s, process %" PRIu64 ", policy %s, pin check %s   (q ends)",
	       json_object_get_string(walk(s, NULL, "state")), get(s, NULL, "pid"),
	       json_object_get_string(walk(s, NULL, "policy")),
	       json_object_get_string(walk(s, NULL, "pin_check")));
	bar(1, "resident", get(s, NULL, "resident_bytes"), get(s, NULL, "limit_bytes"),
	    get(s, NULL, "memory_bytes"));
	mvprintw(2, 0, "faults     %" PRIu64 "/s; us: %.0f p50, %.0f p99, %.0f p99.9",
		 now->faults - last->faults, (double)get(l, NULL, "p50_ns") / 1e3,
		 (double)get(l, NULL, "p99_ns") / 1e3,
		 (double)get(l, NULL, "p999_ns") / 1e3);
	mvprintw(3, 0,
		 "ahead      %" PRIu64 " pages/s; of a sample %" PRIu64
		 " used, %" PRIu64 " not",
		 now->prefetched - last->prefetched, get(s, "prefetch", "sampled_hits"),
		 get(s, "prefetch", "sampled_misses"));
	mvprintw(4, 0,
		 "evicted    %" PRIu64 "/s written, %" PRIu64
		 "/s clean or zero; %" PRIu64 " pinned so far",
		 now->written - last->written, now->clean - last->clean,
		 get(s, "evictions", "pinned"));
	mvprintw(5, 0, "tier       %s/s read, %s/s written",
		 size_format(now->read_bytes - last->read_bytes, a, sizeof(a)),
		 size_format(now->written_bytes - last->written_bytes, b, sizeof(b)));
	mvprintw(6, 0, "hot        %s touched when last looked at",
		 size_format(get(s, "sampling", "hot_bytes"), c, sizeof(c)));
	if (get(s, "trouble", "lost_pages") || get(s, "trouble", "write_errors"))
		mvprintw(7, 0,
			 "TROUBLE    %" PRIu64 " lost pages, %" PRIu64 " write errors",
			 get(s, "trouble", "lost_pages"),
			 get(s, "trouble", "write_errors"));
}

static int colour_of(int heat)
{
	return heat >= 160 ? 4 : heat >= 96 ? 3 : heat >= 32 ? 2 : 1;
}

static void draw_map(json_object *heat, int cells)
{
	static const char sign[] = " .:+#";
	json_object *r = walk(heat, NULL, "resident"), *h = walk(heat, NULL, "heat");

	mvprintw(MAP_TOP - 1, 0,
		 "memory from its first to its last page; cold to hot:");
	for (int i = 0; i < 4; i++) {
		attron(COLOR_PAIR(i + 1));
		printw(" ##");
		attroff(COLOR_PAIR(i + 1));
	}
	for (int i = 0; i < cells; i++) {
		int resident =
			json_object_get_int(json_object_array_get_idx(r, (size_t)i));
		int colour = colour_of(
			json_object_get_int(json_object_array_get_idx(h, (size_t)i)));

		attron(COLOR_PAIR(colour));
		mvaddch(MAP_TOP + i / COLS, i % COLS,
			(chtype)sign[resident ? 1 + resident * 3 / 255 : 0]);
		attroff(COLOR_PAIR(colour));
	}
}

static int map_cells(void)
{
	int n = (LINES - MAP_TOP) * COLS;

	return n < 1 ? 1 : n > 8192 ? 8192 / COLS * COLS : n;
}

static int show(const struct watch_source *src, struct look *last, bool *first,
		char *error)
{
	json_object *s = NULL, *heat = NULL, *req = request("heat");
	struct look now;
	int cells = map_cells(), r = src->ask(src->arg, request("status"), &s, error);

	json_object_object_add(req, "cells", json_object_new_int(cells));
	if (r < 0) {
		json_object_put(req);
		return r;
	}
	r = src->ask(src->arg, req, &heat, error);
	if (!r) {
		now = look_at(s);
		erase();
		draw_figures(s, &now, *first ? &now : last);
		draw_map(heat, cells);
		refresh();
		*last = now;
		*first = false;
	}
	json_object_put(heat);
	json_object_put(s);
	return r;
}

int watch_vm(const struct watch_source *source)
{
	char error[CTL_ERROR_MAX] = "";
	struct look last = { 0 };
	bool first = true;
	int r = 0;

	setlocale(LC_ALL, "");
	if (!initscr())
		return 1;
	cbreak();
	noecho();
	curs_set(0);
	timeout(1000);
	start_color();
	init_pair(1, COLOR_BLUE, COLOR_BLACK);
	init_pair(2, COLOR_CYAN, COLOR_BLACK);
	init_pair(3, COLOR_YELLOW, COLOR_BLACK);
	init_pair(4, COLOR_RED, COLOR_BLACK);
	do {
		r = show(source, &last, &first, error);
	} while (!r && getch() != 'q');
	endwin();
	if (r < 0)
		fprintf(stderr, "vmemdirect: %s\n", error);
	return r < 0;
}
