/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "DHHC-1:01:…:" in, a secret out. */
#include "lib/dhchap_key.h"

int dhchap_key_parse(const char *text, size_t len, struct key_text *ret,
		     const char **ret_why)
{
	static const struct key_text_form form = {
		.prefix = "DHHC-1:",
		.max_hash = 3,
		.lens = { 32, 48, 64 },
		.why_form = "not as 'nvme gen-dhchap-key' makes them "
			    "(DHHC-1:HH:BASE64:)",
		.why_hash = "its hash is none of 00, 01, 02 and 03",
		.why_len = "the secret is not 32, 48 or 64 bytes in base64",
	};

	return key_text_parse(&form, text, len, ret, ret_why);
}
