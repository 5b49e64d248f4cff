/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys of NVMe/TCP's TLS as nvme-cli writes them, what is derived, and names of peers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/hex.h"
#include "lib/nvme_psk.h"

#define HOST "nqn.2014-08.org.nvmexpress:uuid:7d3a5ab4-5d3c-4b0e-9a0e-0d1f3c2b1a00"
#define SUB  "nqn.2026-11.io.remem:swap"

/*
 * The TLS keys by Python (hashlib's hmac, HKDFExpand of `cryptography`) and the formulas
 * of the specification and of libnvme 1.13; the digests also by `nvme check-tls-key` of
 * nvme-cli 2.16 and, with --compat or nvme-cli 2.13, the other way.
 */
/* clang-format off */
static const struct {
	const char *key;
	enum nvme_psk_way way;
	uint8_t version;
	const char *digest, *tls_key;
} vectors[] = {
	{ "NVMeTLSkey-1:01:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+Kfi"
		  "aR:",
	  NVME_PSK_RFC8446, 0,
	  "",
	  "dab1142755af74a046464c0cff808bdd0a49211c4bb21f857c75b249e21b9d"
		  "31" },
	{ "NVMeTLSkey-1:01:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+Kfi"
		  "aR:",
	  NVME_PSK_RFC8446, 1,
	  "dm7qWwj2cn0y/eQMxlOLgHtUBKrp94CFQzv/451qyZU=",
	  "06a49bb2ae594fd2e3a1739f25b394bd74af8c56a47a8c30a953a9da90c2eb"
		  "21" },
	{ "NVMeTLSkey-1:01:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+Kfi"
		  "aR:",
	  NVME_PSK_LIBNVME, 0,
	  "",
	  "2919f94b12342658b649f9fcc41e606fcc77c701d1b8fe3166f11dee74c384"
		  "17" },
	{ "NVMeTLSkey-1:01:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+Kfi"
		  "aR:",
	  NVME_PSK_LIBNVME, 1,
	  "HhoWRrf1useZuMGYGh3r0lFBodoi56GVIxnxsArO1DM=",
	  "77d7a8df41b3160ffb30e04e99809f21060e89fec9a1239905b7912a1c531e"
		  "f3" },
	{ "NVMeTLSkey-1:02:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gIS"
		  "IjJCUmJygpKissLS4vcSEgBQ==:",
	  NVME_PSK_RFC8446, 0,
	  "",
	  "188e8eb33649f7672e01c88400743632d80a8d4050459790b6694a4f1e3ad3"
		  "522e2d4a358df211a6a0c418eb3b56af50" },
	{ "NVMeTLSkey-1:02:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gIS"
		  "IjJCUmJygpKissLS4vcSEgBQ==:",
	  NVME_PSK_RFC8446, 1,
	  "Q59ZvAGa+/GxKOcAGgfTBQ7DH4icT8RRga4ymn2t1UwqkJeDMUPl7rIh6mtSBj"
		  "qu",
	  "b81271b3a428cab1af500f996ed6d63543d6f4daa7c490b990ffe220999e35"
		  "5b380a1f281af5ef6515b1f8dcec56be3c" },
	{ "NVMeTLSkey-1:02:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gIS"
		  "IjJCUmJygpKissLS4vcSEgBQ==:",
	  NVME_PSK_LIBNVME, 0,
	  "",
	  "14897a930d7897ef6fe651a2340acaca80d40b0050bf9f9d5aa98e7e488cda"
		  "b44c89a809cd7492f6f2b728e4e22a554a" },
	{ "NVMeTLSkey-1:02:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gIS"
		  "IjJCUmJygpKissLS4vcSEgBQ==:",
	  NVME_PSK_LIBNVME, 1,
	  "3vrOgAEECZq0/Sr8uceYi3eOvXCJY48fFp03Ao1Vn3bni5NcAk7TFJVE49k/KX"
		  "h3",
	  "7f40e365240a8606e470fcedf221220f09c1430d2a1a1bc1997b74039a3f44"
		  "c55e30cff155384d2eacef32d858105e15" },
	{ "NVMeTLSkey-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+Kfi"
		  "aR:",
	  NVME_PSK_RFC8446, 0,
	  "",
	  "950af9099d6aa4b7b732be83fa7f2bd6a226c72a27c0ef2b70d10da19588f7"
		  "af" },
	{ "NVMeTLSkey-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+Kfi"
		  "aR:",
	  NVME_PSK_RFC8446, 1,
	  "hikyW5YcI8PZU/1gVC9MxtjcCNOopUXXQ6AhlH0VovU=",
	  "f1f0b5e54cdbcebbf16580c27cccf7d71dc3f62778a897a2100bb869d174ea"
		  "22" },
	{ "NVMeTLSkey-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+Kfi"
		  "aR:",
	  NVME_PSK_LIBNVME, 0,
	  "",
	  "3d33c386c2e8b2525c84ae2d0d6561914a3efa0fbb24ae1d36a421fe5a171f"
		  "ba" },
	{ "NVMeTLSkey-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+Kfi"
		  "aR:",
	  NVME_PSK_LIBNVME, 1,
	  "hikyW5YcI8PZU/1gVC9MxtjcCNOopUXXQ6AhlH0VovU=",
	  "f768cfd2d8604a0560e2894a12158f9802bb62fc40a3bad1513d5d27dbe0aa"
		  "85" },
	{ "NVMeTLSkey-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gIS"
		  "IjJCUmJygpKissLS4vcSEgBQ==:",
	  NVME_PSK_RFC8446, 0,
	  "",
	  "fa4d9337fb44fdda922b1ba10acb045618c9e917d0a13bfe1fbeaf4aeaad1b"
		  "c7d19889122f009eeaae3865f71f5cffa6" },
	{ "NVMeTLSkey-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gIS"
		  "IjJCUmJygpKissLS4vcSEgBQ==:",
	  NVME_PSK_RFC8446, 1,
	  "NHToOnflfiGiYKF5ETOTHqNpT8tXhQmowWrot4f+on2BuS2sgE9cmFYQdKWXIW"
		  "Pb",
	  "e2a2140978e4dbd50e8b43f7efc313713d5755678e586b04644887dc4088dc"
		  "7b4711822ad15092581cd3beeed2faadfe" },
	{ "NVMeTLSkey-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gIS"
		  "IjJCUmJygpKissLS4vcSEgBQ==:",
	  NVME_PSK_LIBNVME, 0,
	  "",
	  "ff37c1bc0c1fc7f5cedbbefb534a764bf7e45bfde405f3f9c1a41cd85bf5f9"
		  "068d38c7948fddbaec2e70d575188d001b" },
	{ "NVMeTLSkey-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gIS"
		  "IjJCUmJygpKissLS4vcSEgBQ==:",
	  NVME_PSK_LIBNVME, 1,
	  "NHToOnflfiGiYKF5ETOTHqNpT8tXhQmowWrot4f+on2BuS2sgE9cmFYQdKWXIW"
		  "Pb",
	  "ccc613acb6a714cafaac3c51d0ddd1ca52f9b0359440fb722e73dafaf99d4e"
		  "4b1bed6af970591f9f876cc20ef1cd4787" },
};
/* clang-format on */

static int parse(const char *text, struct key_text *ret)
{
	const char *why = NULL;
	int r = nvme_psk_parse(text, strlen(text), ret, &why);

	if (r < 0)
		assert_non_null(why);
	return r;
}

static void assert_hex(const uint8_t *bytes, size_t len, const char *hex)
{
	assert_int_equal(strlen(hex), 2 * len);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(bytes[i], hex_digit(hex[2 * i]) << 4 |
						   hex_digit(hex[2 * i + 1]));
}

static void the_keys_are_those_of_others(void **state)
{
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		struct nvme_psk_id id = { .version = vectors[i].version,
					  .type = 'R',
					  .hostnqn = HOST,
					  .subnqn = SUB };
		char text[NVME_PSK_ID_MAX + 1], want[NVME_PSK_ID_MAX + 1];
		uint8_t tls_key[HKDF_MAX];
		struct key_text key;
		struct nvme_psk psk;

		assert_int_equal(parse(vectors[i].key, &key), 0);
		assert_int_equal(nvme_psk_retain(&key, HOST, vectors[i].way, &psk), 0);
		assert_int_equal(nvme_psk_id_format(&psk, &id, text), 0);
		assert_string_equal(id.digest, vectors[i].digest);
		snprintf(want, sizeof(want), "NVMe%dR0%d " HOST " " SUB "%s%s",
			 vectors[i].version, key.len == 48 ? 2 : 1,
			 vectors[i].version ? " " : "", vectors[i].digest);
		assert_string_equal(text, want);
		assert_int_equal(nvme_psk_tls_key(&psk, &id, vectors[i].way, tls_key),
				 0);
		assert_hex(tls_key, hkdf_len(psk.hash), vectors[i].tls_key);
	}
}

/* The values of Linux's drivers/nvme/common/tests/auth_kunit.c. */
static const struct {
	enum hkdf_hash hash;
	const char *psk, *digest, *tls_key;
} generated[] = {
	{ HKDF_SHA256,
	  "1733c59fa7f48fcf37f5f26fc4ff0268ad4f78e030f4f3b0bfd1d47e7bb1447a",
	  "OldoKuTfKddMuyCznAZojkWD7P4D9/AtzDzLimtOxqI=",
	  "3c17da628474a04d2247c4cab47968c915388193f7c071bd9489cc3666cd7cc8" },
	{ HKDF_SHA384,
	  "f14b2dd3234c459694d3bc63f8968bd6b37c2c6de849e22e118749001ce4bbe8"
	  "640b9e3a748cb11ce4b1d71d359cce39",
	  "cffMWk8TSS7HOQebjgYEIkrPrjWPV4JE5cdPB8WhEvY4JBW5YynKyv66XscN4A9n",
	  "2774753233537b3fa50eb7d16a8e43457d85f4906c005b2236616c5d80939d08"
	  "98fff15bb8b77119d2be0aac423e7590" },
};

static void a_generated_key_is_that_of_linux(void **state)
{
	uint8_t ks[HKDF_MAX], c1[HKDF_MAX], c2[HKDF_MAX], tls_key[HKDF_MAX];

	for (int i = 0; i < HKDF_MAX; i++) {
		ks[i] = (uint8_t)('A' + i);
		c1[i] = (uint8_t)i;
		c2[i] = (uint8_t)(0xff - i);
	}
	for (size_t i = 0; i < sizeof(generated) / sizeof(generated[0]); i++) {
		struct nvme_psk_id id = { .version = 1,
					  .type = 'G',
					  .hostnqn = "hostnqn",
					  .subnqn = "subsysnqn" };
		char text[NVME_PSK_ID_MAX + 1], want[NVME_PSK_ID_MAX + 1];
		size_t len = hkdf_len(generated[i].hash);
		struct nvme_psk psk;

		assert_int_equal(nvme_psk_generate(generated[i].hash, ks, c1, c2, &psk),
				 0);
		assert_hex(psk.bytes, len, generated[i].psk);
		assert_int_equal(nvme_psk_id_format(&psk, &id, text), 0);
		snprintf(want, sizeof(want), "NVMe1G0%d hostnqn subsysnqn %s",
			 generated[i].hash, generated[i].digest);
		assert_string_equal(text, want);
		assert_int_equal(nvme_psk_tls_key(&psk, &id, NVME_PSK_RFC8446, tls_key),
				 0);
		assert_hex(tls_key, len, generated[i].tls_key);
	}
}

/* RFC 5869, A.3 (no salt, no info), the first 32 bytes; and RFC 8448, 3: the "derived"
 * secret of a handshake without a PSK. */
static void hkdf_is_that_of_the_rfcs(void **state)
{
	uint8_t key[22], zeros[32] = { 0 }, prk[HKDF_MAX], out[HKDF_MAX];

	memset(key, 0x0b, sizeof(key));
	assert_int_equal(hkdf_extract(HKDF_SHA256, key, sizeof(key), prk), 0);
	assert_hex(prk, 32,
		   "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04");
	assert_int_equal(hkdf_expand(HKDF_SHA256, prk, zeros, 0, out), 0);
	assert_hex(out, 32,
		   "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
	assert_int_equal(hkdf_extract(HKDF_SHA256, zeros, 32, prk), 0);
	assert_hex(prk, 32,
		   "33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a");
	assert_int_equal(hkdf_digest(HKDF_SHA256, zeros, 0, out), 0);
	assert_int_equal(hkdf_expand_label(HKDF_SHA256, prk, "derived", out, 32, out),
			 0);
	assert_hex(out, 32,
		   "6f2615a108c702c5678f54fc9dbab69716c076189c48250cebeac3576c3611ba");
}

static void what_is_no_key_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"NVMeTLSkey-1:",
		"NVMeTLSkey-1:01:",
		"NVMeTLSkey-1:01::",
		"NVMeTLSkey-2:01:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:",
		"NVMeTLSkey-1:03:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:",
		"NVMeTLSkey-1:02:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:",
		"NVMeTLSkey-1:01:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUm"
		"JygpKissLS4vcSEgBQ==:",
		"NVMeTLSkey-1:01:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaS:",
		"NVMeTLSkey-1:01:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR",
		"DHHC-1:01:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:",
	};
	struct key_text key;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(parse(bad[i], &key), -EINVAL);
}

static int read_id(const char *text, struct nvme_psk_id *ret)
{
	return nvme_psk_id_parse((const uint8_t *)text, strlen(text), ret);
}

#define D44 "dm7qWwj2cn0y/eQMxlOLgHtUBKrp94CFQzv/451qyZU="
#define D64 "Q59ZvAGa+/GxKOcAGgfTBQ7DH4icT8RRga4ymn2t1UwqkJeDMUPl7rIh6mtSBjqu"

static void an_identity_is_taken_apart(void **state)
{
	struct nvme_psk_id id;

	assert_int_equal(read_id("NVMe0R01 nqn.h nqn.s", &id), 0);
	assert_int_equal(id.version, 0);
	assert_int_equal(id.type, 'R');
	assert_int_equal(id.hash, HKDF_SHA256);
	assert_string_equal(id.hostnqn, "nqn.h");
	assert_string_equal(id.subnqn, "nqn.s");
	assert_string_equal(id.digest, "");
	assert_int_equal(read_id("NVMe1G02 nqn.h nqn.s " D64, &id), 0);
	assert_int_equal(id.version, 1);
	assert_int_equal(id.type, 'G');
	assert_int_equal(id.hash, HKDF_SHA384);
	assert_string_equal(id.digest, D64);
}

static void what_is_no_identity_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"NVMe0R01",
		"NVMe0R01 ",
		"NVMe0R01 nqn.h",
		"NVMe0R01 nqn.h ",
		"NVMe0R01  nqn.s",
		"NVMe0R01 nqn.h nqn.s ",
		"NVMe0R01 nqn.h nqn.s x",
		"NVMe0R01 nqn.h nqn.s " D44,
		"NVMe0R00 nqn.h nqn.s",
		"NVMe0R03 nqn.h nqn.s",
		"NVMe0X01 nqn.h nqn.s",
		"NVMe2R01 nqn.h nqn.s " D44,
		"nvme0R01 nqn.h nqn.s",
		"NVMe1R01 nqn.h nqn.s",
		"NVMe1R01 nqn.h nqn.s ",
		"NVMe1R01 nqn.h nqn.s " D64,
		"NVMe1R02 nqn.h nqn.s " D44,
		"NVMe1R01 nqn.h nqn.s " D44 " ",
		"NVMe0R01 nqn.\n nqn.s",
		"NVMe0R01 nqn.\x7f nqn.s",
	};
	char text[NVME_PSK_ID_MAX + 2];
	struct nvme_psk_id id;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(read_id(bad[i], &id), -EPROTO);
	assert_int_equal(nvme_psk_id_parse((const uint8_t *)"NVMe0R01 nqn.\0 nqn.s",
					   sizeof("NVMe0R01 nqn.. nqn.s") - 1, &id),
			 -EPROTO);
	snprintf(text, sizeof(text), "NVMe0R01 %0224d nqn.s", 1);
	assert_int_equal(read_id(text, &id), -EPROTO);
	snprintf(text, sizeof(text), "NVMe1R02 %0223d %0223d %064d", 1, 2, 3);
	assert_int_equal(strlen(text), NVME_PSK_ID_MAX);
	assert_int_equal(read_id(text, &id), 0);
}

/* A label has room for 255 bytes: RFC 8446 has no key for such names, libnvme has. */
static void names_may_be_too_long_for_a_version_0_key(void **state)
{
	struct nvme_psk_id id = { .version = 0, .type = 'R', .hash = HKDF_SHA256 };
	struct nvme_psk psk = { .hash = HKDF_SHA256 };
	uint8_t key[HKDF_MAX];

	snprintf(id.hostnqn, sizeof(id.hostnqn), "%0123d", 1);
	snprintf(id.subnqn, sizeof(id.subnqn), "%0122d", 1);
	assert_int_equal(nvme_psk_tls_key(&psk, &id, NVME_PSK_RFC8446, key), 0);
	snprintf(id.subnqn, sizeof(id.subnqn), "%0123d", 1);
	assert_int_equal(nvme_psk_tls_key(&psk, &id, NVME_PSK_RFC8446, key), -EINVAL);
	snprintf(id.hostnqn, sizeof(id.hostnqn), "%0223d", 1);
	snprintf(id.subnqn, sizeof(id.subnqn), "%0223d", 1);
	assert_int_equal(nvme_psk_tls_key(&psk, &id, NVME_PSK_LIBNVME, key), 0);
	id.version = 1;
	strcpy(id.digest, D44);
	assert_int_equal(nvme_psk_tls_key(&psk, &id, NVME_PSK_RFC8446, key), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_keys_are_those_of_others),
		cmocka_unit_test(a_generated_key_is_that_of_linux),
		cmocka_unit_test(hkdf_is_that_of_the_rfcs),
		cmocka_unit_test(what_is_no_key_is_refused),
		cmocka_unit_test(an_identity_is_taken_apart),
		cmocka_unit_test(what_is_no_identity_is_refused),
		cmocka_unit_test(names_may_be_too_long_for_a_version_0_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
