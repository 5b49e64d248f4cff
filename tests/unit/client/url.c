/* SPDX-License-Identifier: GPL-2.0-or-later */
/* client/url.c: what a person may type and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/url.h"

static struct url parsed(const char *text)
{
	const char *why = "";
	struct url u;

	if (url_parse(text, &u, &why))
		fail_msg("%s: %s", text, why);
	return u;
}

static void refused(const char *text, const char *because)
{
	struct url u = { .port = 7 };
	const char *why = "";

	if (!url_parse(text, &u, &why))
		fail_msg("accepted: %s", text);
	if (!strstr(why, because))
		fail_msg("%s: refused because %s, not because %s", text, why, because);
	assert_int_equal(u.port, 7);
}

static void defaults(void **state)
{
	struct url u = parsed("nvme-tcp://10.0.2.2/default");

	assert_int_equal(u.scheme, URL_NVME_TCP);
	assert_string_equal(u.host, "10.0.2.2");
	assert_int_equal(u.port, 4420);
	assert_string_equal(u.name, "default");
	assert_int_equal(parsed("nbd://mem.example/x").port, 10809);
	assert_int_equal(parsed("iscsi://mem.example/x").port, 3260);
	assert_int_equal(parsed("iscsi://mem.example/x").scheme, URL_ISCSI);
}

static void ports_and_addresses(void **state)
{
	struct url u = parsed("nbd://[fe80::1%eth0]:7/a/b");

	assert_string_equal(u.host, "fe80::1%eth0");
	assert_int_equal(u.port, 7);
	assert_string_equal(u.name, "a/b");
	assert_int_equal(parsed("nbd://h:65535/").port, 65535);
	assert_string_equal(parsed("nbd://h/").name, "");
}

static void unix_sockets(void **state)
{
	struct url u = parsed("nbd+unix:///swap0?socket=/run/mem%20server.sock");

	assert_string_equal(u.name, "swap0");
	assert_string_equal(u.socket, "/run/mem server.sock");
	assert_string_equal(u.host, "");
	refused("nbd+unix:///x", "socket=PATH");
	refused("nbd+unix:///x?socket=relative", "absolute");
	refused("nbd+unix://host/x?socket=/s", "no host");
	refused("nbd+unix://?socket=/a/b", "no host");
}

static void nonsense_is_refused_with_its_reason(void **state)
{
	refused("", "must begin");
	refused("http://x/y", "must begin");
	refused("nbd://", "no host");
	refused("nbd:///x", "no host");
	refused("nbd://host", "no export");
	refused("nvme-tcp://host/", "no export");
	refused("iscsi://host/", "no export");
	refused("nbd://host:/x", "port");
	refused("nbd://host:0/x", "port");
	refused("nbd://host:65536/x", "port");
	refused("nbd://host:1x/x", "port");
	refused("nbd://[::1/x", "without");
	refused("nbd://[::1]7/x", "port");
	refused("nbd://[host]/x", "brackets");
	refused("nbd://a b/x", "character");
	refused("nbd://a,b/x", "character");
	refused("nbd://host/x?socket=/s", "no meaning");
	refused("nbd://host/%", "escape");
	refused("nbd://host/%4", "escape");
	refused("nbd://host/%4g", "escape");
	refused("nbd://host/%00", "escape");
	refused("nbd://host/a\nb", "escape");
}

static void lengths_are_bounded(void **state)
{
	char text[2 * URL_TEXT_MAX];

	memcpy(text, "nbd://h/", 8);
	memset(text + 8, 'x', URL_EXPORT_MAX + 1);
	text[8 + URL_EXPORT_MAX] = '\0';
	assert_int_equal(strlen(parsed(text).name), URL_EXPORT_MAX);
	text[8 + URL_EXPORT_MAX] = 'x';
	text[9 + URL_EXPORT_MAX] = '\0';
	refused(text, "too long");
	memcpy(text, "nbd://", 6);
	memset(text + 6, 'h', URL_HOST_MAX + 1);
	strcpy(text + 6 + URL_HOST_MAX + 1, "/x");
	refused(text, "too long");
}

static void what_is_formatted_parses_to_the_same(void **state)
{
	static const char *const texts[] = {
		"nvme-tcp://10.0.2.2/default",
		"nvme-tcp://[::1]:8009/nqn.2014-08.org.nvmexpress:uuid:1",
		"iscsi://[::1]/iqn.2026-11.io.remem:default:0123456789ab",
		"nbd://host/",
		"nbd://host/n%20a%2Fm%25e%C3%A9",
		"nbd+unix:///x?socket=/a%3Fb",
	};
	char buf[URL_TEXT_MAX + 1];

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct url u = parsed(texts[i]), v = parsed(url_format(&u, buf));

		assert_memory_equal(&u, &v, sizeof(u));
	}
	assert_string_equal(url_format(&(struct url){ .scheme = URL_NBD,
						      .port = 10809,
						      .host = "h",
						      .name = "e" },
				       buf),
			    "nbd://h:10809/e");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(ports_and_addresses),
		cmocka_unit_test(unix_sockets),
		cmocka_unit_test(nonsense_is_refused_with_its_reason),
		cmocka_unit_test(lengths_are_bounded),
		cmocka_unit_test(what_is_formatted_parses_to_the_same),
	};

	return cmocka_run_group_tests_name("client/url", tests, NULL, NULL);
}
