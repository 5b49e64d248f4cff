/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any text as what tgtd shows: sessions that can be printed, or none. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "memserver/iscsi/tgt_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = malloc(len + 1);
	struct tgt_session list[8];
	struct tgt_counters c;
	int nr;

	memcpy(text, data, len);
	text[len] = '\0';
	nr = tgt_text_sessions(text, list, 8);
	for (int i = 0; i < nr && i < 8; i++)
		for (const char *p = list[i].initiator; *p; p++)
			if (!isprint((unsigned char)*p))
				abort();
	tgt_text_counters(text, 1, 1, &c);
	tgt_text_version(text);
	free(text);
	return 0;
}
