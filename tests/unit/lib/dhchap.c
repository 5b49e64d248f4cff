/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The arithmetic of DH-HMAC-CHAP against vectors of another implementation
 * (tests/hostile/libdhchap.py prints them), and DH with ourselves and with nonsense.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/bn.h>
#include <openssl/evp.h>

#include "lib/dhchap.h"

#define HOST "nqn.2014-08.org.example:host"
#define SUB  "nqn.2026-11.io.remem:default"

static void count_up(uint8_t *p, size_t len, uint8_t from)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(from + i);
}

static const struct {
	uint8_t hash, key_hash, key_len;
	const char *response;
} responses[] = {
	{ 1, 0, 32,
	  "\x24\x1a\x3f\xde\x53\x89\x0f\x14\x97\x86\x16\xb7\x1b\x6d\x28\xe3"
	  "\xac\xec\x8f\x75\x02\xa3\xab\x68\x16\x94\x78\xb7\x99\x89\x28\xc3" },
	{ 1, 1, 32,
	  "\x0f\x42\x2d\x71\x47\x29\x69\xb6\x09\xf7\xa5\x6c\x58\x5a\x5f\x01"
	  "\xfb\xd1\x65\x97\x77\x9f\x4b\x9d\xe6\xfd\x00\xb3\x9e\x95\x00\xe6" },
	{ 1, 2, 48,
	  "\xc2\x3f\xf7\xec\xa8\xf6\xcb\xca\x6e\x4a\x79\xfb\x1c\xe6\x1d\xa6"
	  "\xb0\x4c\x79\x02\x70\x0c\x33\xe8\xa3\x0f\x72\x09\xf2\xf2\x90\xdb" },
	{ 1, 3, 64,
	  "\xda\x76\xee\x26\x0e\x3c\x61\x19\x15\x08\x24\xb8\xee\xce\x2f\xac"
	  "\xa4\x66\xbc\xca\x40\x5c\xe1\x55\xd8\x5a\xe8\x1d\x7a\xf3\x6f\xf9" },
	{ 2, 0, 32,
	  "\x9a\xe1\x10\xd2\x40\x5f\xe4\x1d\x51\x14\x6c\x63\xa7\x11\xc5\x4d"
	  "\x0d\x48\x0f\xc1\x33\xc6\xa2\xe4\x84\x2b\x28\x70\x0a\x3c\x59\x76"
	  "\x39\x78\x39\x84\xd9\xbd\x9c\x74\x4b\x8c\x7a\xb4\x85\x18\x17\xdf" },
	{ 2, 1, 32,
	  "\xff\xb0\x1a\x9f\xe5\xf4\x1a\xe7\x93\x52\xcb\x2f\x10\x4a\xae\x15"
	  "\xe6\x64\xec\x86\xe0\x4f\xa2\x19\x88\x7b\x1d\xc1\x10\x59\x09\x99"
	  "\x12\x59\xed\x9a\x34\xba\xaf\x4a\xa2\xe7\xaf\xc6\x4c\xc5\x91\x88" },
	{ 2, 2, 48,
	  "\x4d\x8c\x42\x26\xda\xbd\x45\xe9\x0d\x0d\x3f\xd3\x19\x09\x0b\x16"
	  "\xe4\xa4\x46\x9a\x69\x08\x8c\xe4\x17\x9e\x4b\x24\x42\x8c\xde\xdf"
	  "\x52\x71\x75\x0a\xb9\x8f\x2c\xd6\x5f\x63\x84\x64\x0a\xed\x9b\x0e" },
	{ 2, 3, 64,
	  "\x36\xa3\xf2\x15\x31\x4d\x1d\xdc\x44\xf2\xaa\x61\x92\x55\xcf\x4e"
	  "\x34\xad\xed\xf7\xf9\xa6\x5f\x93\x4a\x07\x60\xdc\x3f\x26\x98\x2f"
	  "\x88\xec\x99\x76\x36\xa6\xd4\x45\x85\x1b\x7f\x49\x8b\xec\x6b\x43" },
	{ 3, 0, 32,
	  "\x30\xc1\xae\x55\x6b\x9b\x22\xca\x1e\x08\x27\x06\xe3\x11\x5f\xc6"
	  "\x37\x5e\x8f\x91\xb7\xcf\xb0\xad\x18\x8d\xec\xd0\xfa\x6d\x0a\x6a"
	  "\xeb\xed\x61\xa5\x0e\xac\x34\x2e\x9a\x6e\x44\x45\xdd\x88\x33\x53"
	  "\x24\xec\x68\xbe\x92\x2c\x29\x8f\xba\x91\xca\xc8\x8f\x96\xa7\x50" },
	{ 3, 1, 32,
	  "\x9f\x2b\xcf\x1b\xba\x1d\xdd\xb4\xc9\x4b\xaf\xd9\x79\xa0\xa6\xa4"
	  "\x67\x47\xe8\xa1\x8a\x9c\x37\x09\xd3\x9c\xf9\x71\x77\xf4\x9b\x32"
	  "\xcb\x65\xa4\x5c\x4c\x3d\x0e\xd3\x03\x59\xfd\x44\x6b\xf7\x3d\xf4"
	  "\xbb\x31\xcd\x42\xc8\x72\xd7\x7e\x06\xc2\xe6\xa3\xe2\x8a\x49\x3c" },
	{ 3, 2, 48,
	  "\x4e\x96\x90\x5f\x2b\x7c\xe4\xa1\x95\xa2\x62\x2d\x46\x59\x19\x52"
	  "\xb3\xb7\xcb\x5c\x9e\x9d\xc0\xca\x60\xec\x1b\xea\x57\xdb\xa4\x51"
	  "\x99\x06\x62\x3a\xbe\x8c\x04\x59\xe0\x96\x4b\x0d\xfe\x85\xeb\xd7"
	  "\x5e\x0c\xca\xd4\x12\xe9\x0e\x09\x05\xbc\x21\xc1\xf0\x5e\xe1\x91" },
	{ 3, 3, 64,
	  "\x77\x18\xcc\x0d\x9c\xcb\xce\xcd\x42\x52\x90\x2c\x7e\xf8\x82\x57"
	  "\x00\xa0\x47\xe1\xe8\xd6\x87\xe6\x3a\xcd\xbe\x94\x84\x33\xde\xfc"
	  "\x3e\x0c\x93\x6c\x9d\xd8\x4a\x6f\xa3\x0d\xbd\xa3\xcf\x7f\xd7\x08"
	  "\xdb\xad\x39\xd9\xf9\xd1\x3c\x81\x9c\x87\xc0\x83\x9b\xfe\x6d\x9a" },
};

static void responses_are_the_specification_s(void **state)
{
	for (size_t i = 0; i < sizeof(responses) / sizeof(responses[0]); i++) {
		uint8_t challenge[64], out[64];
		struct key_text key = { .hash = responses[i].key_hash,
					.len = responses[i].key_len };
		struct dhchap_claim claim = { .hash = responses[i].hash,
					      .challenge = challenge,
					      .seqnum = 0x01020304,
					      .t_id = 0x0506,
					      .role = "HostHost",
					      .prover = HOST,
					      .peer = SUB };

		count_up(key.bytes, key.len, 0);
		count_up(challenge, sizeof(challenge), 100);
		assert_int_equal(dhchap_respond(&key, &claim, out), 0);
		assert_memory_equal(out, responses[i].response,
				    dhchap_hash_len(claim.hash));
	}
}

static const struct {
	uint8_t hash;
	const char *augmented;
} challenges[] = {
	{ 1, "\xf8\xe9\x4f\x67\xfe\xf9\x1b\xa7\x77\x29\xfe\x49\x9e\xce\x31\xc3"
	     "\xf4\x64\x28\xe8\x78\x87\x46\xb7\x43\x02\x87\x76\x78\x68\x90\x88" },
	{ 2, "\x84\xbe\x61\xd3\x6b\x70\x53\x2c\x3f\xed\xfc\x35\xd2\x96\xb1\xbc"
	     "\x1e\x32\x1b\x8a\x52\x2a\x2f\x23\xf8\x24\xce\xf7\x4c\xb6\x64\x7d"
	     "\xf0\x5a\x88\x32\x4d\xac\x1a\xc6\xc2\x8f\x6c\xb6\x6a\xc9\x1d\xf2" },
	{ 3, "\x51\x59\xf2\x64\x92\x41\x4b\x79\xfc\xa9\xa8\x8c\x85\xb5\x80\xa8"
	     "\x0f\xe6\x2f\xf5\x29\x4d\xc3\x0f\x88\x9e\xad\xa2\x75\xbc\xfc\x49"
	     "\xab\x57\xe0\xa9\x0a\x4e\x80\x6e\x31\x56\x92\x7c\xce\x41\x5d\xbb"
	     "\xa4\xf2\xd7\x0a\x4d\xdf\x33\x69\x31\x3a\x87\xff\x28\xf3\x60\x95" },
};
/* The session keys are the digests of 400 bytes, 0 to 199 twice. */
static void augmented_challenges_are_the_specification_s(void **state)
{
	for (size_t i = 0; i < sizeof(challenges) / sizeof(challenges[0]); i++) {
		uint8_t shared[400], challenge[64], ks[64], out[64], hash;
		const char *name;

		hash = challenges[i].hash;
		name = dhchap_hash_name(hash);
		count_up(shared, 200, 0);
		count_up(shared + 200, 200, 0);
		count_up(challenge, sizeof(challenge), 100);
		assert_int_equal(EVP_Digest(shared, sizeof(shared), ks, NULL,
					    EVP_get_digestbyname(name), NULL),
				 1);
		assert_int_equal(dhchap_augment(hash, ks, challenge, out), 0);
		assert_memory_equal(out, challenges[i].augmented,
				    dhchap_hash_len(hash));
	}
}

static void both_sides_of_every_group_come_to_one_key(void **state)
{
	for (uint8_t group = 1; group < DHCHAP_GROUPS; group++) {
		size_t len = dhchap_group_len(group);
		uint8_t a[NVME_DHCHAP_DH_MAX], b[NVME_DHCHAP_DH_MAX];
		uint8_t ka[64], kb[64];
		struct dhchap_dh *da = NULL, *db = NULL;

		assert_int_equal(dhchap_dh_new(group, &da, a), 0);
		assert_int_equal(dhchap_dh_new(group, &db, b), 0);
		assert_memory_not_equal(a, b, len);
		assert_int_equal(dhchap_dh_session(da, 3, b, len, ka), 0);
		assert_int_equal(dhchap_dh_session(db, 3, a, len, kb), 0);
		assert_memory_equal(ka, kb, 64);
		dhchap_dh_free(da);
		dhchap_dh_free(db);
	}
}

static void values_that_give_the_key_away_are_refused(void **state)
{
	uint8_t own[256], value[256] = { 0 }, ks[64];
	struct dhchap_dh *dh;

	assert_int_equal(dhchap_dh_new(1, &dh, own), 0);
	assert_int_equal(dhchap_dh_session(dh, 1, value, 256, ks), -EPROTO); /* 0 */
	value[255] = 1;
	assert_int_equal(dhchap_dh_session(dh, 1, value, 256, ks), -EPROTO);
	memset(value, 0xff, sizeof(value)); /* more than p */
	assert_int_equal(dhchap_dh_session(dh, 1, value, 256, ks), -EPROTO);
	assert_int_equal(dhchap_dh_session(dh, 1, own, 255, ks), -EPROTO);
	assert_int_equal(dhchap_dh_session(dh, 1, own, 256, ks), 0);
	dhchap_dh_free(dh);
}

static void p_minus_one_is_refused(void **state)
{
	struct dhchap_dh *dh;
	uint8_t own[256], value[256], ks[64];
	BIGNUM *p = NULL;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "DH", NULL);
	EVP_PKEY *group = NULL;
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string("group", (char *)"ffdhe2048", 0),
		OSSL_PARAM_construct_end(),
	};

	assert_true(EVP_PKEY_keygen_init(ctx) > 0);
	assert_true(EVP_PKEY_CTX_set_params(ctx, params) > 0);
	assert_true(EVP_PKEY_generate(ctx, &group) > 0);
	assert_true(EVP_PKEY_get_bn_param(group, "p", &p));
	assert_int_equal(dhchap_dh_new(1, &dh, own), 0);
	BN_bn2binpad(p, value, 256);
	assert_int_equal(dhchap_dh_session(dh, 1, value, 256, ks), -EPROTO);
	BN_sub_word(p, 1);
	BN_bn2binpad(p, value, 256);
	assert_int_equal(dhchap_dh_session(dh, 1, value, 256, ks), -EPROTO);
	BN_sub_word(p, 1);
	BN_bn2binpad(p, value, 256);
	assert_int_equal(dhchap_dh_session(dh, 1, value, 256, ks), 0);
	dhchap_dh_free(dh);
	BN_free(p);
	EVP_PKEY_free(group);
	EVP_PKEY_CTX_free(ctx);
}

static void there_are_three_hashes_and_six_groups(void **state)
{
	uint8_t id;

	assert_int_equal(dhchap_hash_len(0), 0);
	assert_int_equal(dhchap_hash_len(2), 48);
	assert_int_equal(dhchap_hash_len(4), 0);
	assert_null(dhchap_hash_name(255));
	assert_null(dhchap_group_name(6));
	assert_int_equal(dhchap_group_len(0), 0);
	assert_int_equal(dhchap_group_len(5), 1024);
	assert_int_equal(dhchap_group_find("ffdhe6144", 9, &id), 0);
	assert_int_equal(id, 4);
	assert_int_equal(dhchap_hash_find("sha1", 4, &id), -EINVAL);
	assert_int_equal(dhchap_group_find("ffdhe2048x", 10, &id), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(responses_are_the_specification_s),
		cmocka_unit_test(augmented_challenges_are_the_specification_s),
		cmocka_unit_test(both_sides_of_every_group_come_to_one_key),
		cmocka_unit_test(values_that_give_the_key_away_are_refused),
		cmocka_unit_test(p_minus_one_is_refused),
		cmocka_unit_test(there_are_three_hashes_and_six_groups),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
