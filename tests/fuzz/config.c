/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as a configuration file, and their lines as a command line: a
 * configuration, or one line of complaint. What is accepted can be shown.
 */
#include <stdlib.h>
#include <string.h>

#include "memserver/config.h"

#define MAX_ARGS 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void look(const char *key, const char *value, void *arg)
{
	*(size_t *)arg += strlen(key) + strlen(value);
}

static void one_line(const char *err)
{
	if (!*err || strlen(err) >= CONFIG_ERROR_MAX || strchr(err, '\n'))
		abort();
}

static void as_file(const char *text, size_t len)
{
	struct server_cfg cfg;
	char err[CONFIG_ERROR_MAX] = "";
	size_t sum = 0;

	if (config_read_text("f", text, len, &cfg, err) < 0) {
		one_line(err);
		return;
	}
	config_each(&cfg, look, &sum);
	config_fini(&cfg);
}

static void as_flags(char *text)
{
	char *argv[MAX_ARGS + 1] = { (char *)"memserver" }, *save = NULL;
	char err[CONFIG_ERROR_MAX] = "";
	struct server_cfg cfg;
	size_t sum = 0;
	int argc = 1, r;

	for (char *w = strtok_r(text, "\n", &save); w && argc < MAX_ARGS;
	     w = strtok_r(NULL, "\n", &save))
		/* No file of this machine is any of the fuzzer's business. */
		if (strncmp(w, "--config", 8))
			argv[argc++] = w;
	r = config_read(argc, argv, &cfg, err);
	if (r < 0)
		one_line(err);
	if (r != CONFIG_GO && r != CONFIG_CHECKED)
		return;
	config_each(&cfg, look, &sum);
	config_fini(&cfg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *copy = malloc(len + 1);

	if (!copy)
		return 0;
	memcpy(copy, data, len);
	copy[len] = '\0';
	as_file(copy, len);
	as_flags(copy);
	free(copy);
	return 0;
}
