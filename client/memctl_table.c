/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Cells in, aligned lines out. */
#include "client/memctl_table.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/size.h"

#define COLUMNS_MAX 16

struct memctl_table {
	size_t nr_columns;
	struct {
		char *name; /* owned */
		bool right;
		size_t width;
	} column[COLUMNS_MAX];
	char **cells; /* owned, and each of them */
	size_t nr_cells;
};

static void *need(void *p)
{
	if (!p) {
		fputs("memctl: out of memory\n", stderr);
		exit(1);
	}
	return p;
}

struct memctl_table *memctl_table_new(const char *columns)
{
	struct memctl_table *t = need(calloc(1, sizeof(*t)));

	while (*columns && t->nr_columns < COLUMNS_MAX) {
		size_t i = t->nr_columns++, len;

		t->column[i].right = *columns == '>';
		columns += *columns == '>';
		len = strcspn(columns, " ");
		t->column[i].name = need(strndup(columns, len));
		t->column[i].width = len;
		columns += len;
		columns += strspn(columns, " ");
	}
	return t;
}

void memctl_table_cell(struct memctl_table *t, const char *fmt, ...)
{
	size_t column = t->nr_cells % t->nr_columns, len;
	char *text;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	need(n < 0 ? NULL : text);
	for (char *p = text; *p; p++)
		if (!isprint((unsigned char)*p))
			*p = '?';
	t->cells = need(reallocarray(t->cells, t->nr_cells + 1, sizeof(*t->cells)));
	t->cells[t->nr_cells++] = text;
	len = strlen(text);
	if (len > t->column[column].width)
		t->column[column].width = len;
}

void memctl_table_count(struct memctl_table *t, uint64_t n)
{
	memctl_table_cell(t, "%llu", (unsigned long long)n);
}

void memctl_table_bytes(struct memctl_table *t, uint64_t bytes)
{
	char buf[SIZE_FORMAT_MAX];

	memctl_table_cell(t, "%s", size_format(bytes, buf, sizeof(buf)));
}

void memctl_table_ns(struct memctl_table *t, uint64_t ns)
{
	char buf[MEMCTL_FORMAT_MAX];

	memctl_table_cell(t, "%s", ns ? memctl_format_ns(ns, buf, sizeof(buf)) : "-");
}

void memctl_table_seconds(struct memctl_table *t, uint64_t seconds)
{
	char buf[MEMCTL_FORMAT_MAX];

	memctl_table_cell(t, "%s", memctl_format_seconds(seconds, buf, sizeof(buf)));
}

static void print_cell(const struct memctl_table *t, size_t column, const char *text,
		       FILE *to)
{
	bool last = column + 1 == t->nr_columns;
	int width = (int)t->column[column].width;

	if (t->column[column].right)
		fprintf(to, "%*s", width, text);
	else
		fprintf(to, "%-*s", last ? 0 : width, text);
	fputs(last ? "\n" : "  ", to);
}

void memctl_table_end(struct memctl_table *t, FILE *to)
{
	for (size_t i = 0; i < t->nr_columns; i++) {
		print_cell(t, i, t->column[i].name, to);
		free(t->column[i].name);
	}
	for (size_t i = 0; i < t->nr_cells; i++) {
		print_cell(t, i % t->nr_columns, t->cells[i], to);
		free(t->cells[i]);
	}
	free(t->cells);
	free(t);
}

const char *memctl_format_ns(uint64_t ns, char *buf, size_t len)
{
	static const char *const units[] = { "ns", "us", "ms", "s" };
	double v = (double)ns;
	size_t i = 0;

	while (v >= 1000 && i < 3) {
		v /= 1000;
		i++;
	}
	if (v < 10 && i)
		snprintf(buf, len, "%.1f%s", v, units[i]);
	else
		snprintf(buf, len, "%.0f%s", v, units[i]);
	return buf;
}

const char *memctl_format_seconds(uint64_t s, char *buf, size_t len)
{
	unsigned long long d = s / 86400;
	unsigned int h = (unsigned int)(s / 3600 % 24), m = (unsigned int)(s / 60 % 60);

	if (d)
		snprintf(buf, len, "%llud%uh", d, h);
	else if (h)
		snprintf(buf, len, "%uh%02um", h, m);
	else if (m)
		snprintf(buf, len, "%um%02us", m, (unsigned int)(s % 60));
	else
		snprintf(buf, len, "%us", (unsigned int)s);
	return buf;
}
