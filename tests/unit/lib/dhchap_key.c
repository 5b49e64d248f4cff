/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Secrets as nvme-cli writes them: three of its own making, and what is none. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/dhchap_key.h"

/* `nvme gen-dhchap-key` of nvme-cli 2.3: -m 1, -l 64, -l 48 -m 2. */
#define SHORT "DHHC-1:01:NodrTJBMBqQe5kGhQvw+HMwA8ONY2ICSxnhPCTgfHNOHtnU1:"
#define LONG                                                         \
	"DHHC-1:00:qhF8p/UGinDMcGMd/aD5jFqW5o8tqIoh+7UH1CAND5GojXwE" \
	"Grp5EG75zzTpQpDB8KrukijYrbV9vw8Q+eYg4kYW4r4=:"
#define MIDDLE                                                       \
	"DHHC-1:02:o88SbahgnW8iH3D+Y7s3Jhf+jnog8Mvo9YWg1N6esSBTcy2C" \
	"fPUMrLRwKhBrHZePCHo3OQ==:"

static int parse(const char *text, struct key_text *ret)
{
	const char *why = NULL;
	int r = dhchap_key_parse(text, strlen(text), ret, &why);

	if (r < 0)
		assert_non_null(why);
	return r;
}

static void nvme_cli_s_secrets_are_read(void **state)
{
	static const uint8_t first[] = { 0x36, 0x87, 0x6b, 0x4c };
	struct key_text k;

	assert_int_equal(parse(SHORT, &k), 0);
	assert_int_equal(k.hash, 1);
	assert_int_equal(k.len, 32);
	assert_memory_equal(k.bytes, first, sizeof(first));
	assert_int_equal(parse(LONG, &k), 0);
	assert_int_equal(k.hash, 0);
	assert_int_equal(k.len, 64);
	assert_int_equal(parse(MIDDLE, &k), 0);
	assert_int_equal(k.hash, 2);
	assert_int_equal(k.len, 48);
}

static void one_wrong_character_anywhere_is_noticed(void **state)
{
	static const char *const all[] = { SHORT, LONG, MIDDLE };
	struct key_text k;

	for (size_t i = 0; i < 3; i++)
		for (size_t at = 0; at < strlen(all[i]); at++) {
			char text[DHCHAP_KEY_TEXT_MAX + 1];

			strcpy(text, all[i]);
			if (at == 8) /* the hash: 00 to 03 are all good */
				text[at] = '4';
			else
				text[at] = text[at] == 'A' ? 'B' : 'A';
			assert_int_equal(parse(text, &k), -EINVAL);
		}
}

static void every_shorter_or_longer_text_is_refused(void **state)
{
	char text[DHCHAP_KEY_TEXT_MAX + 8] = SHORT;
	const char *why;
	struct key_text k;

	for (size_t len = 0; len < strlen(SHORT); len++)
		assert_int_equal(dhchap_key_parse(text, len, &k, &why), -EINVAL);
	strcat(text, ":");
	assert_int_equal(parse(text, &k), -EINVAL);
	assert_int_equal(parse("DHHC-1:00::", &k), -EINVAL);
	assert_int_equal(parse("DHHC-1:00:====:", &k), -EINVAL);
	/* 16 bytes and their checksum: too few */
	assert_int_equal(parse("DHHC-1:00:AAECAwQFBgcICQoLDA0OD+iSQOw=:", &k), -EINVAL);
}

static void the_longest_is_as_long_as_announced(void **state)
{
	assert_int_equal(strlen(LONG), DHCHAP_KEY_TEXT_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nvme_cli_s_secrets_are_read),
		cmocka_unit_test(one_wrong_character_anywhere_is_noticed),
		cmocka_unit_test(every_shorter_or_longer_text_is_refused),
		cmocka_unit_test(the_longest_is_as_long_as_announced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
