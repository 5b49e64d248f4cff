/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Log pages but discovery's: errors (none are kept), health from the export's
 * counters, firmware, changed namespaces, commands and their effects. On the worker of
 * the admin queue.
 */
#include "memserver/nvme/logpage.h"

#include <endian.h>
#include <string.h>

#include "memserver/nvme/admin.h"
#include "memserver/nvme/identify.h"

void nvme_window_put(struct nvme_window *w, uint64_t at, const void *data, uint64_t len)
{
	uint64_t skip = w->offset > at ? w->offset - at : 0;
	uint64_t to = at > w->offset ? at - w->offset : 0;
	uint64_t n;

	if (skip >= len || to >= w->len)
		return;
	n = len - skip;
	if (n > w->len - to)
		n = w->len - to;
	memcpy(w->out + to, (const uint8_t *)data + skip, n);
}

/* What all workers did to the export. */
static void sum_stats(struct export *e, uint64_t *ops, uint64_t *bytes)
{
	for (unsigned int i = 0; i < EXPORT_MAX_WORKER; i++) {
		const struct io_stats *s = export_stats(e, i);

		for (unsigned int op = 0; op < IO_OP_NR; op++) {
			ops[op] += __atomic_load_n(&s->ops[op], __ATOMIC_RELAXED);
			bytes[op] += __atomic_load_n(&s->bytes[op], __ATOMIC_RELAXED);
		}
	}
}

/* Thousands of 512 bytes, rounded up. */
static uint64_t data_units(uint64_t bytes)
{
	return htole64((bytes + 511999) / 512000);
}

/* Memory has neither temperature nor wear: those fields stay 0, "not reported". */
static void put_smart(struct export *e, struct nvme_window *w)
{
	uint64_t ops[IO_OP_NR] = { 0 }, bytes[IO_OP_NR] = { 0 };
	struct nvme_smart s = { .spare = 100 };

	sum_stats(e, ops, bytes);
	s.units_read[0] = data_units(bytes[IO_READ]);
	s.units_written[0] = data_units(bytes[IO_WRITE]);
	s.host_reads[0] = htole64(ops[IO_READ]);
	s.host_writes[0] = htole64(ops[IO_WRITE]);
	nvme_window_put(w, 0, &s, sizeof(s));
}

static void put_firmware(struct nvme_window *w)
{
	struct nvme_firmware f = { .afi = 1 };

	nvme_identify_text(f.frs[0], sizeof(f.frs[0]), REMEM_VERSION);
	nvme_window_put(w, 0, &f, sizeof(f));
}

static void put_changed(struct nvme_queue *q, struct nvme_window *w, bool retain)
{
	uint32_t nsid = htole32(q->nsid);

	if (q->ctrl->ns_changed)
		nvme_window_put(w, 0, &nsid, sizeof(nsid));
	if (!retain)
		q->ctrl->ns_changed = false;
}

static void put_effect(struct nvme_window *w, uint64_t table, uint8_t opcode,
		       uint32_t effect)
{
	effect = htole32(effect);
	nvme_window_put(w, table + 4u * opcode, &effect, sizeof(effect));
}

static void put_effects(struct nvme_window *w)
{
	static const uint8_t admin[] = {
		NVME_ADMIN_GET_LOG,      NVME_ADMIN_IDENTIFY,     NVME_ADMIN_ABORT,
		NVME_ADMIN_SET_FEATURES, NVME_ADMIN_GET_FEATURES, NVME_ADMIN_AER,
		NVME_ADMIN_KEEP_ALIVE,
	};
	static const struct {
		uint8_t opcode;
		uint32_t effect;
	} io[] = {
		{ NVME_IO_FLUSH, 0 },
		{ NVME_IO_READ, 0 },
		{ NVME_IO_COMPARE, 0 },
		{ NVME_IO_WRITE, NVME_EFFECT_LBCC },
		{ NVME_IO_WRITE_ZEROES, NVME_EFFECT_LBCC },
		{ NVME_IO_DSM, NVME_EFFECT_LBCC },
	};

	for (size_t i = 0; i < sizeof(admin) / sizeof(admin[0]); i++)
		put_effect(w, offsetof(struct nvme_effects, admin), admin[i],
			   NVME_EFFECT_SUPPORTED);
	for (size_t i = 0; i < sizeof(io) / sizeof(io[0]); i++)
		put_effect(w, offsetof(struct nvme_effects, io), io[i].opcode,
			   NVME_EFFECT_SUPPORTED | io[i].effect);
}

/* Reading the page an event was about arms the next, unless told to retain it. */
static void event_read(struct nvme_queue *q, bool retain)
{
	if (!retain)
		nvme_admin_unmask(q);
}

uint16_t nvme_logpage_read(struct nvme_queue *q, const struct nvme_cmd *cmd,
			   struct nvme_window *w)
{
	uint8_t page = le32toh(cmd->cdw10) & 0xff;
	bool retain = le32toh(cmd->cdw10) & NVME_LOG_RAE;

	if (q->ctrl->discovery) {
		if (page != NVME_LOG_DISCOVERY)
			return NVME_SC_INVALID_LOG;
		nvme_discovery_read(q, w);
		event_read(q, retain);
		return NVME_SC_SUCCESS;
	}
	switch (page) {
	case NVME_LOG_ERROR:
		break; /* entries of zeros: no errors */
	case NVME_LOG_SMART:
		put_smart(q->export, w);
		break;
	case NVME_LOG_FIRMWARE:
		put_firmware(w);
		break;
	case NVME_LOG_CHANGED_NS:
		put_changed(q, w, retain);
		event_read(q, retain);
		break;
	case NVME_LOG_EFFECTS:
		put_effects(w);
		break;
	default:
		return NVME_SC_INVALID_LOG;
	}
	return NVME_SC_SUCCESS;
}
