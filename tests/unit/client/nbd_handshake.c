/* SPDX-License-Identifier: GPL-2.0-or-later */
/* client/nbd_handshake.c: a server's bytes, honest and not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client/nbd_handshake.h"
#include "lib/proto/nbd.h"

/* A server's script: bytes to be read in the pieces that the machine wants. */
struct script {
	uint8_t buf[1 << 17];
	size_t len, at;
};

static struct script s;

static void say(const void *bytes, size_t len)
{
	memcpy(s.buf + s.len, bytes, len);
	s.len += len;
}

static void say16(uint16_t v)
{
	v = htobe16(v);
	say(&v, 2);
}

static void say32(uint32_t v)
{
	v = htobe32(v);
	say(&v, 4);
}

static void say64(uint64_t v)
{
	v = htobe64(v);
	say(&v, 8);
}

static void say_hello(void)
{
	s.len = s.at = 0;
	say64(NBD_MAGIC);
	say64(NBD_OPTS_MAGIC);
	say16(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
}

static void say_head(uint32_t option, uint32_t type, uint32_t len)
{
	say64(NBD_OPT_REPLY_MAGIC);
	say32(option);
	say32(type);
	say32(len);
}

static void say_export(uint64_t size, uint16_t flags)
{
	say_head(NBD_OPT_GO, NBD_REP_INFO, 12);
	say16(NBD_INFO_EXPORT);
	say64(size);
	say16(flags);
}

static void say_name(const char *name)
{
	say_head(NBD_OPT_GO, NBD_REP_INFO, (uint32_t)(2 + strlen(name)));
	say16(NBD_INFO_NAME);
	say(name, strlen(name));
}

/* Feeds until the machine ends, fails, or the script is over (-EAGAIN). */
static int play(struct nbd_handshake *h)
{
	size_t len;
	int r;

	do {
		size_t want = nbd_handshake_want(h);

		nbd_handshake_output(h, &len);
		assert_in_range(want, 1, NBD_HANDSHAKE_CHUNK);
		if (s.len - s.at < want)
			return -EAGAIN;
		r = nbd_handshake_feed(h, s.buf + s.at);
		s.at += want;
	} while (!r);
	return r;
}

static int play_new(struct nbd_handshake *h)
{
	assert_int_equal(nbd_handshake_init(h, "default"), 0);
	return play(h);
}

static void an_export_is_negotiated(void **state)
{
	struct nbd_handshake h;

	say_hello();
	say_name("default@0123456789ab");
	say_head(NBD_OPT_GO, NBD_REP_INFO, 14);
	say16(NBD_INFO_BLOCK_SIZE);
	say32(512);
	say32(4096);
	say32(32u << 20);
	say_export(UINT64_C(5) << 32, NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_TRIM);
	say_head(NBD_OPT_GO, NBD_REP_ACK, 0);
	assert_int_equal(play_new(&h), 1);
	assert_int_equal(nbd_handshake_errno(&h), 0);
	assert_string_equal(h.info.name, "default@0123456789ab");
	assert_int_equal(h.info.size_bytes, UINT64_C(5) << 32);
	assert_int_equal(h.info.flags, NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_TRIM);
	assert_int_equal(h.info.block_preferred, 4096);
	assert_int_equal(nbd_handshake_want(&h), 0);
	assert_int_equal(s.at, s.len);
}

static void what_is_asked_is_what_the_protocol_says(void **state)
{
	static const uint8_t want[] =
		"\0\0\0\3"                   /* flags */
		"IHAVEOPT\0\0\0\7\0\0\0\x0c" /* GO, 12 bytes */
		"\0\0\0\2x@\0\2\0\1\0\3";    /* name, NAME, BLOCK_SIZE */
	struct nbd_handshake h;
	const uint8_t *out;
	size_t len;

	say_hello();
	assert_int_equal(nbd_handshake_init(&h, "x@"), 0);
	nbd_handshake_output(&h, &len);
	assert_int_equal(len, 0); /* the server speaks first */
	assert_int_equal(nbd_handshake_feed(&h, s.buf), 0);
	out = nbd_handshake_output(&h, &len);
	assert_int_equal(len, sizeof(want) - 1);
	assert_memory_equal(out, want, len);
	nbd_handshake_output(&h, &len);
	assert_int_equal(len, 0); /* once */
}

static void the_name_asked_for_stands_when_the_server_tells_none(void **state)
{
	struct nbd_handshake h;

	say_hello();
	say_export(4096, 1);
	say_head(NBD_OPT_GO, NBD_REP_INFO, 5); /* something newer */
	say16(77);
	say("abc", 3);
	say_head(NBD_OPT_GO, NBD_REP_ACK, 0);
	assert_int_equal(play_new(&h), 1);
	assert_string_equal(h.info.name, "default");
}

static void refusals_become_errnos_with_the_servers_words(void **state)
{
	static const struct {
		uint32_t type;
		int r;
	} refusals[] = {
		{ NBD_REP_ERR_UNKNOWN, -ENOENT },
		{ NBD_REP_ERR_POLICY, -EACCES },
		{ NBD_REP_ERR_TLS_REQD, -ENOKEY },
		{ NBD_REP_ERR_SHUTDOWN, -ESHUTDOWN },
		{ NBD_REP_ERR_UNSUP, -EOPNOTSUPP },
		{ NBD_REP_ERR_INVALID, -EPROTO },
		{ UINT32_C(0x8000ffff), -EPROTO },
	};
	struct nbd_handshake h;

	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		say_hello();
		say_head(NBD_OPT_GO, refusals[i].type, 6);
		say("no\nway", 6);
		assert_int_equal(play_new(&h), 1);
		assert_int_equal(nbd_handshake_errno(&h), refusals[i].r);
		assert_string_equal(h.refusal_text, "no?way");
	}
}

struct names {
	char text[256];
};

static void found(void *arg, const char *name, size_t len)
{
	struct names *n = arg;

	sprintf(n->text + strlen(n->text), "%.*s,", (int)len, name);
}

static void the_list_can_be_asked_for_after_a_refusal(void **state)
{
	struct names names = { "" };
	struct nbd_handshake h;

	say_hello();
	say_head(NBD_OPT_GO, NBD_REP_ERR_UNKNOWN, 0);
	assert_int_equal(play_new(&h), 1);
	h.found = found;
	h.found_arg = &names;
	nbd_handshake_list(&h);
	say_head(NBD_OPT_LIST, NBD_REP_SERVER, 4 + 3 + 2);
	say32(3);
	say("oneXX", 5); /* two bytes of description */
	say_head(NBD_OPT_LIST, NBD_REP_SERVER, 4);
	say32(0);
	say_head(NBD_OPT_LIST, NBD_REP_ACK, 0);
	assert_int_equal(play(&h), 1);
	assert_int_equal(nbd_handshake_errno(&h), 0);
	assert_string_equal(names.text, "one,,");
}

static void expect_broken(struct nbd_handshake *h, const char *what)
{
	if (play_new(h) != -EPROTO)
		fail_msg("taken: %s", what);
}

static void a_broken_hello_is_told_from_an_old_one(void **state)
{
	struct nbd_handshake h;

	s.len = s.at = 0;
	say("HTTP/1.1 400 Bad R", 18);
	expect_broken(&h, "a web server");
	say_hello();
	say("", 1);
	s.buf[17] = 0; /* no fixed newstyle */
	assert_int_equal(play_new(&h), -EOPNOTSUPP);
	say_hello();
	s.buf[8] ^= 1; /* oldstyle has another second magic */
	assert_int_equal(play_new(&h), -EOPNOTSUPP);
}

static void broken_replies_are_refused(void **state)
{
	struct nbd_handshake h;

	say_hello();
	say_head(NBD_OPT_GO, NBD_REP_INFO, NBD_HANDSHAKE_CHUNK + 1);
	expect_broken(&h, "a reply that is too long");
	say_hello();
	say_head(NBD_OPT_GO, NBD_REP_INFO, UINT32_MAX);
	expect_broken(&h, "a reply of 4 GiB");
	say_hello();
	say_head(NBD_OPT_LIST, NBD_REP_ACK, 0);
	expect_broken(&h, "an answer to another option");
	say_hello();
	say_head(NBD_OPT_GO, NBD_REP_ACK, 0);
	expect_broken(&h, "an acknowledgement without an export");
	say_hello();
	say_export(4096, 1);
	say_head(NBD_OPT_GO, NBD_REP_ACK, 1);
	say("x", 1);
	expect_broken(&h, "an acknowledgement with a body");
	say_hello();
	say_head(NBD_OPT_GO, NBD_REP_INFO, 0);
	expect_broken(&h, "information about nothing");
	say_hello();
	say_head(NBD_OPT_GO, NBD_REP_INFO, 4);
	say16(NBD_INFO_EXPORT);
	say16(0);
	expect_broken(&h, "an export that is cut off");
	say_hello();
	say_head(NBD_OPT_GO, NBD_REP_INFO, 4);
	say16(NBD_INFO_BLOCK_SIZE);
	say16(0);
	expect_broken(&h, "block sizes that are cut off");
	say_hello();
	say_head(NBD_OPT_GO, NBD_REP_SERVER, 4);
	say32(0);
	expect_broken(&h, "a list nobody asked for");
	say_hello();
	say_head(NBD_OPT_GO, 9, 0);
	expect_broken(&h, "an unknown reply that isn't an error");
	say_hello();
	s.buf[0] ^= 0;
	say_head(NBD_OPT_GO, NBD_REP_INFO, 12);
	s.buf[18] ^= 1;
	expect_broken(&h, "a wrong magic");
}

static void names_that_are_no_names_are_refused(void **state)
{
	char text[NBD_HANDSHAKE_NAME_MAX + 2];
	struct nbd_handshake h;

	memset(text, 'n', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	say_hello();
	say_name(text);
	expect_broken(&h, "a name that is too long");
	say_hello();
	say_name("");
	expect_broken(&h, "an empty name");
	say_hello();
	say_head(NBD_OPT_GO, NBD_REP_INFO, 5);
	say16(NBD_INFO_NAME);
	say("a\0b", 3);
	expect_broken(&h, "a name with a NUL");
	assert_int_equal(nbd_handshake_init(&h, text), -ENAMETOOLONG);
	text[NBD_HANDSHAKE_NAME_MAX] = '\0';
	assert_int_equal(nbd_handshake_init(&h, text), 0);
}

static void a_list_entry_longer_than_its_reply_is_refused(void **state)
{
	struct nbd_handshake h;

	say_hello();
	say_head(NBD_OPT_GO, NBD_REP_ERR_UNKNOWN, 0);
	assert_int_equal(play_new(&h), 1);
	nbd_handshake_list(&h);
	say_head(NBD_OPT_LIST, NBD_REP_SERVER, 6);
	say32(3);
	say("ab", 2);
	assert_int_equal(play(&h), -EPROTO);
	nbd_handshake_list(&h);
	say_head(NBD_OPT_LIST, NBD_REP_SERVER, 3);
	say("abc", 3);
	assert_int_equal(play(&h), -EPROTO);
}

static void a_server_that_never_ends_is_left(void **state)
{
	struct nbd_handshake h;

	say_hello();
	for (int i = 0; i < 1000; i++)
		say_export(4096, 1);
	expect_broken(&h, "a thousand answers");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_export_is_negotiated),
		cmocka_unit_test(what_is_asked_is_what_the_protocol_says),
		cmocka_unit_test(the_name_asked_for_stands_when_the_server_tells_none),
		cmocka_unit_test(refusals_become_errnos_with_the_servers_words),
		cmocka_unit_test(the_list_can_be_asked_for_after_a_refusal),
		cmocka_unit_test(a_broken_hello_is_told_from_an_old_one),
		cmocka_unit_test(broken_replies_are_refused),
		cmocka_unit_test(names_that_are_no_names_are_refused),
		cmocka_unit_test(a_list_entry_longer_than_its_reply_is_refused),
		cmocka_unit_test(a_server_that_never_ends_is_left),
	};

	return cmocka_run_group_tests_name("client/nbd_handshake", tests, NULL, NULL);
}
