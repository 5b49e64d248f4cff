/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages of an access history: first byte which (0 hello, 1 word, 2 head), then it. */
#include <stdlib.h>
#include <string.h>

#include "vmemdirect/history/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void hello(const uint8_t *p, size_t len)
{
	uint8_t back[HISTORY_HELLO_MAX];
	int map[GUEST_BLOCKS_MAX];
	struct history_hello h;
	struct guest g = { .nr_blocks = 1 };
	size_t used;
	int r = history_take_hello(p, len, &h, &used);

	if (r == 0 && len >= HISTORY_HELLO_MAX)
		abort(); /* a receiver's buffer would be full for ever */
	if (r != 1)
		return;
	/* What is taken is what the other side would have put. */
	if (used > len || history_put_hello(&h, back) != used || memcmp(back, p, used))
		abort();
	g.block[0].size_bytes = h.block[h.nr_blocks - 1].size_bytes;
	memcpy(g.block[0].name, h.block[h.nr_blocks - 1].name, GUEST_NAME_MAX);
	if (history_pages(&h) > UINT64_C(1) << 34 ||
	    history_match(&h, &g, NULL, h.uuid, map) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct history_head head;
	enum history_word w;

	if (!size)
		return 0;
	if (data[0] == 0)
		hello(data + 1, size - 1);
	else if (data[0] == 1 && size > HISTORY_WORD_BYTES)
		history_take_word(data + 1, &w);
	else if (data[0] == 2 && size > HISTORY_HEAD_BYTES)
		history_take_head(data + 1, &head);
	return 0;
}
