/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as what an NBD server says to memswap, through option and list. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/nbd_handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void found(void *arg, const char *name, size_t len)
{
	volatile char sum = 0;

	(void)arg;
	for (size_t i = 0; i < len; i++)
		sum = (char)(sum ^ name[i]);
}

/* Each piece in an allocation of its own, so that reading past it is seen. */
static int feed(struct nbd_handshake *h, const uint8_t **data, size_t *len)
{
	size_t want = nbd_handshake_want(h), out;
	uint8_t *piece;
	int r;

	nbd_handshake_output(h, &out);
	assert(want > 0 && want <= NBD_HANDSHAKE_CHUNK);
	if (want > *len)
		return -1;
	piece = malloc(want);
	memcpy(piece, *data, want);
	r = nbd_handshake_feed(h, piece);
	free(piece);
	*data += want;
	*len -= want;
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct nbd_handshake h;
	int r;

	nbd_handshake_init(&h, "default");
	h.found = found;
	while (!(r = feed(&h, &data, &len)))
		;
	if (r == 1 && nbd_handshake_errno(&h)) {
		nbd_handshake_list(&h);
		while (!feed(&h, &data, &len))
			;
	}
	assert(memchr(h.info.name, '\0', sizeof(h.info.name)));
	assert(memchr(h.refusal_text, '\0', sizeof(h.refusal_text)));
	return 0;
}
