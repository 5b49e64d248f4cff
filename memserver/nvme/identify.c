/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A controller in, the 4096 bytes of an Identify data structure out. Everything said
 * here is a promise that io.c and admin.c keep. Pure functions.
 */
#include "memserver/nvme/identify.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

#define MODEL       "remem memserver"
#define WZSL        16u          /* 4 KiB << 16: all of 16 bits of blocks */
#define DISCARD_MAX (128u << 10) /* blocks of one range: 512 MiB */

void nvme_identify_text(char *field, size_t len, const char *text)
{
	size_t n = strlen(text);

	memset(field, ' ', len);
	memcpy(field, text, n < len ? n : len);
}

static void put_serial(char *field, size_t len, const struct nvme_ctrl *ctrl)
{
	char text[2 * 16 + 1] = "discovery";

	/* Of the identity, so that no two are alike: 80 of its 128 random bits fit. */
	for (int i = 0; ctrl->export && i < 16; i++)
		sprintf(text + 2 * i, "%02x", export_id(ctrl->export)->uuid[i]);
	nvme_identify_text(field, len, text);
}

/* What both kinds of controller have. */
static void put_ctrl(const struct nvme_ctrl *ctrl, struct nvme_id_ctrl *id)
{
	put_serial(id->sn, sizeof(id->sn), ctrl);
	nvme_identify_text(id->mn, sizeof(id->mn), MODEL);
	nvme_identify_text(id->fr, sizeof(id->fr), REMEM_VERSION);
	id->mdts = NVME_MDTS;
	id->cntlid = htole16(ctrl->cntlid);
	id->ver = htole32(NVME_VS_1_4);
	id->ctratt = htole32(NVME_CTRATT_HOSTID128 | NVME_CTRATT_TBKAS);
	id->acl = 3;
	id->aerl = NVME_MAX_AER - 1;
	id->frmw = 1 << 1 | 1; /* one slot, read-only */
	id->kas = htole16(10); /* 1 s: ticks are no finer */
	id->maxcmd = htole16(NVME_QUEUE_SIZE);
	id->sgls =
		htole32(NVME_SGLS_SUPPORTED | NVME_SGLS_OFFSET | NVME_SGLS_TRANSPORT);
	memcpy(id->subnqn, ctrl->subnqn, sizeof(id->subnqn));
	id->msdbd = 1;
}

static void put_io_ctrl(const struct nvme_ctrl *ctrl, struct nvme_id_ctrl *id)
{
	id->cmic = NVME_CMIC_MULTI_PORT | NVME_CMIC_MULTI_CTRL;
	id->oaes = htole32(NVME_OAES_NS_ATTR);
	id->cntrltype = NVME_CNTRLTYPE_IO;
	id->lpa = NVME_LPA_EFFECTS | NVME_LPA_EXTENDED;
	id->sqes = 0x66;
	id->cqes = 0x44;
	id->nn = htole32(export_id(ctrl->export)->nsid); /* the highest valid one */
	id->mnan = htole32(1);
	id->oncs = htole16(NVME_ONCS_COMPARE | NVME_ONCS_DSM | NVME_ONCS_WRITE_ZEROES);
	id->vwc = NVME_VWC_BCAST_YES; /* no volatile write cache */
	id->ioccsz = htole32((sizeof(struct nvme_cmd) + NVME_CAPSULE) / 16);
	id->iorcsz = htole32(sizeof(struct nvme_cqe) / 16);
	id->ofcs = htole16(NVME_OFCS_DISCONNECT);
}

static void put_discovery_ctrl(struct nvme_id_ctrl *id)
{
	id->oaes = htole32(NVME_OAES_DISCOVERY);
	id->cntrltype = NVME_CNTRLTYPE_DISCOVERY;
	id->lpa = NVME_LPA_EXTENDED;
	id->dctype = 1; /* direct discovery controller */
}

static void put_ns(const struct export *e, struct nvme_id_ns *id)
{
	uint64_t size = htole64(export_size(e));

	id->nsze = id->ncap = htole64(export_size(e) / EXPORT_BLOCK);
	id->nuse = htole64(export_resident(e) / EXPORT_BLOCK);
	id->nsfeat = NVME_NSFEAT_THIN | NVME_NSFEAT_UID | NVME_NSFEAT_OPTPERF;
	id->nmic = NVME_NMIC_SHARED;
	id->dlfeat = NVME_DLFEAT_ZEROES | NVME_DLFEAT_WZ_DEAC;
	memcpy(id->nvmcap, &size, sizeof(size));
	/* A block is written and freed as well as many: the preferred granularities and
	 * alignments are one (0's based). */
	id->nows = htole16(NVME_CAPSULE / EXPORT_BLOCK - 1); /* most without R2T */
	memcpy(id->nguid, export_id(e)->uuid, sizeof(id->nguid));
	id->lbaf[0].ds = __builtin_ctz(EXPORT_BLOCK);
}

static uint8_t *put_desc(uint8_t *p, uint8_t type, const void *value, uint8_t len)
{
	struct nvme_ns_desc d = { .type = type, .len = len };

	memcpy(p, &d, sizeof(d));
	memcpy(p + sizeof(d), value, len);
	return p + sizeof(d) + len;
}

static void put_ns_descs(const struct export *e, uint8_t *p)
{
	const uint8_t *uuid = export_id(e)->uuid, csi_nvm = 0;

	p = put_desc(p, NVME_NIDT_NGUID, uuid, 16);
	p = put_desc(p, NVME_NIDT_UUID, uuid, 16);
	put_desc(p, NVME_NIDT_CSI, &csi_nvm, 1);
}

/* The active namespaces above the given one: there is one. */
static uint16_t put_ns_list(uint32_t ours, uint32_t above, void *out)
{
	uint32_t nsid = htole32(ours);

	if (above >= NVME_NSID_ALL - 1)
		return NVME_SC_INVALID_NS;
	if (ours > above)
		memcpy(out, &nsid, sizeof(nsid));
	return NVME_SC_SUCCESS;
}

static void put_nvm_ctrl(struct nvme_id_ctrl_nvm *id)
{
	id->wzsl = WZSL;
	id->dmrl = NVME_DSM_MAX_RANGES - 1;
	id->dmrsl = htole32(DISCARD_MAX);
}

static void put_independent(struct nvme_id_ns_indep *id)
{
	id->nsfeat = NVME_NSFEAT_UID;
	id->nmic = NVME_NMIC_SHARED;
	id->nstat = NVME_NSTAT_READY;
}

/* Structures about the namespace a command names. */
static uint16_t identify_ns(const struct export *e, uint8_t cns, uint32_t nsid,
			    void *out)
{
	if (nsid != export_id(e)->nsid)
		return NVME_SC_INVALID_NS;
	if (cns == NVME_CNS_NS)
		put_ns(e, out);
	else if (cns == NVME_CNS_NS_DESC)
		put_ns_descs(e, out);
	else if (cns == NVME_CNS_INDEPENDENT_NS)
		put_independent(out);
	/* else NVME_CNS_CSI_NS: nothing but zeros, no protection formats */
	return NVME_SC_SUCCESS;
}

static uint16_t identify_io(const struct nvme_ctrl *ctrl, const struct nvme_cmd *cmd,
			    void *out)
{
	uint8_t cns = le32toh(cmd->cdw10) & 0xff, csi = le32toh(cmd->cdw11) >> 24;
	uint32_t nsid = le32toh(cmd->nsid);
	uint64_t nvm_set = htole64(1);

	switch (cns) {
	case NVME_CNS_NS:
	case NVME_CNS_NS_DESC:
	case NVME_CNS_INDEPENDENT_NS:
		return identify_ns(ctrl->export, cns, nsid, out);
	case NVME_CNS_NS_LIST:
		return put_ns_list(export_id(ctrl->export)->nsid, nsid, out);
	case NVME_CNS_CSI_VECTOR: /* combination 0: the NVM command set */
		memcpy(out, &nvm_set, sizeof(nvm_set));
		return NVME_SC_SUCCESS;
	case NVME_CNS_CSI_NS:
		return csi ? NVME_SC_INVALID_FIELD
			   : identify_ns(ctrl->export, cns, nsid, out);
	case NVME_CNS_CSI_NS_LIST:
		return csi ? NVME_SC_INVALID_FIELD
			   : put_ns_list(export_id(ctrl->export)->nsid, nsid, out);
	case NVME_CNS_CSI_CTRL:
		if (csi)
			return NVME_SC_INVALID_FIELD;
		put_nvm_ctrl(out);
		return NVME_SC_SUCCESS;
	default:
		return NVME_SC_INVALID_FIELD;
	}
}

uint16_t nvme_identify(const struct nvme_ctrl *ctrl, const struct nvme_cmd *cmd,
		       void *out)
{
	if ((le32toh(cmd->cdw10) & 0xff) == NVME_CNS_CTRL) {
		put_ctrl(ctrl, out);
		if (ctrl->discovery)
			put_discovery_ctrl(out);
		else
			put_io_ctrl(ctrl, out);
		return NVME_SC_SUCCESS;
	}
	return ctrl->discovery ? NVME_SC_INVALID_FIELD : identify_io(ctrl, cmd, out);
}
