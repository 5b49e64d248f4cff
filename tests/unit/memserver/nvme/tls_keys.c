/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file of NVMe hosts and their keys for TLS, and which key an identity means. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/hex.h"
#include "memserver/nvme/tls_keys.h"

#define HOST "nqn.2014-08.org.nvmexpress:uuid:7d3a5ab4-5d3c-4b0e-9a0e-0d1f3c2b1a00"
#define SUB  NVME_SUBNQN_PREFIX "swap"
#define A    "NVMeTLSkey-1:01:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:"
#define B                                                                  \
	"NVMeTLSkey-1:02:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIj" \
	"JCUmJygpKissLS4vcSEgBQ==:"
#define PLAIN "NVMeTLSkey-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:"

static struct nvme_tls_keys *parse(const char *text)
{
	struct nvme_tls_keys *k = NULL;
	unsigned int line;
	const char *why;

	assert_int_equal(nvme_tls_keys_parse(text, strlen(text), &k, &line, &why), 0);
	return k;
}

static int find(const struct nvme_tls_keys *k, const char *identity, unsigned int nth,
		uint8_t *ret)
{
	struct nvme_psk_id id;

	assert_int_equal(
		nvme_psk_id_parse((const uint8_t *)identity, strlen(identity), &id), 0);
	return nvme_tls_keys_find(k, &id, nth, ret);
}

/* The TLS keys of tests/unit/lib/nvme_psk.c. */
static void assert_key(const uint8_t *key, const char *hex)
{
	for (size_t i = 0; hex[2 * i]; i++)
		assert_int_equal(key[i], hex_digit(hex[2 * i]) << 4 |
						 hex_digit(hex[2 * i + 1]));
}

#define RFC_0       "dab1142755af74a046464c0cff808bdd0a49211c4bb21f857c75b249e21b9d31"
#define LIB_0       "2919f94b12342658b649f9fcc41e606fcc77c701d1b8fe3166f11dee74c38417"
#define RFC_1       "06a49bb2ae594fd2e3a1739f25b394bd74af8c56a47a8c30a953a9da90c2eb21"
#define LIB_1       "77d7a8df41b3160ffb30e04e99809f21060e89fec9a1239905b7912a1c531ef3"
#define D_RFC       "dm7qWwj2cn0y/eQMxlOLgHtUBKrp94CFQzv/451qyZU="
#define D_LIB       "HhoWRrf1useZuMGYGh3r0lFBodoi56GVIxnxsArO1DM="
#define ID(v, more) "NVMe" v " " HOST " " SUB more

static void an_identity_of_version_1_means_one_key(void **state)
{
	struct nvme_tls_keys *k = parse("host " HOST " key=" A);
	uint8_t key[HKDF_MAX];

	assert_int_equal(find(k, ID("1R01", " " D_RFC), 0, key), 0);
	assert_key(key, RFC_1);
	assert_int_equal(find(k, ID("1R01", " " D_RFC), 1, key), -ENOENT);
	assert_int_equal(find(k, ID("1R01", " " D_LIB), 0, key), 0);
	assert_key(key, LIB_1);
	assert_int_equal(find(k, ID("1R01", " " D_LIB), 1, key), -ENOENT);
	assert_int_equal(
		find(k, ID("1R01", " hhoWRrf1useZuMGYGh3r0lFBodoi56GVIxnxsArO1DM="), 0,
		     key),
		-ENOENT);
	nvme_tls_keys_put(k);
}

static void an_identity_of_version_0_may_mean_several(void **state)
{
	struct nvme_tls_keys *k = parse("host " HOST " key=" PLAIN "\nhost " HOST
					" key=" B "\nhost " HOST " key=" A);
	uint8_t key[HKDF_MAX];

	assert_int_equal(find(k, ID("0R01", ""), 0, key), 0);
	assert_int_equal(find(k, ID("0R01", ""), 1, key), 0);
	assert_int_equal(find(k, ID("0R01", ""), 2, key), 0);
	assert_key(key, RFC_0);
	assert_int_equal(find(k, ID("0R01", ""), 3, key), 0);
	assert_key(key, LIB_0);
	assert_int_equal(find(k, ID("0R01", ""), 4, key), -ENOENT);
	assert_int_equal(find(k, ID("0R02", ""), 1, key), 0);
	assert_int_equal(find(k, ID("0R02", ""), 2, key), -ENOENT);
	nvme_tls_keys_put(k);
}

static void a_key_is_for_its_host_and_its_exports(void **state)
{
	struct nvme_tls_keys *k = parse("# hosts\n\n"
					"host " HOST " exports=swap,b key=" A "\n"
					"  host nqn.other key=" A "\r\n");
	uint8_t key[HKDF_MAX];

	assert_int_equal(find(k, ID("0R01", ""), 0, key), 0);
	assert_int_equal(find(k, "NVMe0R01 " HOST " " NVME_SUBNQN_PREFIX "b", 0, key),
			 0);
	assert_int_equal(find(k, "NVMe0R01 " HOST " " NVME_SUBNQN_PREFIX "c", 0, key),
			 -ENOENT);
	assert_int_equal(
		find(k, "NVMe0R01 " HOST " " NVME_SUBNQN_PREFIX "swap,b", 0, key),
		-ENOENT);
	assert_int_equal(find(k, "NVMe0R01 " HOST " " NVME_SUBNQN_PREFIX, 0, key),
			 -ENOENT);
	assert_int_equal(find(k, "NVMe0R01 " HOST " nqn.elsewhere:swap", 0, key),
			 -ENOENT);
	assert_int_equal(find(k, "NVMe0R01 " HOST " " NVME_DISCOVERY_NQN, 0, key), 0);
	assert_int_equal(find(k, "NVMe0R01 " HOST "0 " SUB, 0, key), -ENOENT);
	assert_int_equal(find(k, "NVMe0R01 nqn.other " NVME_SUBNQN_PREFIX "c", 0, key),
			 0);
	assert_int_equal(find(k, ID("0G01", ""), 0, key), -ENOENT);
	assert_int_equal(find(k, ID("0R02", ""), 0, key), -ENOENT);
	assert_true(nvme_tls_keys_allow(k, HOST, NULL));
	assert_true(nvme_tls_keys_allow(k, HOST, "swap"));
	assert_false(nvme_tls_keys_allow(k, HOST, "c"));
	assert_false(nvme_tls_keys_allow(k, "nqn.nobody", NULL));
	nvme_tls_keys_put(k);
}

static void what_is_no_file_is_refused_with_its_line(void **state)
{
	static const struct {
		const char *text;
		unsigned int line;
	} bad[] = {
		{ "", 0 },
		{ "# nobody\n", 1 },
		{ "host nqn.a", 1 },
		{ "\nhost nqn.a exports=x", 2 },
		{ "host key=" A, 1 },
		{ "host nqn.a key=" A " key=" A, 1 },
		{ "host nqn.a key=" A " exports=", 1 },
		{ "host nqn.a key=" A " exports=a exports=b", 1 },
		{ "host nqn.a key=" A " more", 1 },
		{ "host nqn.a key=" A "\nnqn.b key=" A, 2 },
		{ "host nqn.a key=DHHC-1:01:AAEC:", 1 },
		{ "host nqn.a key=" A "x", 1 },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct nvme_tls_keys *k = NULL;
		const char *why = NULL;
		unsigned int line;

		assert_int_equal(nvme_tls_keys_parse(bad[i].text, strlen(bad[i].text),
						     &k, &line, &why),
				 -EINVAL);
		assert_int_equal(line, bad[i].line);
		assert_non_null(why);
		assert_null(strstr(why, "AAEC"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_identity_of_version_1_means_one_key),
		cmocka_unit_test(an_identity_of_version_0_may_mean_several),
		cmocka_unit_test(a_key_is_for_its_host_and_its_exports),
		cmocka_unit_test(what_is_no_file_is_refused_with_its_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
