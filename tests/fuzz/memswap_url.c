/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any text as a URL and as a line of /etc/memswap.urls; what parses must come back. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/url.h"
#include "client/urls_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = malloc(len + 1), buf[URL_TEXT_MAX + 1];
	char *argv[URLS_FILE_WORDS + 1];
	struct url u, again;
	const char *why;

	memcpy(text, data, len);
	text[len] = '\0';
	if (!url_parse(text, &u, &why)) {
		url_format(&u, buf);
		assert(strlen(buf) <= URL_TEXT_MAX);
		assert(!url_parse(buf, &again, &why));
		assert(!memcmp(&u, &again, sizeof(u)));
	}
	urls_file_words(text, argv);
	free(text);
	return 0;
}
