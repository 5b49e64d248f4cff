/* SPDX-License-Identifier: GPL-2.0-or-later */
/* client/state.c: what one run of memswap leaves for the next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/file.h"
#include "client/state.h"

static char folder[64];

static int make(void **state)
{
	strcpy(folder, "/tmp/memswap-state.XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	state_use_folder(folder);
	return 0;
}

static int discard(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

static struct attachment sample(const char *url)
{
	struct attachment a = {
		.phase = PHASE_ON,
		.uuid = "01234567-89ab-cdef-0123-456789abcdef",
		.kdev = "nbd3",
		.canonical = "na\"me@0011",
		.size_bytes = UINT64_C(1) << 40,
		.swap_uuid = "\x01\xff"
			     "xyz",
		.priority = 7,
		.discard = true,
		.since_s = 1700000000,
		.connections = 4,
		.timeout_s = 10,
	};
	const char *why;

	assert_int_equal(url_parse(url, &a.url, &why), 0);
	return a;
}

static void what_is_saved_is_loaded(void **state)
{
	struct attachment a = sample("nbd://h/e"), b;

	assert_int_equal(state_load(&a.url, &b), -ENOENT);
	assert_int_equal(state_save(&a), 0);
	assert_int_equal(state_load(&a.url, &b), 0);
	assert_memory_equal(&a, &b, sizeof(a));
	a.phase = PHASE_OFF;
	assert_int_equal(state_save(&a), 0);
	assert_int_equal(state_load(&a.url, &b), 0);
	assert_int_equal(b.phase, PHASE_OFF);
	state_remove(&a.url);
	assert_int_equal(state_load(&a.url, &b), -ENOENT);
}

static void addresses_that_look_alike_have_files_of_their_own(void **state)
{
	struct attachment a = sample("nbd://h/a%2Fb"), b = sample("nbd://h/a_b");
	char ka[STATE_KEY_MAX + 1], kb[STATE_KEY_MAX + 1];

	assert_string_not_equal(state_key(&a.url, ka), state_key(&b.url, kb));
	assert_null(strchr(ka, '/'));
	memset(a.url.name, 'x', URL_EXPORT_MAX);
	assert_in_range(strlen(state_key(&a.url, ka)), 1, STATE_KEY_MAX);
	assert_int_equal(state_save(&a), 0);
	assert_int_equal(state_save(&b), 0);
}

static void all_are_listed_in_order(void **state)
{
	struct attachment a = sample("nbd://b/e"), b = sample("nbd://a/e"), all[3];

	assert_int_equal(state_list(all, 3), 0);
	assert_int_equal(state_save(&a), 0);
	assert_int_equal(state_save(&b), 0);
	assert_int_equal(state_list(all, 3), 2);
	assert_string_equal(all[0].url.host, "a");
	assert_int_equal(state_list(all, 1), 1);
}

static void a_file_that_is_not_ours_is_refused(void **state)
{
	static const char *const texts[] = {
		"", "{", "[]", "7", "{\"url\":\"nbd://h/e\"}",
	};
	struct attachment a = sample("nbd://h/e"), b = { .priority = 99 };
	char path[256], text[4096], *p;

	assert_int_equal(state_save(&a), 0);
	state_path(&a.url, "json", path, sizeof(path));
	assert_true(file_read(text, sizeof(text), "%s", path) > 0);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(file_create(path, texts[i]), 0);
		assert_int_equal(state_load(&a.url, &b), -EIO);
	}
	/* A device name that leaves its folder. */
	p = strstr(text, "nbd3");
	memcpy(p, "../x", 4);
	assert_int_equal(file_create(path, text), 0);
	assert_int_equal(state_load(&a.url, &b), -EIO);
	assert_int_equal(b.priority, 99);
}

static void one_writer_at_a_time(void **state)
{
	struct attachment a = sample("nbd://h/e"), b = sample("nbd://h/f");
	int first = state_lock(&a.url, false), other;

	assert_true(first >= 0);
	assert_int_equal(state_lock(&a.url, false), -EBUSY);
	other = state_lock(&b.url, false);
	assert_true(other >= 0);
	close(other);
	state_remove(&a.url);
	close(first);
	first = state_lock(&a.url, true);
	assert_true(first >= 0);
	close(first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_saved_is_loaded, make, discard),
		cmocka_unit_test_setup_teardown(
			addresses_that_look_alike_have_files_of_their_own, make,
			discard),
		cmocka_unit_test_setup_teardown(all_are_listed_in_order, make, discard),
		cmocka_unit_test_setup_teardown(a_file_that_is_not_ours_is_refused,
						make, discard),
		cmocka_unit_test_setup_teardown(one_writer_at_a_time, make, discard),
	};

	return cmocka_run_group_tests_name("client/state", tests, NULL, NULL);
}
