/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PDUs as bytes: what is read, what is refused and why, what is written. */
#include <endian.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/crc32c.h"
#include "memserver/nvme/pdu.h"

static const struct nvme_link plain = { .align = 4 };
static const struct nvme_link digests = { .hdgst = true, .ddgst = true, .align = 4 };
static const struct nvme_limits limits = { .capsule = 8192, .h2c = 65536 };

static struct nvme_icreq good_icreq(void)
{
	return (struct nvme_icreq){
		.hdr = { .type = NVME_PDU_ICREQ, .hlen = 128, .plen = htole32(128) }
	};
}

static void an_icreq_is_read_as_soon_as_it_is_whole(void **state)
{
	struct nvme_icreq q = good_icreq();
	struct nvme_link link = { 0 };
	struct nvme_fault fault;

	q.digest = NVME_IC_DDGST;
	q.hpda = 31;
	for (size_t len = 0; len < sizeof(q); len++)
		assert_int_equal(nvme_pdu_read_icreq((void *)&q, len, &link, &fault),
				 0);
	assert_int_equal(nvme_pdu_read_icreq((void *)&q, sizeof(q), &link, &fault), 1);
	assert_false(link.hdgst);
	assert_true(link.ddgst);
	assert_int_equal(link.align, 128);
}

static void a_wrong_start_is_refused_before_the_rest_comes(void **state)
{
	struct nvme_icreq q = good_icreq();
	struct nvme_link link;
	struct nvme_fault fault;

	q.hdr.plen = htole32(127);
	assert_int_equal(nvme_pdu_read_icreq((void *)&q, 8, &link, &fault), -EPROTO);
	assert_int_equal(fault.fes, NVME_FES_FIELD);
	assert_int_equal(fault.fei, 4);
}

static struct nvme_pdu_hdr cmd_hdr(uint8_t flags, uint8_t pdo, uint32_t plen)
{
	return (struct nvme_pdu_hdr){ .type = NVME_PDU_CMD,
				      .flags = flags,
				      .hlen = 72,
				      .pdo = pdo,
				      .plen = htole32(plen) };
}

static void a_frame_tells_where_data_is(void **state)
{
	struct nvme_pdu_hdr h = cmd_hdr(0, 0, 72);
	struct nvme_fault fault;
	struct nvme_frame f;

	assert_int_equal(nvme_pdu_read_frame((void *)&h, &plain, &limits, &f, &fault),
			 0);
	assert_int_equal(f.head_len, 72);
	assert_int_equal(f.data_len, 0);

	h = cmd_hdr(0, 128, 128 + 8192);
	assert_int_equal(nvme_pdu_read_frame((void *)&h, &plain, &limits, &f, &fault),
			 0);
	assert_int_equal(f.head_len, 128);
	assert_int_equal(f.data_len, 8192);
	assert_false(f.ddgst);

	h = cmd_hdr(NVME_PDU_HDGST | NVME_PDU_DDGST, 76, 76 + 512 + 4);
	assert_int_equal(nvme_pdu_read_frame((void *)&h, &digests, &limits, &f, &fault),
			 0);
	assert_int_equal(f.head_len, 76);
	assert_int_equal(f.data_len, 512);
	assert_true(f.ddgst);
}

/* No length, offset or flag that is let through leads outside the PDU. */
static void no_frame_reaches_beyond_its_pdu(void **state)
{
	static const uint32_t plens[] = { 0,    1,          71,         72,   73,
					  75,   76,         77,         80,   127,
					  128,  255,        8264,       8265, 8268,
					  8272, 0x7fffffff, 0xfffffff0, ~0u };

	for (size_t i = 0; i < sizeof(plens) / sizeof(plens[0]); i++)
		for (unsigned int v = 0; v < 4 * 256; v++) {
			struct nvme_pdu_hdr h = cmd_hdr(v >> 8, v & 0xff, plens[i]);
			const struct nvme_link *link = v >> 8 ? &digests : &plain;
			struct nvme_fault fault = { 0 };
			struct nvme_frame f;

			if (nvme_pdu_read_frame((void *)&h, link, &limits, &f, &fault) <
			    0) {
				assert_non_null(fault.why);
				continue;
			}
			assert_true(f.head_len >= 72 && f.head_len <= 255);
			assert_true(f.data_len <= limits.capsule);
			assert_int_equal(f.head_len + f.data_len + (f.ddgst ? 4 : 0),
					 plens[i]);
		}
}

static void h2cdata_beyond_its_limit_has_a_reason_of_its_own(void **state)
{
	struct nvme_pdu_hdr h = { .type = NVME_PDU_H2C_DATA,
				  .hlen = 24,
				  .pdo = 24,
				  .plen = htole32(24 + 65540) };
	struct nvme_fault fault;
	struct nvme_frame f;

	assert_int_equal(nvme_pdu_read_frame((void *)&h, &plain, &limits, &f, &fault),
			 -EPROTO);
	assert_int_equal(fault.fes, NVME_FES_LIMIT);
}

static void a_header_digest_is_checked(void **state)
{
	struct nvme_cqe cqe = { .cid = htole16(7) };
	uint8_t out[NVME_PDU_TAIL_MAX];
	struct nvme_fault fault;

	assert_int_equal(nvme_pdu_put_rsp(out, &digests, &cqe), 28);
	assert_int_equal(nvme_pdu_check_hdgst(out, &fault), 0);
	out[10] ^= 1;
	assert_int_equal(nvme_pdu_check_hdgst(out, &fault), -EPROTO);
	assert_int_equal(fault.fes, NVME_FES_HDGST);
}

static void data_headers_are_padded_as_the_host_wants(void **state)
{
	for (unsigned int align = 4; align <= 128; align += 4) {
		struct nvme_link link = { .hdgst = true,
					  .ddgst = true,
					  .align = (uint8_t)align };
		uint8_t out[NVME_PDU_HEAD_MAX];
		const struct nvme_data *d = (const void *)out;
		uint32_t pdo;

		memset(out, 0xee, sizeof(out));
		pdo = nvme_pdu_put_c2h(out, &link, 9, 4096, true);
		assert_int_equal(pdo % align, 0);
		assert_true(pdo >= 28 && pdo < 28 + align);
		assert_int_equal(d->hdr.pdo, pdo);
		assert_int_equal(le32toh(d->hdr.plen), pdo + 4096 + 4);
		assert_int_equal(d->hdr.flags, 15);
		assert_int_equal(le32toh(d->len), 4096);
		for (uint32_t i = 28; i < pdo; i++)
			assert_int_equal(out[i], 0);
	}
}

static void an_r2t_says_what_it_wants(void **state)
{
	uint8_t out[NVME_PDU_HEAD_MAX];
	const struct nvme_r2t *p = (const void *)out;

	assert_int_equal(nvme_pdu_put_r2t(out, &plain, 0x1234, 77, 0, 1 << 20), 24);
	assert_int_equal(p->hdr.type, NVME_PDU_R2T);
	assert_int_equal(le32toh(p->hdr.plen), 24);
	assert_int_equal(le16toh(p->cid), 0x1234);
	assert_int_equal(le16toh(p->ttag), 77);
	assert_int_equal(le32toh(p->len), 1 << 20);
}

static void a_termreq_carries_the_offender_and_no_more(void **state)
{
	struct nvme_fault fault = { .fes = NVME_FES_HDGST, .fei = 0xa1b2c3d4 };
	uint8_t bad[255], out[NVME_TERM_MAX];
	const struct nvme_term *t = (const void *)out;

	memset(bad, 0x5a, sizeof(bad));
	assert_int_equal(nvme_pdu_put_term(out, &fault, bad, 72), 24 + 72);
	assert_int_equal(le32toh(t->hdr.plen), 24 + 72);
	assert_int_equal(le16toh(t->fei_low), 0xc3d4);
	assert_int_equal(le16toh(t->fei_high), 0xa1b2);
	assert_memory_equal(out + 24, bad, 72);
	assert_int_equal(nvme_pdu_put_term(out, &fault, bad, sizeof(bad)), 152);
}

static void an_icresp_is_what_linux_asks_for(void **state)
{
	uint8_t out[NVME_PDU_HEAD_MAX];
	const struct nvme_icresp *p = (const void *)out;

	assert_int_equal(nvme_pdu_put_icresp(out, &digests, 1 << 20), 128);
	assert_int_equal(le32toh(p->hdr.plen), 128);
	assert_int_equal(p->pfv, 0);
	assert_int_equal(p->cpda, 0);
	assert_int_equal(p->digest, 3);
	assert_int_equal(le32toh(p->maxh2cdata), 1 << 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_icreq_is_read_as_soon_as_it_is_whole),
		cmocka_unit_test(a_wrong_start_is_refused_before_the_rest_comes),
		cmocka_unit_test(a_frame_tells_where_data_is),
		cmocka_unit_test(no_frame_reaches_beyond_its_pdu),
		cmocka_unit_test(h2cdata_beyond_its_limit_has_a_reason_of_its_own),
		cmocka_unit_test(a_header_digest_is_checked),
		cmocka_unit_test(data_headers_are_padded_as_the_host_wants),
		cmocka_unit_test(an_r2t_says_what_it_wants),
		cmocka_unit_test(a_termreq_carries_the_offender_and_no_more),
		cmocka_unit_test(an_icresp_is_what_linux_asks_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
