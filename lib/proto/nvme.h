/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NVMe over TCP on the wire: PDUs, capsules, the commands and data structures that a
 * Fabrics target or host needs. Every field is little-endian: go through
 * <endian.h>. Sources: NVMe Base 2.0, NVM Command Set 1.0, TCP Transport 1.0;
 * Linux include/linux/nvme.h and nvme-tcp.h.
 */
#ifndef LIB_PROTO_NVME_H
#define LIB_PROTO_NVME_H

#include <stddef.h>
#include <stdint.h>

#define NVME_TCP_PORT       4420
#define NVME_DISCOVERY_PORT 8009
#define NVME_NQN_LEN        223 /* longest NQN, without the NUL */
#define NVME_NQN_FIELD      256
#define NVME_DISCOVERY_NQN  "nqn.2014-08.org.nvmexpress.discovery"
#define NVME_SUBNQN_PREFIX  "nqn.2026-11.io.remem:" /* then the export's name */

#define NVME_PACKED          __attribute__((packed))
#define NVME_SIZE(type, len) _Static_assert(sizeof(struct type) == (len), #type)
#define NVME_AT(type, field, at) \
	_Static_assert(offsetof(struct type, field) == (at), #type "." #field)

/* ---- PDUs (TCP Transport 1.0, 3.6.2) ---- */

enum nvme_pdu_type {
	NVME_PDU_ICREQ = 0,
	NVME_PDU_ICRESP = 1,
	NVME_PDU_H2C_TERM = 2,
	NVME_PDU_C2H_TERM = 3,
	NVME_PDU_CMD = 4,
	NVME_PDU_RSP = 5,
	NVME_PDU_H2C_DATA = 6,
	NVME_PDU_C2H_DATA = 7,
	NVME_PDU_R2T = 9,
};

/* Common header flags. */
#define NVME_PDU_HDGST        1u
#define NVME_PDU_DDGST        2u
#define NVME_PDU_DATA_LAST    4u
#define NVME_PDU_DATA_SUCCESS 8u

struct nvme_pdu_hdr {
	uint8_t type, flags;
	uint8_t hlen; /* of the header, digest not counted */
	uint8_t pdo;  /* from the PDU's first byte to its data */
	uint32_t plen;
} NVME_PACKED;
NVME_SIZE(nvme_pdu_hdr, 8);

#define NVME_DIGEST_LEN 4u

/* The digest field of ICReq and ICResp. */
#define NVME_IC_HDGST 1u
#define NVME_IC_DDGST 2u

struct nvme_icreq {
	struct nvme_pdu_hdr hdr;
	uint16_t pfv;
	uint8_t hpda; /* data alignment - 1 in dwords */
	uint8_t digest;
	uint32_t maxr2t; /* 0's based */
	uint8_t rsvd16[112];
} NVME_PACKED;
NVME_SIZE(nvme_icreq, 128);

struct nvme_icresp {
	struct nvme_pdu_hdr hdr;
	uint16_t pfv;
	uint8_t cpda;
	uint8_t digest;
	uint32_t maxh2cdata; /* bytes */
	uint8_t rsvd16[112];
} NVME_PACKED;
NVME_SIZE(nvme_icresp, 128);

/* H2CTermReq and C2HTermReq; the offending PDU's header follows (at most 128 B). */
struct nvme_term {
	struct nvme_pdu_hdr hdr;
	uint16_t fes;
	uint16_t fei_low, fei_high;
	uint8_t rsvd14[10];
} NVME_PACKED;
NVME_SIZE(nvme_term, 24);
#define NVME_TERM_MAX 152u

enum nvme_fes {
	NVME_FES_FIELD = 1,       /* FEI: byte offset of the field */
	NVME_FES_SEQUENCE = 2,    /* PDU sequence error */
	NVME_FES_HDGST = 3,       /* FEI: the digest received */
	NVME_FES_DATA_RANGE = 4,  /* data transfer out of range */
	NVME_FES_LIMIT = 5,       /* data transfer limit exceeded */
	NVME_FES_UNSUPPORTED = 6, /* unsupported parameter; FEI: byte offset */
};

/* R2T: ready to transfer. */
struct nvme_r2t {
	struct nvme_pdu_hdr hdr;
	uint16_t cid, ttag;
	uint32_t offset, len;
	uint8_t rsvd20[4];
} NVME_PACKED;
NVME_SIZE(nvme_r2t, 24);

/* H2CData and C2HData (no ttag in the latter). */
struct nvme_data {
	struct nvme_pdu_hdr hdr;
	uint16_t cid, ttag;
	uint32_t offset, len;
	uint8_t rsvd20[4];
} NVME_PACKED;
NVME_SIZE(nvme_data, 24);

/* ---- Capsules (Base 2.0, 3.3.2; figures 87, 92) ---- */

/* SGL descriptor; `type`: high nibble type, low nibble subtype. */
struct nvme_sgl {
	uint64_t addr; /* offset into the capsule for NVME_SGL_IN_CAPSULE */
	uint32_t len;
	uint8_t rsvd12[3];
	uint8_t type;
} NVME_PACKED;
NVME_SIZE(nvme_sgl, 16);

#define NVME_SGL_IN_CAPSULE 0x01 /* data block, offset */
#define NVME_SGL_TRANSPORT  0x5a /* transport data block, transport specific A */

struct nvme_cmd {
	uint8_t opcode;
	uint8_t flags; /* bits 1:0 fused, 7:6 PSDT */
	uint16_t cid;
	uint32_t nsid; /* Fabrics: byte 4 is fctype */
	uint32_t cdw2, cdw3;
	uint64_t mptr;
	struct nvme_sgl sgl;
	uint32_t cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
} NVME_PACKED;
NVME_SIZE(nvme_cmd, 64);

#define NVME_NSID_ALL       0xffffffffu
#define NVME_CMD_FUSED_MASK 0x03u
#define NVME_CMD_PSDT_MASK  0xc0u
#define NVME_CMD_PSDT_SGL   0x40u /* what Fabrics wants */

struct nvme_cqe {
	uint32_t dw0, dw1;
	uint16_t sqhd, sqid;
	uint16_t cid;
	uint16_t status; /* bit 0 phase (0 on Fabrics), then sc, sct, crd, more, dnr */
} NVME_PACKED;
NVME_SIZE(nvme_cqe, 16);

struct nvme_cmd_pdu {
	struct nvme_pdu_hdr hdr;
	struct nvme_cmd cmd;
} NVME_PACKED;
NVME_SIZE(nvme_cmd_pdu, 72);

struct nvme_rsp_pdu {
	struct nvme_pdu_hdr hdr;
	struct nvme_cqe cqe;
} NVME_PACKED;
NVME_SIZE(nvme_rsp_pdu, 24);

/* Status as sct << 8 | sc; on the wire it is shifted left by one. */
enum nvme_status {
	NVME_SC_SUCCESS = 0x000,
	NVME_SC_INVALID_OPCODE = 0x001,
	NVME_SC_INVALID_FIELD = 0x002,
	NVME_SC_DATA_XFER = 0x004,
	NVME_SC_INTERNAL = 0x006,
	NVME_SC_ABORT_REQ = 0x007,
	NVME_SC_FUSED_FAIL = 0x009,
	NVME_SC_INVALID_NS = 0x00b,
	NVME_SC_CMD_SEQ = 0x00c,
	NVME_SC_SGL_COUNT = 0x00e,
	NVME_SC_SGL_LEN = 0x00f,
	NVME_SC_SGL_TYPE = 0x011,
	NVME_SC_SGL_OFFSET = 0x016,
	NVME_SC_HOSTID_INCONSISTENT = 0x018,
	NVME_SC_KA_EXPIRED = 0x019,
	NVME_SC_KA_INVALID = 0x01a,
	NVME_SC_TRANSIENT_TRANSPORT = 0x022,
	NVME_SC_CMD_SET_UNSUPPORTED = 0x02b,
	NVME_SC_LBA_RANGE = 0x080,
	NVME_SC_CAP_EXCEEDED = 0x081,
	NVME_SC_NS_NOT_READY = 0x082,
	NVME_SC_INVALID_QID = 0x101,
	NVME_SC_QUEUE_SIZE = 0x102,
	NVME_SC_ABORT_LIMIT = 0x103,
	NVME_SC_AER_LIMIT = 0x105,
	NVME_SC_INVALID_LOG = 0x109,
	NVME_SC_FEATURE_NOT_SAVEABLE = 0x10d,
	NVME_SC_FEATURE_NOT_CHANGEABLE = 0x10e,
	NVME_SC_FEATURE_NOT_PER_NS = 0x10f,
	NVME_SC_CONNECT_FORMAT = 0x180,
	NVME_SC_CONNECT_BUSY = 0x181,
	NVME_SC_CONNECT_PARAM = 0x182,
	NVME_SC_CONNECT_RESTART = 0x183,
	NVME_SC_CONNECT_HOST = 0x184,
	NVME_SC_QUEUE_TYPE = 0x185,
	NVME_SC_DISCOVERY_RESTART = 0x190,
	NVME_SC_AUTH_REQUIRED = 0x191,
	NVME_SC_BAD_ATTRIBUTES = 0x180, /* I/O commands: conflicting attributes */
	NVME_SC_READ_ONLY = 0x182,      /* I/O commands */
	NVME_SC_COMPARE_FAILED = 0x285,
	NVME_SC_MASK = 0x7ff,
	NVME_SC_DNR = 0x4000, /* do not retry */
};

/* ---- Opcodes ---- */

enum nvme_admin_opcode {
	NVME_ADMIN_GET_LOG = 0x02,
	NVME_ADMIN_IDENTIFY = 0x06,
	NVME_ADMIN_ABORT = 0x08,
	NVME_ADMIN_SET_FEATURES = 0x09,
	NVME_ADMIN_GET_FEATURES = 0x0a,
	NVME_ADMIN_AER = 0x0c,
	NVME_ADMIN_KEEP_ALIVE = 0x18,
	NVME_FABRICS = 0x7f,
};

enum nvme_io_opcode {
	NVME_IO_FLUSH = 0x00,
	NVME_IO_WRITE = 0x01,
	NVME_IO_READ = 0x02,
	NVME_IO_COMPARE = 0x05,
	NVME_IO_WRITE_ZEROES = 0x08,
	NVME_IO_DSM = 0x09,
};

enum nvme_fctype {
	NVME_FC_PROPERTY_SET = 0x00,
	NVME_FC_CONNECT = 0x01,
	NVME_FC_PROPERTY_GET = 0x04,
	NVME_FC_AUTH_SEND = 0x05,
	NVME_FC_AUTH_RECV = 0x06,
	NVME_FC_DISCONNECT = 0x08,
};

/* cdw12 of Read, Write, Compare, Write Zeroes: bits 15:0 are the 0's based count. */
#define NVME_RW_LIMITED_RETRY (1u << 31)
#define NVME_RW_FUA           (1u << 30)
#define NVME_RW_PRINFO_MASK   (0xfu << 26)
#define NVME_RW_DTYPE_MASK    (0xfu << 20)
#define NVME_WZ_DEAC          (1u << 25)

/* DSM: cdw10 bits 7:0 0's based ranges; cdw11 attributes. */
#define NVME_DSM_AD         (1u << 2)
#define NVME_DSM_MAX_RANGES 256u

struct nvme_dsm_range {
	uint32_t attributes, nlb; /* not 0's based */
	uint64_t slba;
} NVME_PACKED;
NVME_SIZE(nvme_dsm_range, 16);

/* ---- Fabrics commands (Base 2.0, 6) ---- */

struct nvme_connect {
	uint8_t opcode, flags;
	uint16_t cid;
	uint8_t fctype, rsvd5[19];
	struct nvme_sgl sgl;
	uint16_t recfmt, qid;
	uint16_t sqsize; /* 0's based */
	uint8_t cattr, rsvd47;
	uint32_t kato_ms;
	uint8_t rsvd52[12];
} NVME_PACKED;
NVME_SIZE(nvme_connect, 64);
#define NVME_CONNECT_NO_SQ_FLOW (1u << 2)

struct nvme_connect_data {
	uint8_t hostid[16];
	uint16_t cntlid; /* FFFFh: dynamic */
	uint8_t rsvd18[238];
	char subnqn[NVME_NQN_FIELD];
	char hostnqn[NVME_NQN_FIELD];
	uint8_t rsvd768[256];
} NVME_PACKED;
NVME_SIZE(nvme_connect_data, 1024);
#define NVME_CNTLID_DYNAMIC 0xffffu

/* dw0 of a Connect refused with NVME_SC_CONNECT_PARAM. */
#define NVME_CONNECT_BAD_CMD(field) ((uint32_t)offsetof(struct nvme_connect, field))
#define NVME_CONNECT_BAD_DATA(field) \
	(1u << 16 | (uint32_t)offsetof(struct nvme_connect_data, field))

/* Property Get and Set; `value` in Set only. */
struct nvme_property {
	uint8_t opcode, flags;
	uint16_t cid;
	uint8_t fctype, rsvd5[35];
	uint8_t attrib; /* bits 2:0: 0 four bytes, 1 eight */
	uint8_t rsvd41[3];
	uint32_t offset;
	uint64_t value;
	uint8_t rsvd56[8];
} NVME_PACKED;
NVME_SIZE(nvme_property, 64);

#define NVME_PROP_CAP  0x00u
#define NVME_PROP_VS   0x08u
#define NVME_PROP_CC   0x14u
#define NVME_PROP_CSTS 0x1cu
#define NVME_PROP_NSSR 0x20u

#define NVME_VS_1_4 0x00010400u

/* CAP */
#define NVME_CAP_MQES(n)    ((uint64_t)(n))
#define NVME_CAP_CQR        (UINT64_C(1) << 16)
#define NVME_CAP_TO(half_s) ((uint64_t)(half_s) << 24)
#define NVME_CAP_CSS_NVM    (UINT64_C(1) << 37)
#define NVME_CAP_CSS_CSI    (UINT64_C(1) << 43)

/* CC */
#define NVME_CC_EN         (1u << 0)
#define NVME_CC_CSS(cc)    ((cc) >> 4 & 7u) /* 0 NVM, 6 all I/O command sets */
#define NVME_CC_MPS(cc)    ((cc) >> 7 & 0xfu)
#define NVME_CC_AMS(cc)    ((cc) >> 11 & 7u)
#define NVME_CC_SHN(cc)    ((cc) >> 14 & 3u)
#define NVME_CC_IOSQES(cc) ((cc) >> 16 & 0xfu)
#define NVME_CC_IOCQES(cc) ((cc) >> 20 & 0xfu)

/* CSTS */
#define NVME_CSTS_RDY           (1u << 0)
#define NVME_CSTS_CFS           (1u << 1)
#define NVME_CSTS_SHST_MASK     (3u << 2)
#define NVME_CSTS_SHST_COMPLETE (2u << 2)

/* ---- In-band authentication: DH-HMAC-CHAP (Base 2.0, 6.1, 6.2, 8.13.5) ---- */

/* dw0 of a good Connect, beside the controller's number: log in first. */
#define NVME_CONNECT_AUTHREQ_ATR (1u << 17)
/* The same, and concatenate a secure channel. */
#define NVME_CONNECT_AUTHREQ_ASCR (1u << 18)

/* Authentication Send and Receive. */
struct nvme_auth_cmd {
	uint8_t opcode, flags;
	uint16_t cid;
	uint8_t fctype, rsvd5[19];
	struct nvme_sgl sgl;
	uint8_t rsvd40, spsp0, spsp1, secp;
	uint32_t len; /* bytes sent, or that may be received */
	uint8_t rsvd48[16];
} NVME_PACKED;
NVME_SIZE(nvme_auth_cmd, 64);
#define NVME_AUTH_SECP 0xe9u
#define NVME_AUTH_SPSP 0x01u

enum nvme_auth_type { NVME_AUTH_COMMON = 0, NVME_AUTH_DHCHAP = 1 };

enum nvme_auth_id {
	NVME_AUTH_NEGOTIATE = 0x00, /* common */
	NVME_AUTH_CHALLENGE = 0x01,
	NVME_AUTH_REPLY = 0x02,
	NVME_AUTH_SUCCESS1 = 0x03,
	NVME_AUTH_SUCCESS2 = 0x04,
	NVME_AUTH_FAILURE2 = 0xf0, /* common */
	NVME_AUTH_FAILURE1 = 0xf1, /* common */
};

/* What every message starts with. */
struct nvme_auth_hdr {
	uint8_t type, id;
	uint8_t rsvd2[2];
	uint16_t t_id;
} NVME_PACKED;
NVME_SIZE(nvme_auth_hdr, 6);

struct nvme_auth_descriptor {
	uint8_t authid; /* NVME_AUTH_DHCHAP */
	uint8_t rsvd1, halen, dhlen;
	uint8_t hashes[30], groups[30];
} NVME_PACKED;
NVME_SIZE(nvme_auth_descriptor, 64);

/* Secure channel concatenation; 1 is obsolete (Base 2.1, figure 732). */
enum nvme_auth_sc_c {
	NVME_AUTH_NOSC = 0,
	NVME_AUTH_NEWTLSPSK = 2,     /* on an admin queue in the clear */
	NVME_AUTH_REPLACETLSPSK = 3, /* on one over TLS */
};

struct nvme_auth_negotiate {
	struct nvme_auth_hdr hdr;
	uint8_t sc_c; /* enum nvme_auth_sc_c */
	uint8_t napd; /* descriptors that follow */
} NVME_PACKED;
NVME_SIZE(nvme_auth_negotiate, 8);

/* Then the challenge (hl bytes) and the DH value (dhvlen bytes). */
struct nvme_auth_challenge {
	struct nvme_auth_hdr hdr;
	uint8_t hl, rsvd7, hashid, dhgid;
	uint16_t dhvlen;
	uint32_t seqnum;
} NVME_PACKED;
NVME_SIZE(nvme_auth_challenge, 16);

/* Then response and challenge (hl bytes each) and the DH value. A challenge with sequence
 * number 0 goes into a generated key and is not to be answered. */
struct nvme_auth_reply {
	struct nvme_auth_hdr hdr;
	uint8_t hl, rsvd7, cvalid, rsvd9;
	uint16_t dhvlen;
	uint32_t seqnum;
} NVME_PACKED;
NVME_SIZE(nvme_auth_reply, 16);

/* Then the response, hl bytes, if rvalid. */
struct nvme_auth_success1 {
	struct nvme_auth_hdr hdr;
	uint8_t hl, rsvd7, rvalid, rsvd9[7];
} NVME_PACKED;
NVME_SIZE(nvme_auth_success1, 16);

struct nvme_auth_success2 {
	struct nvme_auth_hdr hdr;
	uint8_t rsvd6[10];
} NVME_PACKED;
NVME_SIZE(nvme_auth_success2, 16);

struct nvme_auth_failure {
	struct nvme_auth_hdr hdr;
	uint8_t rescode; /* NVME_AUTH_FAILED always */
	uint8_t explanation;
} NVME_PACKED;
NVME_SIZE(nvme_auth_failure, 8);

/* Reason code explanations; the first is the only reason code, too. */
enum nvme_auth_explanation {
	NVME_AUTH_FAILED = 1,
	NVME_AUTH_NOT_USABLE = 2, /* no protocol in common */
	NVME_AUTH_CONCAT_MISMATCH = 3,
	NVME_AUTH_HASH_UNUSABLE = 4,
	NVME_AUTH_GROUP_UNUSABLE = 5,
	NVME_AUTH_BAD_PAYLOAD = 6,
	NVME_AUTH_BAD_MESSAGE = 7, /* not the one whose turn it is */
	NVME_AUTH_EXPLANATION_NR
};

#define NVME_DHCHAP_HASH_MAX 64u   /* bytes: SHA-512 */
#define NVME_DHCHAP_DH_MAX   1024u /* bytes: ffdhe8192 */

/* ---- Identify ---- */

enum nvme_cns {
	NVME_CNS_NS = 0x00,
	NVME_CNS_CTRL = 0x01,
	NVME_CNS_NS_LIST = 0x02,
	NVME_CNS_NS_DESC = 0x03,
	NVME_CNS_CSI_NS = 0x05,
	NVME_CNS_CSI_CTRL = 0x06,
	NVME_CNS_CSI_NS_LIST = 0x07,
	NVME_CNS_INDEPENDENT_NS = 0x08,
	NVME_CNS_CSI_VECTOR = 0x1c,
};

#define NVME_IDENTIFY_LEN 4096u

struct nvme_id_ctrl {
	uint16_t vid, ssvid;
	char sn[20], mn[40], fr[8];
	uint8_t rab, ieee[3], cmic;
	uint8_t mdts; /* power of two of 4 KiB (CAP.MPSMIN 0); 0: no limit */
	uint16_t cntlid;
	uint32_t ver, rtd3r, rtd3e, oaes, ctratt;
	uint16_t rrls;
	uint8_t rsvd102[9];
	uint8_t cntrltype; /* 1 I/O, 2 discovery */
	uint8_t fguid[16];
	uint16_t crdt1, crdt2, crdt3;
	uint8_t rsvd134[122];
	uint16_t oacs;
	uint8_t acl, aerl, frmw, lpa, elpe, npss, avscc, apsta;
	uint16_t wctemp, cctemp, mtfa;
	uint32_t hmpre, hmmin;
	uint8_t tnvmcap[16], unvmcap[16];
	uint32_t rpmbs;
	uint16_t edstt;
	uint8_t dsto, fwug;
	uint16_t kas; /* units of 100 ms */
	uint16_t hctma, mntmt, mxtmt;
	uint32_t sanicap, hmminds;
	uint16_t hmmaxd, nsetidmax, endgidmax;
	uint8_t anatt, anacap;
	uint32_t anagrpmax, nanagrpid, pels;
	uint8_t rsvd356[156];
	uint8_t sqes, cqes;
	uint16_t maxcmd;
	uint32_t nn;
	uint16_t oncs, fuses;
	uint8_t fna, vwc;
	uint16_t awun, awupf;
	uint8_t icsvscc, nwpc;
	uint16_t acwu, ocfs;
	uint32_t sgls, mnan;
	uint8_t rsvd544[224];
	char subnqn[NVME_NQN_FIELD];
	uint8_t rsvd1024[768];
	uint32_t ioccsz, iorcsz; /* units of 16 bytes */
	uint16_t icdoff;
	uint8_t fcatt, msdbd;
	uint16_t ofcs;
	uint8_t dctype;
	uint8_t rsvd1807[241];
	uint8_t psd[32][32];
	uint8_t vs[1024];
} NVME_PACKED;
NVME_SIZE(nvme_id_ctrl, 4096);
NVME_AT(nvme_id_ctrl, mdts, 77);
NVME_AT(nvme_id_ctrl, cntrltype, 111);
NVME_AT(nvme_id_ctrl, oacs, 256);
NVME_AT(nvme_id_ctrl, kas, 320);
NVME_AT(nvme_id_ctrl, anacap, 343);
NVME_AT(nvme_id_ctrl, sqes, 512);
NVME_AT(nvme_id_ctrl, oncs, 520);
NVME_AT(nvme_id_ctrl, sgls, 536);
NVME_AT(nvme_id_ctrl, subnqn, 768);
NVME_AT(nvme_id_ctrl, ioccsz, 1792);
NVME_AT(nvme_id_ctrl, dctype, 1806);
NVME_AT(nvme_id_ctrl, psd, 2048);

#define NVME_CMIC_MULTI_PORT     (1u << 0)
#define NVME_CMIC_MULTI_CTRL     (1u << 1)
#define NVME_OAES_NS_ATTR        (1u << 8)
#define NVME_OAES_DISCOVERY      (1u << 31)
#define NVME_CTRATT_HOSTID128    (1u << 0)
#define NVME_CTRATT_TBKAS        (1u << 6)
#define NVME_LPA_EFFECTS         (1u << 1)
#define NVME_LPA_EXTENDED        (1u << 2)
#define NVME_ONCS_COMPARE        (1u << 0)
#define NVME_ONCS_DSM            (1u << 2)
#define NVME_ONCS_WRITE_ZEROES   (1u << 3)
#define NVME_VWC_BCAST_NO        (2u << 1) /* Flush with nsid FFFFFFFFh: refused */
#define NVME_VWC_BCAST_YES       (3u << 1)
#define NVME_SGLS_SUPPORTED      (1u << 0)
#define NVME_SGLS_KEYED          (1u << 2)
#define NVME_SGLS_OFFSET         (1u << 20)
#define NVME_SGLS_TRANSPORT      (1u << 21)
#define NVME_FCATT_DYNAMIC       (0u << 0)
#define NVME_OFCS_DISCONNECT     (1u << 0)
#define NVME_CNTRLTYPE_IO        1u
#define NVME_CNTRLTYPE_DISCOVERY 2u

struct nvme_lbaf {
	uint16_t ms;
	uint8_t ds, rp;
} NVME_PACKED;

struct nvme_id_ns {
	uint64_t nsze, ncap, nuse;
	uint8_t nsfeat, nlbaf, flbas, mc, dpc, dps, nmic, rescap, fpi, dlfeat;
	uint16_t nawun, nawupf, nacwu, nabsn, nabo, nabspf, noiob;
	uint8_t nvmcap[16];
	uint16_t npwg, npwa, npdg, npda, nows, mssrl;
	uint32_t mcl;
	uint8_t msrc;
	uint8_t rsvd81[11];
	uint32_t anagrpid;
	uint8_t rsvd96[3];
	uint8_t nsattr;
	uint16_t nvmsetid, endgid;
	uint8_t nguid[16], eui64[8];
	struct nvme_lbaf lbaf[64];
	uint8_t vs[3712];
} NVME_PACKED;
NVME_SIZE(nvme_id_ns, 4096);
NVME_AT(nvme_id_ns, dlfeat, 33);
NVME_AT(nvme_id_ns, npwg, 64);
NVME_AT(nvme_id_ns, nguid, 104);
NVME_AT(nvme_id_ns, lbaf, 128);

#define NVME_NSFEAT_THIN    (1u << 0)
#define NVME_NSFEAT_ATOMICS (1u << 1)
#define NVME_NSFEAT_UID     (1u << 3) /* NGUID and EUI64 are never used again */
#define NVME_NSFEAT_OPTPERF (1u << 4) /* npwg, npwa, npdg, npda, nows are valid */
#define NVME_NMIC_SHARED    (1u << 0)
#define NVME_DLFEAT_ZEROES  1u
#define NVME_DLFEAT_WZ_DEAC (1u << 3)

/* CNS 03h: a list of these, each followed by `len` bytes. */
struct nvme_ns_desc {
	uint8_t type, len;
	uint8_t rsvd2[2];
} NVME_PACKED;
NVME_SIZE(nvme_ns_desc, 4);
#define NVME_NIDT_EUI64 1u
#define NVME_NIDT_NGUID 2u
#define NVME_NIDT_UUID  3u
#define NVME_NIDT_CSI   4u

/* CNS 06h for the NVM command set. */
struct nvme_id_ctrl_nvm {
	uint8_t vsl, wzsl, wusl, dmrl;
	uint32_t dmrsl;
	uint64_t dmsl;
	uint8_t rsvd16[4080];
} NVME_PACKED;
NVME_SIZE(nvme_id_ctrl_nvm, 4096);

/* CNS 08h. */
struct nvme_id_ns_indep {
	uint8_t nsfeat, nmic, rescap, fpi;
	uint32_t anagrpid;
	uint8_t nsattr, rsvd9;
	uint16_t nvmsetid, endgid;
	uint8_t nstat;
	uint8_t rsvd15[4081];
} NVME_PACKED;
NVME_SIZE(nvme_id_ns_indep, 4096);
#define NVME_NSTAT_READY 1u

/* ---- Features ---- */

enum nvme_feature {
	NVME_FEAT_ARBITRATION = 0x01,
	NVME_FEAT_POWER = 0x02,
	NVME_FEAT_TEMPERATURE = 0x04,
	NVME_FEAT_ERROR_RECOVERY = 0x05,
	NVME_FEAT_WRITE_CACHE = 0x06,
	NVME_FEAT_QUEUES = 0x07,
	NVME_FEAT_ATOMICITY = 0x0a,
	NVME_FEAT_ASYNC_EVENT = 0x0b,
	NVME_FEAT_KATO = 0x0f,
	NVME_FEAT_HOST_BEHAVIOR = 0x16,
	NVME_FEAT_HOST_ID = 0x81,
	NVME_FEAT_RESV_MASK = 0x82,
};

#define NVME_FEAT_SAVE (1u << 31) /* Set Features cdw10 */

/* ---- Log pages ---- */

enum nvme_log {
	NVME_LOG_ERROR = 0x01,
	NVME_LOG_SMART = 0x02,
	NVME_LOG_FIRMWARE = 0x03,
	NVME_LOG_CHANGED_NS = 0x04,
	NVME_LOG_EFFECTS = 0x05,
	NVME_LOG_ANA = 0x0c,
	NVME_LOG_DISCOVERY = 0x70,
};
#define NVME_LOG_RAE (1u << 15) /* cdw10: retain asynchronous event */

struct nvme_error_entry {
	uint64_t count;
	uint16_t sqid, cid, status, location;
	uint64_t lba;
	uint32_t nsid;
	uint8_t vs, trtype, rsvd30[2];
	uint64_t cs;
	uint16_t trinfo;
	uint8_t rsvd42[22];
} NVME_PACKED;
NVME_SIZE(nvme_error_entry, 64);

struct nvme_smart {
	uint8_t critical, temperature[2], spare, spare_threshold, used, endgrp;
	uint8_t rsvd7[25];
	uint64_t units_read[2], units_written[2]; /* thousands of 512 B, rounded up */
	uint64_t host_reads[2], host_writes[2];
	uint64_t busy_minutes[2], power_cycles[2], power_hours[2];
	uint64_t unsafe_shutdowns[2], media_errors[2], error_entries[2];
	uint32_t warning_minutes, critical_minutes;
	uint16_t sensor[8];
	uint32_t thermal[4];
	uint8_t rsvd232[280];
} NVME_PACKED;
NVME_SIZE(nvme_smart, 512);
NVME_AT(nvme_smart, units_read, 32);

struct nvme_firmware {
	uint8_t afi, rsvd1[7];
	char frs[7][8];
	uint8_t rsvd64[448];
} NVME_PACKED;
NVME_SIZE(nvme_firmware, 512);

struct nvme_effects {
	uint32_t admin[256], io[256];
	uint8_t rsvd2048[2048];
} NVME_PACKED;
NVME_SIZE(nvme_effects, 4096);
#define NVME_EFFECT_SUPPORTED (1u << 0)
#define NVME_EFFECT_LBCC      (1u << 1) /* changes logical block content */

#define NVME_CHANGED_NS_MAX 1024u /* entries of the changed namespace list */

struct nvme_discovery_hdr {
	uint64_t genctr, numrec;
	uint16_t recfmt;
	uint8_t rsvd18[1006];
} NVME_PACKED;
NVME_SIZE(nvme_discovery_hdr, 1024);

struct nvme_discovery_entry {
	uint8_t trtype, adrfam, subtype, treq;
	uint16_t portid, cntlid, asqsz, eflags;
	uint8_t rsvd12[20];
	char trsvcid[32];
	uint8_t rsvd64[192];
	char subnqn[NVME_NQN_FIELD];
	char traddr[256];
	uint8_t tsas[256]; /* TCP: byte 0 is the security type */
} NVME_PACKED;
NVME_SIZE(nvme_discovery_entry, 1024);
NVME_AT(nvme_discovery_entry, trsvcid, 32);
NVME_AT(nvme_discovery_entry, subnqn, 256);
NVME_AT(nvme_discovery_entry, traddr, 512);

#define NVME_TRTYPE_TCP         3u
#define NVME_ADRFAM_IPV4        1u
#define NVME_ADRFAM_IPV6        2u
#define NVME_SUBTYPE_REFERRAL   1u
#define NVME_SUBTYPE_NVME       2u
#define NVME_SUBTYPE_CURRENT    3u /* the discovery subsystem itself */
#define NVME_TREQ_NOT_SPECIFIED 0u
#define NVME_TREQ_REQUIRED      1u
#define NVME_TREQ_NOT_REQUIRED  2u
#define NVME_TREQ_NO_SQ_FLOW    (1u << 2)
#define NVME_SECTYPE_TLS13      2u /* tsas[0]; 0: none */
#define NVME_EFLAGS_DUPLICATE   (1u << 0)
#define NVME_EFLAGS_EPCSD       (1u << 1) /* keep-alive, async events work */

/* ---- Asynchronous events: dw0 of the AER completion ---- */

#define NVME_AEN(type, info, page) \
	((uint32_t)(page) << 16 | (uint32_t)(info) << 8 | (uint32_t)(type))
#define NVME_AEN_NOTICE            2u
#define NVME_AEN_NOTICE_NS_CHANGED 0x00u
#define NVME_AEN_NOTICE_DISCOVERY  0xf0u

#endif
