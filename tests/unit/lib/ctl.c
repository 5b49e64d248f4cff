/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control messages: what is a request, a reply, an argument, and what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "lib/ctl.h"

static int parse(const char *line, struct json_object **ret, const char **ret_why)
{
	const char *cmd;

	return ctl_parse_request(line, strlen(line), ret, &cmd, ret_why);
}

static void request(void **state)
{
	static const char line[] = " {\"cmd\":\"stat\",\"name\":\"a\"}\r";
	struct json_object *o;
	const char *cmd, *why;

	assert_int_equal(ctl_parse_request(line, strlen(line), &o, &cmd, &why), 0);
	assert_string_equal(cmd, "stat");
	json_object_put(o);
}

static void bad_requests(void **state)
{
	static const char *const bad[] = {
		"",
		"x",
		"12",
		"null",
		"\"cmd\"",
		"[]",
		"{}",
		"{\"cmd\":1}",
		"{\"cmd\":\"a\"",
		"{\"cmd\":\"a\"}}",
		"{\"cmd\":\"a\"} {\"cmd\":\"b\"}",
		"{\"cmd\":\"a\\u0000b\"}",
		"{'cmd':'a'}",
		"{\"cmd\":\"\xff\xfe\"}",
		"{\"cmd\":\"a\",\"x\":[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]}",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct json_object *o = NULL;
		const char *why = NULL;

		assert_int_equal(parse(bad[i], &o, &why), -EPROTO);
		assert_non_null(why);
		assert_null(o);
	}
}

static void nul_inside(void **state)
{
	static const char line[] = "{\"cmd\":\"a\"}\0{\"cmd\":\"b\"}";
	struct json_object *o;
	const char *cmd, *why;

	assert_int_equal(ctl_parse_request(line, sizeof(line) - 1, &o, &cmd, &why),
			 -EPROTO);
}

static void too_long(void **state)
{
	size_t len = CTL_REQUEST_MAX + 1;
	char *line = malloc(len);
	struct json_object *o;
	const char *cmd, *why;

	memset(line, ' ', len);
	memcpy(line, "{\"cmd\":\"a\"}", 11);
	assert_int_equal(ctl_parse_request(line, len, &o, &cmd, &why), -EPROTO);
	assert_int_equal(ctl_parse_request(line, len - 1, &o, &cmd, &why), 0);
	json_object_put(o);
	free(line);
}

static void arguments(void **state)
{
	struct json_object *o;
	const char *text, *why;
	uint64_t n;
	bool b;

	assert_int_equal(parse("{\"cmd\":\"x\",\"s\":\"4K\",\"n\":7,\"b\":true,"
			       "\"neg\":-1,\"big\":99999999999999999999,\"f\":1.5,"
			       "\"null\":null,\"nul\":\"a\\u0000\",\"bad\":\"4Q\"}",
			       &o, &why),
			 0);
	assert_int_equal(ctl_arg_string(o, "s", &text), 0);
	assert_string_equal(text, "4K");
	assert_int_equal(ctl_arg_string(o, "none", &text), -ENOENT);
	assert_int_equal(ctl_arg_string(o, "null", &text), -ENOENT);
	assert_int_equal(ctl_arg_string(o, "n", &text), -EINVAL);
	assert_int_equal(ctl_arg_string(o, "nul", &text), -EINVAL);
	assert_int_equal(ctl_arg_u64(o, "n", &n), 0);
	assert_int_equal(n, 7);
	assert_int_equal(ctl_arg_u64(o, "neg", &n), -EINVAL);
	assert_int_equal(ctl_arg_u64(o, "big", &n), -EINVAL);
	assert_int_equal(ctl_arg_u64(o, "f", &n), -EINVAL);
	assert_int_equal(ctl_arg_size(o, "s", &n), 0);
	assert_int_equal(n, 4096);
	assert_int_equal(ctl_arg_size(o, "n", &n), 0);
	assert_int_equal(n, 7);
	assert_int_equal(ctl_arg_size(o, "bad", &n), -EINVAL);
	assert_int_equal(ctl_arg_size(o, "none", &n), -ENOENT);
	assert_int_equal(ctl_arg_bool(o, "b", &b), 0);
	assert_true(b);
	assert_int_equal(ctl_arg_bool(o, "n", &b), -EINVAL);
	json_object_put(o);
}

static int reply(const char *line, char *error, size_t len)
{
	struct json_object *o = NULL;
	int r = ctl_parse_reply(line, strlen(line), &o, error, len);

	json_object_put(o);
	return r;
}

static void replies(void **state)
{
	char error[16];

	assert_int_equal(reply("{\"ok\":true,\"result\":{}}", error, 16), 0);
	assert_int_equal(reply("{\"ok\":true}", error, 16), 0);
	assert_int_equal(
		reply("{\"ok\":false,\"error\":\"full\",\"errno\":28}", error, 16),
		-ENOSPC);
	assert_string_equal(error, "full");
	assert_int_equal(reply("{\"ok\":false,\"errno\":0}", error, 16), -EPROTO);
	assert_int_equal(reply("{\"ok\":false,\"errno\":-5}", error, 16), -EPROTO);
	assert_int_equal(reply("{\"ok\":1}", error, 16), -EPROTO);
	assert_int_equal(reply("nonsense", error, 16), -EPROTO);
	assert_int_equal(strlen(error), 15); /* cut to fit */
}

#define TEST(fn, name)                     \
	{                                  \
		name, fn, NULL, NULL, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(request, "a line with a command is a request"),
		TEST(bad_requests, "anything else is refused with a reason"),
		TEST(nul_inside, "a NUL does not hide the rest of a line"),
		TEST(too_long, "a request may be 64 KiB long and no longer"),
		TEST(arguments, "arguments are checked for type and range"),
		TEST(replies,
		     "a reply is a result or an error, else it makes no sense"),
	};

	return cmocka_run_group_tests_name("ctl", tests, NULL, NULL);
}
