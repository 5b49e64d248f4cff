/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A whole NVMe queue over a connection without a socket, fed with anything.
 *
 * The first byte says how far the host has come and what was agreed on: bits 1:0 no
 * ICReq yet, an admin queue, an I/O queue, a discovery queue; bit 2 header digests,
 * bit 3 data digests, bit 4 no flow control, bit 5 padding to 128 bytes. Then come
 * pieces: two bytes of length and flags (bits 12:0 the length; bit 15: these bytes are
 * a PDU whose header digest is to be put right, bit 14: send what is queued, bit 13:
 * a second passes), and the bytes.
 *
 * After every input nothing may be left of it: no user, no grip, no memory.
 */
#define FAKE_OUT 4096u
#define FAKE_IN  32768u
#include "tests/fakeconn.h"

#include <endian.h>
#include <unistd.h>

#include "lib/crc32c.h"
#include "lib/log.h"
#include "memserver/nvme/queue.h"
#include "memserver/pool.h"

#define MIB UINT64_C(0x100000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct world {
	char dir[64];
	struct pool *pool;
	struct exports *exports;
	struct acl *acl;
	struct export *e;
} world;

static void check(int ok)
{
	if (!ok)
		abort();
}

static void end_world(void)
{
	char cmd[128];

	export_put(world.e);
	exports_close(world.exports);
	pool_close(world.pool);
	acl_free(world.acl);
	snprintf(cmd, sizeof(cmd), "rm -r %s", world.dir);
	check(system(cmd) == 0);
}

static void make_world(void)
{
	struct export_cfg cfg = { .name = "mem", .size_bytes = 4 * MIB };
	struct pool_cfg pool = { .dir = world.dir, .numa_node = -1 };

	log_set_level(LOG_ERR_);
	snprintf(world.dir, sizeof(world.dir), "/dev/shm/remem-fuzz-XXXXXX");
	check(mkdtemp(world.dir) != NULL);
	check(pool_open(&pool, &world.pool) == 0);
	check(exports_open(world.pool, &world.exports) == 0);
	check(exports_create(world.exports, &cfg, NULL) == 0);
	check(acl_new(&world.acl) == 0);
	world.e = exports_find(world.exports, "mem", 3);
	atexit(end_world);
}

/* Feeds a PDU with its header digest put right, if there is one. */
static void feed_pdu(struct conn *c, const uint8_t *data, size_t len)
{
	struct nvme_queue *q = conn_state(c);
	static uint8_t pdu[8192];
	uint32_t crc;

	memcpy(pdu, data, len);
	if (q->link.hdgst && len > 8 && pdu[2] >= 8 && pdu[2] + 4u <= len) {
		crc = htole32(crc32c_add(0, pdu, pdu[2]));
		memcpy(pdu + pdu[2], &crc, sizeof(crc));
	}
	fake_feed(c, pdu, len);
}

static void say_icreq(struct conn *c, uint8_t how)
{
	struct nvme_icreq q = { .hdr = { .hlen = 128, .plen = htole32(128) },
				.hpda = how & 32 ? 31 : 0,
				.digest = how >> 2 & 3 };

	fake_feed(c, &q, sizeof(q));
	fake_flush(c);
}

static void say_command(struct conn *c, const void *cmd, const void *out, uint32_t len)
{
	struct nvme_queue *q = conn_state(c);
	static uint8_t buf[2048];
	struct nvme_cmd_pdu *p = (void *)buf;
	uint32_t head = sizeof(*p) + (q->link.hdgst ? 4 : 0);
	uint32_t total = head + (len ? len + (q->link.ddgst ? 4 : 0) : 0), crc;

	p->hdr = (struct nvme_pdu_hdr){
		.type = NVME_PDU_CMD,
		.flags = (uint8_t)((q->link.hdgst ? NVME_PDU_HDGST : 0) |
				   (len && q->link.ddgst ? NVME_PDU_DDGST : 0)),
		.hlen = sizeof(*p),
		.pdo = len ? (uint8_t)head : 0,
		.plen = htole32(total),
	};
	memcpy(&p->cmd, cmd, sizeof(p->cmd));
	if (len) {
		memcpy(buf + head, out, len);
		crc = htole32(crc32c_add(0, out, len));
		memcpy(buf + head + len, &crc, sizeof(crc));
	}
	feed_pdu(c, buf, total);
	fake_flush(c);
}

static struct conn *open_queue(const char *nqn, uint16_t qid, uint16_t cntlid,
			       uint8_t how)
{
	struct conn *c = fake_open(&front_nvme, world.exports, world.acl);
	struct nvme_connect cmd = {
		.opcode = NVME_FABRICS,
		.fctype = NVME_FC_CONNECT,
		.sgl = { .type = NVME_SGL_IN_CAPSULE, .len = htole32(1024) },
		.qid = htole16(qid),
		.sqsize = htole16(7),
		.cattr = how & 16 ? NVME_CONNECT_NO_SQ_FLOW : 0,
		.kato_ms = htole32(5000),
	};
	struct nvme_connect_data who = { .cntlid = htole16(cntlid),
					 .hostnqn = "nqn.h" };

	strcpy(who.subnqn, nqn);
	say_icreq(c, how);
	say_command(c, &cmd, &who, sizeof(who));
	check(((struct nvme_queue *)conn_state(c))->ctrl != NULL);
	return c;
}

static void enable(struct conn *c)
{
	struct nvme_property p = { .opcode = NVME_FABRICS,
				   .offset = htole32(NVME_PROP_CC),
				   .value = htole64(NVME_CC_EN | 6u << 16 | 4u << 20) };

	say_command(c, &p, NULL, 0);
}

static void feed(struct conn *c, const uint8_t *data, size_t len)
{
	while (len > 2 && !c->ended) {
		unsigned int what = data[0] | data[1] << 8;
		size_t n = what & 0x1fff;

		data += 2;
		len -= 2;
		if (n > len)
			n = len;
		if (n > sizeof(c->stash) - c->stash_len)
			break;
		if (what & 0x8000)
			feed_pdu(c, data, n);
		else
			fake_feed(c, data, n);
		if (what & 0x4000) {
			fake_flush(c);
			fake_work(c);
		}
		if (what & 0x2000) {
			c->now += 1000000000;
			fake_obey(c, c->front->tick(c, c->now));
		}
		data += n;
		len -= n;
	}
	if (!c->ended)
		fake_work(c);
	if (c->ended == 0)
		fake_flush(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct conn *admin = NULL, *c;
	struct nvme_queue *q;
	uint8_t how = len ? data[0] : 0;

	if (!world.pool)
		make_world();
	if (len < 2)
		return 0;
	if ((how & 3) == 0) {
		c = fake_open(&front_nvme, world.exports, world.acl);
	} else {
		admin = open_queue((how & 3) == 3 ? NVME_DISCOVERY_NQN
						  : NVME_SUBNQN_PREFIX "mem",
				   0, NVME_CNTLID_DYNAMIC, how);
		enable(admin);
		c = admin;
	}
	if ((how & 3) == 2) {
		q = conn_state(admin);
		c = open_queue(NVME_SUBNQN_PREFIX "mem", 1, q->ctrl->cntlid, how);
	}
	q = conn_state(c);
	q->nsid = 1; /* random otherwise */
	feed(c, data + 1, len - 1);
	fake_close(c);
	if (admin && admin != c)
		fake_close(admin);
	check(export_users(world.e) == 0);
	export_trim(world.e, 0, export_size(world.e), true);
	check(export_resident(world.e) == 0);
	return 0;
}
