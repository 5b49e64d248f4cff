/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The front end over a connection without a socket: Identify and log pages as bytes at
 * the offsets the specification gives, events, keep-alive, slots and grips.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakeconn.h"

#include <endian.h>
#include <unistd.h>

#include "lib/log.h"
#include "memserver/nvme/queue.h"
#include "memserver/pool.h"

#define MIB  (UINT64_C(1) << 20)
#define HOST "nqn.2014-08.org.nvmexpress:uuid:test"
#define NQN  NVME_SUBNQN_PREFIX "mem"

struct world {
	char dir[64];
	struct pool *pool;
	struct exports *exports;
	struct acl *acl;
	struct export *e;
	struct conn *admin, *io;
	uint16_t cntlid;
};

/* ---- a host ---- */

static void send_cmd(struct conn *c, const void *cmd, const void *data, uint32_t len)
{
	struct nvme_cmd_pdu p = { .hdr = { .type = NVME_PDU_CMD,
					   .hlen = sizeof(p),
					   .pdo = len ? sizeof(p) : 0,
					   .plen = htole32((uint32_t)sizeof(p) +
							   len) } };

	memcpy(&p.cmd, cmd, sizeof(p.cmd));
	fake_feed(c, &p, sizeof(p));
	fake_feed(c, data, len);
}

/* Flushes; the completion that was sent last, and the data before it. */
static struct nvme_cqe answer(struct conn *c, void *data, uint32_t len)
{
	struct nvme_cqe cqe = { .status = 0xffff };
	const uint8_t *p = c->out, *end;

	fake_flush(c);
	for (end = c->out + c->out_len; p < end;) {
		const struct nvme_pdu_hdr *h = (const void *)p;

		assert_true(end - p >= 24);
		if (h->type == NVME_PDU_RSP)
			cqe = ((const struct nvme_rsp_pdu *)(const void *)p)->cqe;
		if (h->type == NVME_PDU_C2H_DATA && data) {
			assert_int_equal(le32toh(h->plen), h->pdo + len);
			memcpy(data, p + h->pdo, len);
		}
		p += le32toh(h->plen);
	}
	assert_ptr_equal(p, end);
	c->out_len = 0;
	return cqe;
}

static uint16_t status_of(struct nvme_cqe cqe)
{
	return le16toh(cqe.status) >> 1;
}

static struct nvme_cqe do_cmd(struct conn *c, struct nvme_cmd *cmd, void *data,
			      uint32_t len)
{
	cmd->flags = NVME_CMD_PSDT_SGL;
	cmd->sgl.type = NVME_SGL_TRANSPORT;
	cmd->sgl.len = htole32(len);
	send_cmd(c, cmd, NULL, 0);
	return answer(c, data, len);
}

static struct conn *open_queue(struct world *w, const char *nqn, uint16_t qid,
			       uint32_t kato_ms)
{
	struct conn *c = fake_open(&front_nvme, w->exports, w->acl);
	struct nvme_icreq ic = { .hdr = { .hlen = 128, .plen = htole32(128) } };
	struct nvme_connect cmd = {
		.opcode = NVME_FABRICS,
		.fctype = NVME_FC_CONNECT,
		.sgl = { .type = NVME_SGL_IN_CAPSULE, .len = htole32(1024) },
		.qid = htole16(qid),
		.sqsize = htole16(7),
		.kato_ms = htole32(kato_ms),
	};
	struct nvme_connect_data who = { .cntlid = htole16(qid ? w->cntlid
							       : NVME_CNTLID_DYNAMIC) };
	struct nvme_cqe cqe;

	strcpy(who.subnqn, nqn);
	strcpy(who.hostnqn, HOST);
	fake_feed(c, &ic, sizeof(ic));
	answer(c, NULL, 0);
	send_cmd(c, &cmd, &who, sizeof(who));
	cqe = answer(c, NULL, 0);
	assert_int_equal(status_of(cqe), 0);
	if (!qid)
		w->cntlid = (uint16_t)le32toh(cqe.dw0);
	return c;
}

static void set_cc(struct conn *c, uint32_t cc)
{
	struct nvme_property p = { .opcode = NVME_FABRICS,
				   .fctype = NVME_FC_PROPERTY_SET,
				   .offset = htole32(NVME_PROP_CC),
				   .value = htole64(cc) };

	send_cmd(c, &p, NULL, 0);
	assert_int_equal(status_of(answer(c, NULL, 0)), 0);
}

static void open_admin(struct world *w, const char *nqn, uint32_t kato_ms)
{
	w->admin = open_queue(w, nqn, 0, kato_ms);
	set_cc(w->admin, NVME_CC_EN | 6u << 16 | 4u << 20);
}

static void identify(struct world *w, uint8_t cns, uint32_t nsid, void *out)
{
	struct nvme_cmd cmd = { .opcode = NVME_ADMIN_IDENTIFY,
				.nsid = htole32(nsid),
				.cdw10 = htole32(cns) };

	assert_int_equal(status_of(do_cmd(w->admin, &cmd, out, 4096)), 0);
}

static uint16_t get_log(struct world *w, uint32_t cdw10, uint64_t offset, void *out,
			uint32_t len)
{
	struct nvme_cmd cmd = { .opcode = NVME_ADMIN_GET_LOG,
				.nsid = htole32(NVME_NSID_ALL),
				.cdw10 = htole32(cdw10 | (len / 4 - 1) << 16),
				.cdw12 = htole32((uint32_t)offset),
				.cdw13 = htole32((uint32_t)(offset >> 32)) };

	return status_of(do_cmd(w->admin, &cmd, out, len));
}

/* ---- the world ---- */

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct export_cfg cfg = { .name = "mem", .size_bytes = 8 * MIB };
	struct pool_cfg pool = { .dir = w->dir, .numa_node = -1 };

	log_set_level(LOG_ERR_);
	snprintf(w->dir, sizeof(w->dir), "/dev/shm/remem-unit-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	assert_int_equal(pool_open(&pool, &w->pool), 0);
	assert_int_equal(exports_open(w->pool, &w->exports), 0);
	assert_int_equal(exports_create(w->exports, &cfg, NULL), 0);
	assert_int_equal(acl_new(&w->acl), 0);
	w->e = exports_find(w->exports, "mem", 3);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;
	char cmd[128];

	if (w->io)
		fake_close(w->io);
	if (w->admin)
		fake_close(w->admin);
	assert_int_equal(export_users(w->e), 0);
	/* A grip that was forgotten would keep memory. */
	export_trim(w->e, 0, export_size(w->e), true);
	assert_int_equal(export_resident(w->e), 0);
	export_put(w->e);
	exports_close(w->exports);
	pool_close(w->pool);
	acl_free(w->acl);
	snprintf(cmd, sizeof(cmd), "rm -r %s", w->dir);
	assert_int_equal(system(cmd), 0);
	free(w);
	return 0;
}

/* ---- Identify ---- */

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static void identify_controller_is_laid_out_as_specified(void **state)
{
	struct world *w = *state;
	uint8_t p[4096];

	open_admin(w, NQN, 0);
	identify(w, NVME_CNS_CTRL, 0, p);
	assert_memory_equal(p + 24, "remem memserver     ", 20);
	assert_int_equal(p[77], 5);                              /* MDTS */
	assert_int_equal(get16(p + 78), w->cntlid);              /* CNTLID */
	assert_int_equal(get32(p + 80), 0x10400);                /* VER */
	assert_int_equal(p[111], 1);                             /* CNTRLTYPE */
	assert_true(get16(p + 320) > 0);                         /* KAS */
	assert_int_equal(p[512], 0x66);                          /* SQES */
	assert_int_equal(p[513], 0x44);                          /* CQES */
	assert_int_equal(get16(p + 514), 1024);                  /* MAXCMD */
	assert_int_equal(get32(p + 516), export_id(w->e)->nsid); /* NN */
	assert_int_equal(get16(p + 520), 1 | 4 | 8);             /* ONCS */
	assert_int_equal(p[525] & 1, 0);                         /* VWC: none */
	assert_int_equal(get32(p + 536) & 3, 1);                 /* SGLS */
	assert_true(get32(p + 536) & 1 << 20);
	assert_int_equal(get32(p + 540), 1);             /* MNAN */
	assert_string_equal((char *)p + 768, NQN);       /* SUBNQN */
	assert_true(get32(p + 1792) * 16 - 64 >= 16384); /* IOCCSZ */
	assert_int_equal(get32(p + 1796), 1);            /* IORCSZ */
	assert_int_equal(get16(p + 1800), 0);            /* ICDOFF */
}

static void identify_namespace_is_laid_out_as_specified(void **state)
{
	struct world *w = *state;
	const struct export_id *id = export_id(w->e);
	uint8_t p[4096];

	open_admin(w, NQN, 0);
	identify(w, NVME_CNS_NS, id->nsid, p);
	assert_int_equal(get32(p), 2048); /* NSZE, in blocks of 4 KiB */
	assert_int_equal(get32(p + 8), 2048);
	assert_int_equal(get32(p + 16), 0); /* NUSE */
	assert_int_equal(p[25], 0);         /* NLBAF: one format */
	assert_int_equal(p[33] & 7, 1);     /* DLFEAT: zeros */
	assert_memory_equal(p + 104, id->uuid, 16);
	assert_int_equal(get32(p + 128), 12 << 16); /* LBAF0: no metadata, 2^12 */

	identify(w, NVME_CNS_NS_DESC, id->nsid, p);
	assert_int_equal(p[0], NVME_NIDT_NGUID);
	assert_int_equal(p[1], 16);
	assert_memory_equal(p + 4, id->uuid, 16);
	assert_int_equal(p[20], NVME_NIDT_UUID);
	assert_memory_equal(p + 24, id->uuid, 16);
	assert_int_equal(p[40], NVME_NIDT_CSI);
	assert_int_equal(p[41], 1);
	assert_int_equal(get32(p + 45), 0);
}

static void the_namespace_list_has_one_entry(void **state)
{
	struct world *w = *state;
	uint32_t nsid = export_id(w->e)->nsid;
	uint8_t p[4096];

	open_admin(w, NQN, 0);
	for (int i = 0; i < 2; i++) {
		uint8_t cns = i ? NVME_CNS_CSI_NS_LIST : NVME_CNS_NS_LIST;

		identify(w, cns, 0, p);
		assert_int_equal(get32(p), nsid);
		assert_int_equal(get32(p + 4), 0);
		identify(w, cns, nsid, p);
		assert_int_equal(get32(p), 0);
		identify(w, cns, nsid - 1, p);
		assert_int_equal(get32(p), nsid);
	}
}

static void limits_of_the_nvm_command_set_are_given(void **state)
{
	struct world *w = *state;
	uint8_t p[4096];

	open_admin(w, NQN, 0);
	identify(w, NVME_CNS_CSI_CTRL, 0, p);
	assert_int_equal(p[1], 16);        /* WZSL */
	assert_int_equal(p[3], 255);       /* DMRL */
	assert_true(get32(p + 4) >= 1024); /* DMRSL */
	identify(w, NVME_CNS_CSI_VECTOR, 0, p);
	assert_int_equal(p[0], 1);
	identify(w, NVME_CNS_INDEPENDENT_NS, export_id(w->e)->nsid, p);
	assert_int_equal(p[14] & 1, 1); /* NSTAT: ready */
}

/* ---- log pages ---- */

static void smart_counts_what_was_done(void **state)
{
	struct world *w = *state;
	uint8_t p[512];

	open_admin(w, NQN, 0);
	export_stats(w->e, 3)->bytes[IO_READ] = 512000 * 2 + 1;
	export_stats(w->e, 3)->ops[IO_READ] = 5;
	export_stats(w->e, 7)->ops[IO_READ] = 6;
	assert_int_equal(get_log(w, NVME_LOG_SMART, 0, p, 512), 0);
	assert_int_equal(p[3], 100);         /* available spare */
	assert_int_equal(get32(p + 32), 3);  /* thousands of 512 B, rounded up */
	assert_int_equal(get32(p + 64), 11); /* host reads */
}

static void discovery_lists_every_export(void **state)
{
	struct world *w = *state;
	struct export_cfg cfg = { .name = "alpha", .size_bytes = MIB };
	uint8_t p[4096];

	assert_int_equal(exports_create(w->exports, &cfg, NULL), 0);
	open_admin(w, NVME_DISCOVERY_NQN, 0);
	assert_int_equal(get_log(w, NVME_LOG_DISCOVERY, 0, p, 4096), 0);
	assert_int_equal(get32(p), exports_generation(w->exports));
	assert_int_equal(get32(p + 8), 2);             /* NUMREC */
	assert_int_equal(get16(p + 16), 0);            /* RECFMT */
	assert_int_equal(p[1024], 3);                  /* TRTYPE: TCP */
	assert_int_equal(p[1025], 1);                  /* ADRFAM: IPv4 */
	assert_int_equal(p[1026], 2);                  /* SUBTYPE: NVM subsystem */
	assert_int_equal(get16(p + 1024 + 6), 0xffff); /* CNTLID: dynamic */
	assert_memory_equal(p + 1024 + 32, "4420    ", 8);
	assert_string_equal((char *)p + 1024 + 256, NVME_SUBNQN_PREFIX "alpha");
	assert_memory_equal(p + 1024 + 512, "192.0.2.1   ", 12);
	assert_string_equal((char *)p + 2048 + 256, NQN);
	assert_int_equal(get32(p + 3072), 0);
}

static void any_part_of_the_discovery_log_can_be_read(void **state)
{
	struct world *w = *state;
	uint8_t whole[2048], part[256];

	open_admin(w, NVME_DISCOVERY_NQN, 0);
	assert_int_equal(get_log(w, NVME_LOG_DISCOVERY, 0, whole, 2048), 0);
	for (uint32_t at = 0; at < 2048; at += 64) {
		uint32_t n = at + sizeof(part) > 2048 ? 2048 - at : sizeof(part);

		assert_int_equal(get_log(w, NVME_LOG_DISCOVERY, at, part, sizeof(part)),
				 0);
		assert_memory_equal(part, whole + at, n);
	}
	assert_int_equal(get_log(w, NVME_LOG_DISCOVERY, UINT64_MAX - 3, part, 4), 0);
}

/* ---- events ---- */

static void send_aer(struct world *w, uint16_t cid)
{
	struct nvme_cmd cmd = { .opcode = NVME_ADMIN_AER, .cid = htole16(cid) };

	assert_int_equal(do_cmd(w->admin, &cmd, NULL, 0).status, 0xffff); /* none */
}

static void want_events(struct world *w, uint32_t events)
{
	struct nvme_cmd cmd = { .opcode = NVME_ADMIN_SET_FEATURES,
				.cdw10 = htole32(NVME_FEAT_ASYNC_EVENT),
				.cdw11 = htole32(events) };

	assert_int_equal(status_of(do_cmd(w->admin, &cmd, NULL, 0)), 0);
}

static void tick(struct conn *c, unsigned int seconds)
{
	for (unsigned int i = 0; i < seconds && !c->ended; i++) {
		c->now += 1000000000;
		fake_obey(c, c->front->tick(c, c->now));
	}
}

static void a_resize_is_told_once_until_it_is_read(void **state)
{
	struct world *w = *state;
	struct nvme_cqe cqe;
	uint8_t list[4096];

	open_admin(w, NQN, 0);
	want_events(w, NVME_OAES_NS_ATTR);
	send_aer(w, 50);
	send_aer(w, 51);
	tick(w->admin, 1);
	assert_int_equal(answer(w->admin, NULL, 0).status, 0xffff);

	assert_int_equal(exports_resize(w->exports, "mem", 16 * MIB, 0, NULL), 0);
	tick(w->admin, 1);
	cqe = answer(w->admin, NULL, 0);
	assert_int_equal(le16toh(cqe.cid), 50);
	assert_int_equal(le32toh(cqe.dw0), 0x040002);

	assert_int_equal(exports_resize(w->exports, "mem", 24 * MIB, 0, NULL), 0);
	tick(w->admin, 1);
	assert_int_equal(answer(w->admin, NULL, 0).status, 0xffff);

	/* With "retain" the event stays told; without, the next one comes. */
	assert_int_equal(get_log(w, NVME_LOG_CHANGED_NS | NVME_LOG_RAE, 0, list, 4096),
			 0);
	assert_int_equal(get32(list), export_id(w->e)->nsid);
	send_cmd(w->admin,
		 &(struct nvme_cmd){
			 .opcode = NVME_ADMIN_GET_LOG,
			 .flags = NVME_CMD_PSDT_SGL,
			 .cid = htole16(60),
			 .sgl = { .type = NVME_SGL_TRANSPORT, .len = htole32(4096) },
			 .cdw10 = htole32(NVME_LOG_CHANGED_NS | 1023 << 16) },
		 NULL, 0);
	fake_flush(w->admin);
	cqe = ((const struct nvme_rsp_pdu *)(const void *)w->admin->out)->cqe;
	assert_int_equal(le16toh(cqe.cid), 51);
	w->admin->out_len = 0;
	assert_int_equal(get_log(w, NVME_LOG_CHANGED_NS, 0, list, 4096), 0);
	assert_int_equal(get32(list), 0);
}

static void a_new_export_is_told_to_discovery_controllers(void **state)
{
	struct world *w = *state;
	struct export_cfg cfg = { .name = "beta", .size_bytes = MIB };

	open_admin(w, NVME_DISCOVERY_NQN, 0);
	want_events(w, NVME_OAES_DISCOVERY);
	send_aer(w, 1);
	assert_int_equal(exports_create(w->exports, &cfg, NULL), 0);
	tick(w->admin, 1);
	assert_int_equal(le32toh(answer(w->admin, NULL, 0).dw0), 0x70f002);
}

static void events_nobody_asked_for_are_not_told(void **state)
{
	struct world *w = *state;

	open_admin(w, NQN, 0);
	send_aer(w, 1);
	assert_int_equal(exports_resize(w->exports, "mem", 16 * MIB, 0, NULL), 0);
	tick(w->admin, 2);
	assert_int_equal(answer(w->admin, NULL, 0).status, 0xffff);
}

/* ---- keep-alive ---- */

static void a_silent_host_is_gone_after_its_time(void **state)
{
	struct world *w = *state;

	open_admin(w, NQN, 5000);
	tick(w->admin, 5);
	assert_int_equal(w->admin->ended, 0);
	tick(w->admin, 5);
	assert_int_equal(w->admin->ended, -ETIMEDOUT);
}

static void keep_alive_and_io_both_keep_a_controller(void **state)
{
	struct world *w = *state;

	open_admin(w, NQN, 5000);
	w->io = open_queue(w, NQN, 1, 0);
	for (int i = 0; i < 8; i++) {
		struct nvme_cmd cmd = { .opcode = i < 4 ? NVME_ADMIN_KEEP_ALIVE
							: NVME_IO_FLUSH,
					.nsid = htole32(export_id(w->e)->nsid) };
		struct conn *c = i < 4 ? w->admin : w->io;

		tick(w->admin, 4);
		w->io->now = w->admin->now;
		assert_int_equal(status_of(do_cmd(c, &cmd, NULL, 0)), 0);
		tick(w->io, 1);
	}
	assert_int_equal(w->admin->ended, 0);
}

/* A SIGSTOP, or a host without a CPU to spare: what came meanwhile isn't read yet. */
static void our_own_absence_is_not_held_against_the_host(void **state)
{
	struct world *w = *state;

	open_admin(w, NQN, 5000);
	tick(w->admin, 1);
	w->admin->now += UINT64_C(60000000000);
	tick(w->admin, 1);
	assert_int_equal(w->admin->ended, 0);
	tick(w->admin, 10);
	assert_int_equal(w->admin->ended, -ETIMEDOUT);
}

/* ---- I/O ---- */

static struct nvme_cmd rw(struct world *w, uint8_t opcode, uint64_t slba, uint32_t nlb,
			  uint8_t sgl)
{
	return (struct nvme_cmd){
		.opcode = opcode,
		.flags = NVME_CMD_PSDT_SGL,
		.nsid = htole32(export_id(w->e)->nsid),
		.sgl = { .type = sgl, .len = htole32(nlb * 4096) },
		.cdw10 = htole32((uint32_t)slba),
		.cdw12 = htole32(nlb - 1),
	};
}

static void sqhd_goes_round_with_every_completion(void **state)
{
	struct world *w = *state;

	open_admin(w, NQN, 0);
	w->io = open_queue(w, NQN, 1, 0); /* 8 entries; Connect was one */
	for (unsigned int i = 2; i < 20; i++) {
		struct nvme_cmd cmd = rw(w, NVME_IO_FLUSH, 0, 1, 0);

		assert_int_equal(le16toh(do_cmd(w->io, &cmd, NULL, 0).sqhd), i % 8);
	}
}

static void a_write_waiting_for_data_grips_its_blocks_until_it_goes(void **state)
{
	struct world *w = *state;
	struct nvme_cmd cmd = rw(w, NVME_IO_WRITE, 0, 4, NVME_SGL_TRANSPORT);

	open_admin(w, NQN, 0);
	w->io = open_queue(w, NQN, 1, 0);
	send_cmd(w->io, &cmd, NULL, 0);
	assert_int_equal(answer(w->io, NULL, 0).status, 0xffff);
	export_trim(w->e, 0, 4 * 4096, true);
	assert_int_equal(export_resident(w->e), 4 * 4096);
	fake_close(w->io);
	w->io = NULL;
	assert_int_equal(export_resident(w->e), 0);
}

static void a_read_of_a_hole_takes_no_memory(void **state)
{
	struct world *w = *state;
	struct nvme_cmd cmd = rw(w, NVME_IO_READ, 0, 32, NVME_SGL_TRANSPORT);
	static uint8_t data[32 * 4096];

	open_admin(w, NQN, 0);
	w->io = open_queue(w, NQN, 1, 0);
	memset(data, 0xee, sizeof(data));
	assert_int_equal(status_of(do_cmd(w->io, &cmd, data, sizeof(data))), 0);
	for (size_t i = 0; i < sizeof(data); i++)
		assert_int_equal(data[i], 0);
	assert_int_equal(export_resident(w->e), 0);
}

static void a_write_over_the_quota_has_no_space_and_no_retry(void **state)
{
	struct world *w = *state;
	struct nvme_cmd cmd = rw(w, NVME_IO_WRITE, 0, 2, NVME_SGL_IN_CAPSULE);
	static const uint8_t data[8192] = { 1 };

	assert_int_equal(exports_resize(w->exports, "mem", 8 * MIB, 4096, NULL), 0);
	open_admin(w, NQN, 0);
	w->io = open_queue(w, NQN, 1, 0);
	send_cmd(w->io, &cmd, data, sizeof(data));
	assert_int_equal(status_of(answer(w->io, NULL, 0)),
			 NVME_SC_CAP_EXCEEDED | NVME_SC_DNR);
}

static void the_death_of_the_admin_queue_kicks_the_io_queues(void **state)
{
	struct world *w = *state;

	open_admin(w, NQN, 0);
	w->io = open_queue(w, NQN, 1, 0);
	assert_int_equal(export_users(w->e), 2);
	fake_close(w->admin);
	w->admin = NULL;
	assert_true(w->io->kicked);
	assert_int_equal(export_users(w->e), 1);
}

static void answers_that_nobody_reads_hold_up_the_next_commands(void **state)
{
	struct world *w = *state;
	struct nvme_cmd cmd = {
		.opcode = NVME_ADMIN_GET_LOG,
		.flags = NVME_CMD_PSDT_SGL,
		.sgl = { .type = NVME_SGL_TRANSPORT, .len = htole32(NVME_MDTS_BYTES) },
		.cdw10 = htole32(NVME_LOG_CHANGED_NS | (NVME_MDTS_BYTES / 4 - 1) << 16)
	};

	open_admin(w, NQN, 0);
	send_cmd(w->admin, &cmd, NULL, 0);
	assert_true(front_nvme.ready(w->admin));
	send_cmd(w->admin, &cmd, NULL, 0);
	assert_false(front_nvme.ready(w->admin));
	fake_flush(w->admin);
	assert_true(front_nvme.ready(w->admin));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(identify_controller_is_laid_out_as_specified),
		TEST(identify_namespace_is_laid_out_as_specified),
		TEST(the_namespace_list_has_one_entry),
		TEST(limits_of_the_nvm_command_set_are_given),
		TEST(smart_counts_what_was_done),
		TEST(discovery_lists_every_export),
		TEST(any_part_of_the_discovery_log_can_be_read),
		TEST(a_resize_is_told_once_until_it_is_read),
		TEST(a_new_export_is_told_to_discovery_controllers),
		TEST(events_nobody_asked_for_are_not_told),
		TEST(a_silent_host_is_gone_after_its_time),
		TEST(keep_alive_and_io_both_keep_a_controller),
		TEST(our_own_absence_is_not_held_against_the_host),
		TEST(sqhd_goes_round_with_every_completion),
		TEST(a_write_waiting_for_data_grips_its_blocks_until_it_goes),
		TEST(a_read_of_a_hole_takes_no_memory),
		TEST(a_write_over_the_quota_has_no_space_and_no_retry),
		TEST(the_death_of_the_admin_queue_kicks_the_io_queues),
		TEST(answers_that_nobody_reads_hold_up_the_next_commands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
