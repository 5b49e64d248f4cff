/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes of PDUs in, frames and faults out; and the PDUs we send. Pure functions.
 */
#include "memserver/nvme/pdu.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "lib/crc32c.h"

static int fault(struct nvme_fault *ret, enum nvme_fes fes, uint32_t fei,
		 const char *why)
{
	ret->fes = fes;
	ret->fei = fei;
	ret->why = why;
	return -EPROTO;
}

#define BAD_FIELD(type, field, why) \
	fault(ret_fault, NVME_FES_FIELD, (uint32_t)offsetof(struct type, field), why)

int nvme_pdu_read_icreq(const uint8_t *p, size_t len, struct nvme_link *ret_link,
			struct nvme_fault *ret_fault)
{
	const struct nvme_icreq *q = (const void *)p;

	if (len < sizeof(q->hdr))
		return 0;
	if (q->hdr.type != NVME_PDU_ICREQ)
		return fault(ret_fault, NVME_FES_SEQUENCE, 0, "first PDU is no ICReq");
	if (q->hdr.flags)
		return BAD_FIELD(nvme_pdu_hdr, flags, "ICReq has flags");
	if (q->hdr.hlen != sizeof(*q))
		return BAD_FIELD(nvme_pdu_hdr, hlen, "ICReq's header length");
	if (le32toh(q->hdr.plen) != sizeof(*q))
		return BAD_FIELD(nvme_pdu_hdr, plen, "ICReq's length");
	if (len < sizeof(*q))
		return 0;
	if (q->pfv)
		return fault(ret_fault, NVME_FES_UNSUPPORTED,
			     offsetof(struct nvme_icreq, pfv), "PDU format version");
	if (q->hpda > 31)
		return BAD_FIELD(nvme_icreq, hpda, "data alignment above 128 bytes");
	if (q->digest & ~(NVME_IC_HDGST | NVME_IC_DDGST))
		return BAD_FIELD(nvme_icreq, digest, "unknown digest");
	ret_link->hdgst = q->digest & NVME_IC_HDGST;
	ret_link->ddgst = q->digest & NVME_IC_DDGST;
	ret_link->align = (uint8_t)((q->hpda + 1) * 4);
	return 1;
}

/* The header length of what a host may send, 0 for what it may not. */
static uint8_t host_hlen(uint8_t type)
{
	switch (type) {
	case NVME_PDU_CMD:
		return sizeof(struct nvme_cmd_pdu);
	case NVME_PDU_H2C_DATA:
		return sizeof(struct nvme_data);
	case NVME_PDU_H2C_TERM:
		return sizeof(struct nvme_term);
	default:
		return 0;
	}
}

static int read_term(const struct nvme_pdu_hdr *h, struct nvme_frame *ret_frame,
		     struct nvme_fault *ret_fault)
{
	uint32_t plen = le32toh(h->plen);

	if (plen < sizeof(struct nvme_term) || plen > NVME_TERM_MAX)
		return BAD_FIELD(nvme_pdu_hdr, plen, "H2CTermReq's length");
	*ret_frame = (struct nvme_frame){
		.type = NVME_PDU_H2C_TERM,
		.head_len = sizeof(struct nvme_term),
	};
	return 0;
}

/* The part of a frame that depends on whether there is data. */
static int read_data_part(const struct nvme_pdu_hdr *h, const struct nvme_link *link,
			  uint32_t max, struct nvme_frame *f,
			  struct nvme_fault *ret_fault)
{
	uint32_t plen = le32toh(h->plen), base = f->head_len;
	uint32_t digest = link->ddgst ? NVME_DIGEST_LEN : 0;

	if (plen < base)
		return BAD_FIELD(nvme_pdu_hdr, plen, "PDU shorter than its header");
	f->ddgst = h->flags & NVME_PDU_DDGST;
	if (plen == base)
		return f->ddgst ? BAD_FIELD(nvme_pdu_hdr, flags, "digest of no data")
				: 0;
	if (f->ddgst != link->ddgst)
		return BAD_FIELD(nvme_pdu_hdr, flags, "data digest not as agreed");
	if (h->pdo < base || h->pdo % 4)
		return BAD_FIELD(nvme_pdu_hdr, pdo, "data offset");
	if (plen <= h->pdo + digest)
		return BAD_FIELD(nvme_pdu_hdr, plen,
				 "PDU shorter than its data offset");
	f->head_len = h->pdo;
	f->data_len = plen - h->pdo - digest;
	if (f->data_len > max && f->type == NVME_PDU_H2C_DATA)
		return fault(ret_fault, NVME_FES_LIMIT, 0, "more than MAXH2CDATA");
	if (f->data_len > max)
		return BAD_FIELD(nvme_pdu_hdr, plen, "too much in-capsule data");
	return 0;
}

int nvme_pdu_read_frame(const uint8_t *p, const struct nvme_link *link,
			const struct nvme_limits *limits, struct nvme_frame *ret_frame,
			struct nvme_fault *ret_fault)
{
	const struct nvme_pdu_hdr *h = (const void *)p;
	struct nvme_frame f = { .type = h->type };
	uint8_t hlen = host_hlen(h->type);
	int r;

	if (h->type == NVME_PDU_ICREQ)
		return fault(ret_fault, NVME_FES_SEQUENCE, 0, "a second ICReq");
	if (!hlen)
		return BAD_FIELD(nvme_pdu_hdr, type, "PDU type");
	if (h->hlen != hlen)
		return BAD_FIELD(nvme_pdu_hdr, hlen, "header length");
	if (h->type == NVME_PDU_H2C_TERM)
		return read_term(h, ret_frame, ret_fault);
	if (!(h->flags & NVME_PDU_HDGST) == link->hdgst)
		return BAD_FIELD(nvme_pdu_hdr, flags, "header digest not as agreed");
	f.head_len = hlen + (link->hdgst ? NVME_DIGEST_LEN : 0);
	r = read_data_part(h, link,
			   h->type == NVME_PDU_CMD ? limits->capsule : limits->h2c, &f,
			   ret_fault);
	if (r == 0)
		*ret_frame = f;
	return r;
}

int nvme_pdu_check_hdgst(const uint8_t *p, struct nvme_fault *ret_fault)
{
	const struct nvme_pdu_hdr *h = (const void *)p;
	uint32_t digest;

	memcpy(&digest, p + h->hlen, sizeof(digest));
	digest = le32toh(digest);
	if (digest != crc32c_add(0, p, h->hlen))
		return fault(ret_fault, NVME_FES_HDGST, digest, "header digest");
	return 0;
}

/* Ends a header of `hlen` bytes: its digest, if agreed. Returns both lengths. */
static uint32_t seal(void *out, uint32_t hlen, const struct nvme_link *link)
{
	uint32_t digest;

	if (!link->hdgst)
		return hlen;
	digest = htole32(crc32c_add(0, out, hlen));
	memcpy((uint8_t *)out + hlen, &digest, sizeof(digest));
	return hlen + NVME_DIGEST_LEN;
}

static uint8_t hdgst_flag(const struct nvme_link *link)
{
	return link->hdgst ? NVME_PDU_HDGST : 0;
}

uint32_t nvme_pdu_put_icresp(void *out, const struct nvme_link *link,
			     uint32_t maxh2cdata)
{
	struct nvme_icresp *p = out;

	*p = (struct nvme_icresp){
		.hdr = { .type = NVME_PDU_ICRESP,
			 .hlen = sizeof(*p),
			 .plen = htole32(sizeof(*p)) },
		.digest = (uint8_t)((link->hdgst ? NVME_IC_HDGST : 0) |
				    (link->ddgst ? NVME_IC_DDGST : 0)),
		.maxh2cdata = htole32(maxh2cdata),
	};
	return sizeof(*p);
}

uint32_t nvme_pdu_put_rsp(void *out, const struct nvme_link *link,
			  const struct nvme_cqe *cqe)
{
	struct nvme_rsp_pdu *p = out;
	uint32_t len = sizeof(*p) + (link->hdgst ? NVME_DIGEST_LEN : 0);

	p->hdr = (struct nvme_pdu_hdr){ .type = NVME_PDU_RSP,
					.flags = hdgst_flag(link),
					.hlen = sizeof(*p),
					.plen = htole32(len) };
	p->cqe = *cqe;
	return seal(out, sizeof(*p), link);
}

uint32_t nvme_pdu_put_r2t(void *out, const struct nvme_link *link, uint16_t cid,
			  uint16_t ttag, uint32_t offset, uint32_t len)
{
	struct nvme_r2t *p = out;
	uint32_t plen = sizeof(*p) + (link->hdgst ? NVME_DIGEST_LEN : 0);

	*p = (struct nvme_r2t){
		.hdr = { .type = NVME_PDU_R2T,
			 .flags = hdgst_flag(link),
			 .hlen = sizeof(*p),
			 .plen = htole32(plen) },
		.cid = htole16(cid),
		.ttag = htole16(ttag),
		.offset = htole32(offset),
		.len = htole32(len),
	};
	return seal(out, sizeof(*p), link);
}

uint32_t nvme_pdu_put_c2h(void *out, const struct nvme_link *link, uint16_t cid,
			  uint32_t len, bool success)
{
	struct nvme_data *p = out;
	uint32_t head = sizeof(*p) + (link->hdgst ? NVME_DIGEST_LEN : 0);
	uint32_t pdo = (head + link->align - 1u) / link->align * link->align;
	uint32_t plen = pdo + len + (link->ddgst ? NVME_DIGEST_LEN : 0);

	*p = (struct nvme_data){
		.hdr = { .type = NVME_PDU_C2H_DATA,
			 .flags = (uint8_t)(hdgst_flag(link) | NVME_PDU_DATA_LAST |
					    (link->ddgst ? NVME_PDU_DDGST : 0) |
					    (success ? NVME_PDU_DATA_SUCCESS : 0)),
			 .hlen = sizeof(*p),
			 .pdo = (uint8_t)pdo,
			 .plen = htole32(plen) },
		.cid = htole16(cid),
		.len = htole32(len),
	};
	seal(out, sizeof(*p), link);
	if (pdo > head)
		memset((uint8_t *)out + head, 0, pdo - head);
	return pdo;
}

uint32_t nvme_pdu_put_term(void *out, const struct nvme_fault *fault_of,
			   const uint8_t *bad, size_t len)
{
	struct nvme_term *p = out;

	if (len > NVME_TERM_MAX - sizeof(*p))
		len = NVME_TERM_MAX - sizeof(*p);
	*p = (struct nvme_term){
		.hdr = { .type = NVME_PDU_C2H_TERM,
			 .hlen = sizeof(*p),
			 .plen = htole32((uint32_t)(sizeof(*p) + len)) },
		.fes = htole16((uint16_t)fault_of->fes),
		.fei_low = htole16((uint16_t)fault_of->fei),
		.fei_high = htole16((uint16_t)(fault_of->fei >> 16)),
	};
	memcpy(p + 1, bad, len);
	return (uint32_t)(sizeof(*p) + len);
}
