/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A queue that has to be logged in, and a host that says anything.
 *
 * The first byte says how far the host has come: 0 connected, 1 challenged, 2 our proof
 * received. Then come steps: a byte that says what, two bytes of a length, and as many
 * bytes. What: 0 Send them; 1 they are the fields of a Send of 16 bytes (SPSP0, SPSP1,
 * SECP, length) or 2 of a Receive; 3 Receive; 4 Send the right reply with the bytes
 * XORed into it from its start; 5 Send Success2, T_ID XORed by the first two; 6 a
 * second passes; 7 Send a Negotiate with the bytes XORed into it.
 *
 * Never may the queue be in service unless the right reply has been sent; nor may a key
 * for TLS be made, for which there is no right reply here (it needs a DH group); and
 * after every input nothing may be left.
 */
#define FAKE_OUT 65536u
#define FAKE_IN  32768u
#include "tests/fakeconn.h"

#include <endian.h>

#include "lib/dhchap.h"
#include "lib/log.h"
#include "memserver/nvme/auth.h"
#include "memserver/nvme/queue.h"
#include "memserver/nvme/tls.h"
#include "memserver/pool.h"

#define HOST "nqn.h"
#define SUB  NVME_SUBNQN_PREFIX "mem"
#define AL   2048u
#define T_ID 0x77

/* The bytes 0 to 31; 1 to 32. */
static const char hosts[] =
	"host " HOST " key=DHHC-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR: "
	"controller=DHHC-1:00:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAl7OaH:\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct world {
	char dir[64];
	struct pool *pool;
	struct exports *exports;
	struct acl *acl;
	struct export *e;
	struct nvme_auth *auth;
	struct nvme_tls *tls;
} world;

static struct host {
	struct conn *c;
	struct nvme_queue *q;
	uint16_t cid;
	bool legit; /* it has sent the right reply */
	uint8_t hash, group;
	uint32_t s1;
	uint8_t c1[64];
} host;

static void check(int ok)
{
	if (!ok)
		abort();
}

static void end_world(void)
{
	char cmd[128];

	nvme_auth_free(world.auth);
	nvme_tls_free(world.tls);
	export_put(world.e);
	exports_close(world.exports);
	pool_close(world.pool);
	acl_free(world.acl);
	snprintf(cmd, sizeof(cmd), "rm -r %s", world.dir);
	check(system(cmd) == 0);
}

static void make_world(void)
{
	struct export_cfg cfg = { .name = "mem", .size_bytes = 1 << 20 };
	struct pool_cfg pool = { .dir = world.dir, .numa_node = -1 };
	struct nvme_auth_prefs prefs = { .hashes = { 1, 2, 3 },
					 .nr_hashes = 3,
					 .groups = { 0, 1 },
					 .nr_groups = 2,
					 .concat = true };
	struct nvme_tls_cfg tls = { .concat = true };

	log_set_level(LOG_ERR_);
	snprintf(world.dir, sizeof(world.dir), "/dev/shm/remem-fuzz-XXXXXX");
	check(mkdtemp(world.dir) != NULL);
	check(pool_open(&pool, &world.pool) == 0);
	check(exports_open(world.pool, &world.exports) == 0);
	check(exports_create(world.exports, &cfg, NULL) == 0);
	check(acl_new(&world.acl) == 0);
	check(nvme_auth_new_text(hosts, sizeof(hosts) - 1, &prefs, &world.auth) == 0);
	check(nvme_tls_new(&tls, &world.tls) == 0);
	world.e = exports_find(world.exports, "mem", 3);
	atexit(end_world);
}

static void say(const void *cmd, const void *out, uint32_t len)
{
	static uint8_t buf[sizeof(struct nvme_cmd_pdu) + 8192];
	struct nvme_cmd_pdu *p = (void *)buf;
	struct nvme_tls_counters tls;

	if (host.c->ended)
		return;
	p->hdr = (struct nvme_pdu_hdr){
		.type = NVME_PDU_CMD,
		.hlen = sizeof(*p),
		.pdo = len ? sizeof(*p) : 0,
		.plen = htole32((uint32_t)sizeof(*p) + len),
	};
	memcpy(&p->cmd, cmd, sizeof(p->cmd));
	if (len)
		memcpy(buf + sizeof(*p), out, len);
	host.c->out_len = 0;
	fake_feed(host.c, buf, sizeof(*p) + len);
	fake_flush(host.c);
	check(!host.q->authed || host.legit);
	nvme_tls_counters(world.tls, &tls);
	check(!tls.generated && !host.q->concatenated);
}

static struct nvme_auth_cmd auth_cmd(bool send, uint32_t len)
{
	return (struct nvme_auth_cmd){
		.opcode = NVME_FABRICS,
		.cid = htole16(host.cid++),
		.fctype = send ? NVME_FC_AUTH_SEND : NVME_FC_AUTH_RECV,
		.sgl = { .type = send ? NVME_SGL_IN_CAPSULE : NVME_SGL_TRANSPORT,
			 .len = htole32(len) },
		.spsp0 = 1,
		.spsp1 = 1,
		.secp = NVME_AUTH_SECP,
		.len = htole32(len),
	};
}

static void send_msg(const void *msg, uint32_t len)
{
	struct nvme_auth_cmd cmd = auth_cmd(true, len);

	say(&cmd, msg, len);
}

/* Remembers a challenge. */
static void receive(void)
{
	struct nvme_auth_cmd cmd = auth_cmd(false, AL);
	const struct nvme_auth_challenge *m;
	const uint8_t *p;

	say(&cmd, NULL, 0);
	if (host.c->out_len < AL)
		return;
	p = host.c->out + host.c->out_len - AL;
	m = (const void *)p;
	if (m->hdr.type != NVME_AUTH_DHCHAP || m->hdr.id != NVME_AUTH_CHALLENGE)
		return;
	host.hash = m->hashid;
	host.group = m->dhgid;
	host.s1 = le32toh(m->seqnum);
	check(m->hl == dhchap_hash_len(host.hash) && host.s1);
	check(le16toh(m->dhvlen) == dhchap_group_len(host.group));
	memcpy(host.c1, p + sizeof(*m), m->hl);
}

static void xor_in(uint8_t *msg, size_t len, const uint8_t *data, size_t n)
{
	for (size_t i = 0; i < n && i < len; i++)
		msg[i] ^= data[i];
}

static bool all_zero(const uint8_t *p, size_t len)
{
	while (len)
		if (p[--len])
			return false;
	return true;
}

/* Right for the null group; with DH it is never, as the challenge is not augmented. */
static void send_reply(const uint8_t *data, size_t n)
{
	struct key_text key = { .len = 32 };
	struct dhchap_claim claim = { .hash = host.hash,
				      .challenge = host.c1,
				      .seqnum = host.s1,
				      .t_id = T_ID,
				      .role = "HostHost",
				      .prover = HOST,
				      .peer = SUB };
	uint8_t msg[NVME_AUTH_MSG_MAX] = { 0 };
	struct nvme_auth_reply *m = (void *)msg;
	size_t hl = dhchap_hash_len(host.hash), dh = dhchap_group_len(host.group);
	size_t len = sizeof(*m) + 2 * hl + dh;

	if (!hl)
		return; /* never challenged */
	m->hdr = (struct nvme_auth_hdr){
		NVME_AUTH_DHCHAP, NVME_AUTH_REPLY, { 0 }, htole16(T_ID)
	};
	m->hl = (uint8_t)hl;
	m->dhvlen = htole16((uint16_t)dh);
	for (uint8_t i = 0; i < 32; i++)
		key.bytes[i] = i;
	check(dhchap_respond(&key, &claim, msg + sizeof(*m)) == 0);
	if (dh)
		msg[len - 1] = 2;
	/* What lies behind the response is not part of the proof. */
	host.legit |= !dh && (n < 6 || all_zero(data + 4, 2)) &&
		      all_zero(data, n < 2 ? n : 2) &&
		      (n <= 16 || all_zero(data + 16, n - 16 < hl ? n - 16 : hl));
	xor_in(msg, len, data, n);
	send_msg(msg, (uint32_t)len);
}

static void send_negotiate(const uint8_t *data, size_t n)
{
	struct {
		struct nvme_auth_negotiate head;
		struct nvme_auth_descriptor d;
	} msg = { .head = { { NVME_AUTH_COMMON,
			      NVME_AUTH_NEGOTIATE,
			      { 0 },
			      htole16(T_ID) },
			    0,
			    1 },
		  .d = { NVME_AUTH_DHCHAP, 0, 3, 2, { 1, 2, 3 }, { 0, 1 } } };

	xor_in((uint8_t *)&msg, sizeof(msg), data, n);
	send_msg(&msg, sizeof(msg));
}

static void send_success2(const uint8_t *data, size_t n)
{
	struct nvme_auth_success2 m = {
		.hdr = { NVME_AUTH_DHCHAP, NVME_AUTH_SUCCESS2, { 0 }, htole16(T_ID) }
	};

	xor_in((uint8_t *)&m + 4, 2, data, n);
	send_msg(&m, sizeof(m));
}

static void send_fields(bool send, const uint8_t *data, size_t n)
{
	struct nvme_auth_cmd cmd = auth_cmd(send, 16);
	uint8_t msg[16] = { 0 };

	if (n < 7)
		return;
	cmd.spsp0 = data[0];
	cmd.spsp1 = data[1];
	cmd.secp = data[2];
	memcpy(&cmd.len, data + 3, sizeof(cmd.len));
	if (!send)
		cmd.sgl.len = cmd.len;
	say(&cmd, msg, send ? sizeof(msg) : 0);
}

static void step(uint8_t what, const uint8_t *data, size_t n)
{
	switch (what & 7) {
	case 0:
		if (n <= 8192)
			send_msg(data, (uint32_t)n);
		break;
	case 1:
	case 2:
		send_fields((what & 7) == 1, data, n);
		break;
	case 3:
		receive();
		break;
	case 4:
		send_reply(data, n);
		break;
	case 5:
		send_success2(data, n);
		break;
	case 6:
		host.c->now += 1000000000;
		fake_obey(host.c, host.c->front->tick(host.c, host.c->now));
		break;
	case 7:
		send_negotiate(data, n);
		break;
	}
}

static void connect_host(void)
{
	struct nvme_icreq ic = { .hdr = { .hlen = 128, .plen = htole32(128) } };
	struct nvme_connect cmd = {
		.opcode = NVME_FABRICS,
		.fctype = NVME_FC_CONNECT,
		.sgl = { .type = NVME_SGL_IN_CAPSULE, .len = htole32(1024) },
		.sqsize = htole16(31),
		.cattr = NVME_CONNECT_NO_SQ_FLOW,
	};
	struct nvme_connect_data who = { .cntlid = htole16(NVME_CNTLID_DYNAMIC),
					 .subnqn = SUB,
					 .hostnqn = HOST };

	memset(&host, 0, sizeof(host));
	host.c = fake_open(&front_nvme, world.exports, world.acl);
	host.c->nvme_auth = world.auth;
	host.c->nvme_tls = world.tls;
	host.q = conn_state(host.c);
	fake_feed(host.c, &ic, sizeof(ic));
	fake_flush(host.c);
	say(&cmd, &who, sizeof(who));
	check(host.q->ctrl && !host.q->authed && !host.q->export);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	/* cvalid and a sequence number: it wants our proof. */
	static const uint8_t mutual[16] = { [8] = 1, [12] = 1 };

	if (!world.pool)
		make_world();
	if (!len)
		return 0;
	connect_host();
	if (data[0] % 3 >= 1) {
		send_negotiate(NULL, 0);
		receive();
	}
	if (data[0] % 3 == 2) {
		send_reply(mutual, sizeof(mutual));
		receive();
		check(!host.q->authed && !host.c->ended);
	}
	for (data++, len--; len >= 3 && !host.c->ended;) {
		size_t n = data[1] | (size_t)data[2] << 8;

		if (n > len - 3)
			n = len - 3;
		step(data[0], data + 3, n);
		data += 3 + n;
		len -= 3 + n;
	}
	check(!host.q->authed || host.legit);
	fake_close(host.c);
	check(export_users(world.e) == 0);
	return 0;
}
