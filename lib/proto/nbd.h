/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NBD on the wire: fixed newstyle negotiation, simple and structured replies.
 * Everything is big-endian. Source: NetworkBlockDevice/nbd, doc/proto.md.
 */
#ifndef LIB_PROTO_NBD_H
#define LIB_PROTO_NBD_H

#include <stdint.h>

#define NBD_DEFAULT_PORT 10809

#define NBD_MAGIC            UINT64_C(0x4e42444d41474943) /* "NBDMAGIC" */
#define NBD_OPTS_MAGIC       UINT64_C(0x49484156454f5054) /* "IHAVEOPT" */
#define NBD_OPT_REPLY_MAGIC  UINT64_C(0x0003e889045565a9)
#define NBD_REQUEST_MAGIC    UINT32_C(0x25609513)
#define NBD_SIMPLE_MAGIC     UINT32_C(0x67446698)
#define NBD_STRUCTURED_MAGIC UINT32_C(0x668e33ef)

/* Handshake flags, server's and client's. */
#define NBD_FLAG_FIXED_NEWSTYLE 1u
#define NBD_FLAG_NO_ZEROES      2u

struct nbd_hello {
	uint64_t magic, opts_magic;
	uint16_t flags;
} __attribute__((packed));
_Static_assert(sizeof(struct nbd_hello) == 18, "doc/proto.md, fixed newstyle");

struct nbd_opt {
	uint64_t magic;
	uint32_t option, len;
} __attribute__((packed));
_Static_assert(sizeof(struct nbd_opt) == 16, "doc/proto.md, option request");

struct nbd_opt_reply {
	uint64_t magic;
	uint32_t option, type, len;
} __attribute__((packed));
_Static_assert(sizeof(struct nbd_opt_reply) == 20, "doc/proto.md, option reply");

enum nbd_option {
	NBD_OPT_EXPORT_NAME = 1,
	NBD_OPT_ABORT = 2,
	NBD_OPT_LIST = 3,
	NBD_OPT_STARTTLS = 5,
	NBD_OPT_INFO = 6,
	NBD_OPT_GO = 7,
	NBD_OPT_STRUCTURED_REPLY = 8,
	NBD_OPT_LIST_META_CONTEXT = 9,
	NBD_OPT_SET_META_CONTEXT = 10,
};

#define NBD_REP_ACK                 UINT32_C(1)
#define NBD_REP_SERVER              UINT32_C(2)
#define NBD_REP_INFO                UINT32_C(3)
#define NBD_REP_META_CONTEXT        UINT32_C(4)
#define NBD_REP_ERR_UNSUP           UINT32_C(0x80000001)
#define NBD_REP_ERR_POLICY          UINT32_C(0x80000002)
#define NBD_REP_ERR_INVALID         UINT32_C(0x80000003)
#define NBD_REP_ERR_PLATFORM        UINT32_C(0x80000004)
#define NBD_REP_ERR_TLS_REQD        UINT32_C(0x80000005)
#define NBD_REP_ERR_UNKNOWN         UINT32_C(0x80000006)
#define NBD_REP_ERR_SHUTDOWN        UINT32_C(0x80000007)
#define NBD_REP_ERR_BLOCK_SIZE_REQD UINT32_C(0x80000008)
#define NBD_REP_ERR_TOO_BIG         UINT32_C(0x80000009)

enum nbd_info {
	NBD_INFO_EXPORT = 0,
	NBD_INFO_NAME = 1,
	NBD_INFO_DESCRIPTION = 2,
	NBD_INFO_BLOCK_SIZE = 3,
};

struct nbd_info_export {
	uint16_t info;
	uint64_t size;
	uint16_t flags;
} __attribute__((packed));
_Static_assert(sizeof(struct nbd_info_export) == 12, "NBD_INFO_EXPORT");

struct nbd_info_block_size {
	uint16_t info;
	uint32_t minimum, preferred, maximum;
} __attribute__((packed));
_Static_assert(sizeof(struct nbd_info_block_size) == 14, "NBD_INFO_BLOCK_SIZE");

/* The answer to NBD_OPT_EXPORT_NAME, before 124 zero bytes unless NO_ZEROES. */
struct nbd_export_name_reply {
	uint64_t size;
	uint16_t flags;
} __attribute__((packed));
_Static_assert(sizeof(struct nbd_export_name_reply) == 10, "NBD_OPT_EXPORT_NAME");
#define NBD_EXPORT_NAME_ZEROES 124

/* Transmission flags. */
#define NBD_FLAG_HAS_FLAGS         (1u << 0)
#define NBD_FLAG_READ_ONLY         (1u << 1)
#define NBD_FLAG_SEND_FLUSH        (1u << 2)
#define NBD_FLAG_SEND_FUA          (1u << 3)
#define NBD_FLAG_ROTATIONAL        (1u << 4)
#define NBD_FLAG_SEND_TRIM         (1u << 5)
#define NBD_FLAG_SEND_WRITE_ZEROES (1u << 6)
#define NBD_FLAG_SEND_DF           (1u << 7)
#define NBD_FLAG_CAN_MULTI_CONN    (1u << 8)
#define NBD_FLAG_SEND_RESIZE       (1u << 9)
#define NBD_FLAG_SEND_CACHE        (1u << 10)
#define NBD_FLAG_SEND_FAST_ZERO    (1u << 11)

enum nbd_cmd {
	NBD_CMD_READ = 0,
	NBD_CMD_WRITE = 1,
	NBD_CMD_DISC = 2,
	NBD_CMD_FLUSH = 3,
	NBD_CMD_TRIM = 4,
	NBD_CMD_CACHE = 5,
	NBD_CMD_WRITE_ZEROES = 6,
	NBD_CMD_BLOCK_STATUS = 7,
};

#define NBD_CMD_FLAG_FUA       (1u << 0)
#define NBD_CMD_FLAG_NO_HOLE   (1u << 1)
#define NBD_CMD_FLAG_DF        (1u << 2)
#define NBD_CMD_FLAG_REQ_ONE   (1u << 3)
#define NBD_CMD_FLAG_FAST_ZERO (1u << 4)

struct nbd_request {
	uint32_t magic;
	uint16_t flags, type;
	uint64_t cookie;
	uint64_t offset;
	uint32_t len;
} __attribute__((packed));
_Static_assert(sizeof(struct nbd_request) == 28, "doc/proto.md, request message");

struct nbd_simple_reply {
	uint32_t magic, error;
	uint64_t cookie;
} __attribute__((packed));
_Static_assert(sizeof(struct nbd_simple_reply) == 16, "doc/proto.md, simple reply");

struct nbd_chunk {
	uint32_t magic;
	uint16_t flags, type;
	uint64_t cookie;
	uint32_t len;
} __attribute__((packed));
_Static_assert(sizeof(struct nbd_chunk) == 20, "doc/proto.md, structured chunk");
#define NBD_REPLY_FLAG_DONE 1u

enum nbd_reply_type {
	NBD_REPLY_NONE = 0,
	NBD_REPLY_OFFSET_DATA = 1,  /* u64 offset, data */
	NBD_REPLY_OFFSET_HOLE = 2,  /* u64 offset, u32 length */
	NBD_REPLY_BLOCK_STATUS = 5, /* u32 context, {u32 length, u32 status}* */
	NBD_REPLY_ERROR = 32769,    /* u32 error, u16 length, text */
	NBD_REPLY_ERROR_OFFSET = 32770,
};

#define NBD_STATE_HOLE 1u
#define NBD_STATE_ZERO 2u

/* Errors on the wire: Linux numbers, fixed by the protocol. */
enum nbd_error {
	NBD_EPERM = 1,
	NBD_EIO = 5,
	NBD_ENOMEM = 12,
	NBD_EINVAL = 22,
	NBD_ENOSPC = 28,
	NBD_EOVERFLOW = 75,
	NBD_ENOTSUP = 95,
	NBD_ESHUTDOWN = 108,
};

/* The protocol asks servers to take names of 4096 bytes and payloads of 32 MiB. */
#define NBD_MAX_STRING  4096u
#define NBD_MAX_PAYLOAD (32u << 20)

#endif
