/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as a list of clients: rules that can be asked, or a reason. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "memserver/tls_clients.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct tls_clients c;
	const char *why = NULL;
	unsigned int line;

	if (tls_clients_parse((const char *)data, len, &c, &line, &why) < 0) {
		if (!why)
			abort();
		return 0;
	}
	for (size_t i = 0; i < c.nr; i++) {
		char who[256];

		if (c.rules[i].who_len >= sizeof(who))
			continue;
		memcpy(who, c.rules[i].who, c.rules[i].who_len);
		who[c.rules[i].who_len] = '\0';
		tls_clients_allow(&c, who, "default");
	}
	if (tls_clients_allow(&c, "nobody", "default"))
		abort();
	return 0;
}
