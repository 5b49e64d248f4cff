/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NVMe/TCP PDUs as pure functions: bytes in, a struct or -EPROTO out, and structs in,
 * bytes out. No I/O, no allocation, any thread. NVMe TCP Transport 1.0, section 3.6.
 */
#ifndef MEMSERVER_NVME_PDU_H
#define MEMSERVER_NVME_PDU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/proto/nvme.h"

#define NVME_PDU_HEAD_MAX 128u /* a header with its digest and padding, ours */
#define NVME_PDU_TAIL_MAX 32u  /* data digest and a response with its own */

/* What ICReq and ICResp agreed on. */
struct nvme_link {
	bool hdgst, ddgst;
	uint8_t align; /* data in our PDUs starts at a multiple of it: 4 .. 128 */
};

/* What a peer did wrong, as a C2HTermReq tells it. */
struct nvme_fault {
	enum nvme_fes fes;
	uint32_t fei;
	const char *why; /* static text for the log */
};

/* How much data a PDU of the host may carry. */
struct nvme_limits {
	uint32_t capsule; /* bytes in a command capsule */
	uint32_t h2c;     /* bytes in an H2CData */
};

/* A PDU's frame. */
struct nvme_frame {
	enum nvme_pdu_type type;
	bool ddgst;        /* NVME_DIGEST_LEN bytes follow the data */
	uint32_t head_len; /* header, its digest, padding: where data starts */
	uint32_t data_len;
};

/* Reads ICReq from what has arrived of it. 1: done; 0: sizeof(struct nvme_icreq) bytes
 * are needed, and so far it is right; -EPROTO. */
int nvme_pdu_read_icreq(const uint8_t *p, size_t len, struct nvme_link *ret_link,
			struct nvme_fault *ret_fault);

/*
 * Reads the 8 bytes every PDU starts with, of the types a host may send once the
 * connection is initialised: CapsuleCmd, H2CData, H2CTermReq (of which only the frame
 * of the fixed header is given). All lengths are checked; the header digest is not.
 */
int nvme_pdu_read_frame(const uint8_t *p, const struct nvme_link *link,
			const struct nvme_limits *limits, struct nvme_frame *ret_frame,
			struct nvme_fault *ret_fault);

/* Checks the digest behind the `hlen` bytes of a header. */
int nvme_pdu_check_hdgst(const uint8_t *p, struct nvme_fault *ret_fault);

/* Each writes one PDU or header (digest included where agreed), returns its length.
 * `out` holds NVME_PDU_HEAD_MAX bytes, for the response NVME_PDU_TAIL_MAX - 4. */
uint32_t nvme_pdu_put_icresp(void *out, const struct nvme_link *link,
			     uint32_t maxh2cdata);
uint32_t nvme_pdu_put_rsp(void *out, const struct nvme_link *link,
			  const struct nvme_cqe *cqe);
uint32_t nvme_pdu_put_r2t(void *out, const struct nvme_link *link, uint16_t cid,
			  uint16_t ttag, uint32_t offset, uint32_t len);

/* A C2HData header for all `len` > 0 bytes of a command's data; `success`: it stands
 * for the response too. Padded to the host's alignment. */
uint32_t nvme_pdu_put_c2h(void *out, const struct nvme_link *link, uint16_t cid,
			  uint32_t len, bool success);

/* A C2HTermReq about the PDU that starts with the `len` bytes at `bad`; `out` holds
 * NVME_TERM_MAX bytes. */
uint32_t nvme_pdu_put_term(void *out, const struct nvme_fault *fault,
			   const uint8_t *bad, size_t len);

#endif
