/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines of text in, argument vectors out. Main thread. */
#include "client/urls_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client/say.h"

int urls_file_words(char *line, char *argv[URLS_FILE_WORDS + 1])
{
	static char verb[] = "on";
	char *save, *word;
	int argc = 0;

	line[strcspn(line, "#\n")] = '\0';
	argv[argc++] = verb;
	for (word = strtok_r(line, " \t\r", &save); word;
	     word = strtok_r(NULL, " \t\r", &save)) {
		if (argc == URLS_FILE_WORDS)
			return -E2BIG;
		argv[argc++] = word;
	}
	argv[argc] = NULL;
	return argc;
}

int urls_file_each(const char *path,
		   int (*fn)(int argc, char **argv, unsigned int line))
{
	char line[URLS_FILE_LINE_MAX], *argv[URLS_FILE_WORDS + 1];
	FILE *f = fopen(path, "re");
	unsigned int nr = 0;
	int failed = 0;

	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		int argc;

		nr++;
		argc = strlen(line) == sizeof(line) - 1 ? -E2BIG
							: urls_file_words(line, argv);
		if (argc < 0) {
			say_error("%s:%u: the line is too long", path, nr);
			fclose(f);
			return failed + 1;
		}
		if (argc > 1 && fn(argc, argv, nr))
			failed++;
	}
	fclose(f);
	return failed;
}
