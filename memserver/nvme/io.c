/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * I/O commands in, reads and writes of the export's memory out. On the queue's worker;
 * no lock, no allocation. Every field of a command is checked here before it is used:
 * opcode, namespace, flags, range, then the SGL.
 *
 * Trims may cover gigabytes. They are done in slices between which the worker serves
 * others (a "job"), and the queue takes no further command meanwhile, so the range
 * list can stay in the bounce buffer.
 */
#include "memserver/nvme/io.h"

#include <endian.h>
#include <string.h>

#include "lib/clock.h"

#define BLOCK_SHIFT 12
_Static_assert(1u << BLOCK_SHIFT == EXPORT_BLOCK, "LBA size");

/* A stripe of the export at a time, for this long; freeing 2 MiB takes about 0.1 ms. */
#define SLICE    (2u << 20)
#define SLICE_NS 500000u

/* ---- what all commands check ---- */

/* Blocks [slba, slba + nlb) as bytes. */
static uint16_t check_range(const struct nvme_queue *q, uint64_t slba, uint64_t nlb,
			    uint64_t *ret_offset)
{
	uint64_t blocks = export_size(q->export) >> BLOCK_SHIFT;

	if (slba > blocks || nlb > blocks - slba)
		return NVME_SC_LBA_RANGE;
	*ret_offset = slba << BLOCK_SHIFT;
	return NVME_SC_SUCCESS;
}

static uint64_t cmd_slba(const struct nvme_cmd *cmd)
{
	return le32toh(cmd->cdw10) | (uint64_t)le32toh(cmd->cdw11) << 32;
}

/* The range of Read, Write and Compare into req->offset and req->len. */
static uint16_t check_rw(struct nvme_queue *q, struct nvme_req *req,
			 const struct nvme_cmd *cmd)
{
	uint32_t nlb = (le32toh(cmd->cdw12) & 0xffff) + 1;

	if (le32toh(cmd->cdw12) & NVME_RW_DTYPE_MASK ||
	    nlb > NVME_MDTS_BYTES >> BLOCK_SHIFT)
		return NVME_SC_INVALID_FIELD;
	req->len = nlb << BLOCK_SHIFT;
	req->tx.counted = req->len;
	return check_range(q, cmd_slba(cmd), nlb, &req->offset);
}

static uint16_t check_data_in(const struct nvme_req *req, const struct nvme_cmd *cmd,
			      uint32_t in_capsule)
{
	if (cmd->sgl.type != NVME_SGL_TRANSPORT)
		return NVME_SC_SGL_TYPE;
	if (le32toh(cmd->sgl.len) != req->len)
		return NVME_SC_SGL_LEN;
	return in_capsule ? NVME_SC_INVALID_FIELD : NVME_SC_SUCCESS;
}

/* Data from the host: all of it in the capsule from its start, or by R2T. */
static uint16_t check_data_out(const struct nvme_req *req, const struct nvme_cmd *cmd,
			       uint32_t in_capsule)
{
	uint32_t len = le32toh(cmd->sgl.len);

	if (cmd->sgl.type == NVME_SGL_IN_CAPSULE) {
		if (cmd->sgl.addr)
			return NVME_SC_SGL_OFFSET;
		return len != req->len || len != in_capsule ? NVME_SC_SGL_LEN
							    : NVME_SC_SUCCESS;
	}
	if (cmd->sgl.type != NVME_SGL_TRANSPORT)
		return NVME_SC_SGL_TYPE;
	if (in_capsule)
		return NVME_SC_INVALID_FIELD;
	return len != req->len ? NVME_SC_SGL_LEN : NVME_SC_SUCCESS;
}

static void await_data(struct nvme_queue *q, struct nvme_req *req, uint32_t in_capsule)
{
	if (in_capsule)
		req->state = NVME_REQ_DATA;
	else
		nvme_req_want_data(q, req);
}

/* ---- Read, Write, Compare ---- */

static void do_read(struct nvme_queue *q, struct nvme_req *req,
		    const struct nvme_cmd *cmd, uint32_t in_capsule)
{
	uint16_t status = check_rw(q, req, cmd);

	req->tx.op = IO_READ;
	if (!status)
		status = check_data_in(req, cmd, in_capsule);
	if (status) {
		nvme_req_fail(q, req, status);
		return;
	}
	export_grip(q->export, req->offset, req->len);
	req->gripped = true;
	nvme_req_complete_data(q, req);
}

static uint16_t prepare(struct nvme_queue *q, struct nvme_req *req)
{
	int r;

	export_grip(q->export, req->offset, req->len);
	req->gripped = true;
	r = export_prepare(q->export, req->offset, req->len, &req->dst);
	if (r == -ENOSPC) {
		req->tx.no_space = true;
		return NVME_SC_CAP_EXCEEDED;
	}
	return r < 0 ? NVME_SC_INTERNAL : NVME_SC_SUCCESS;
}

static void do_write(struct nvme_queue *q, struct nvme_req *req,
		     const struct nvme_cmd *cmd, uint32_t in_capsule)
{
	uint16_t status = check_rw(q, req, cmd);

	req->tx.op = IO_WRITE;
	if (!status)
		status = check_data_out(req, cmd, in_capsule);
	if (!status)
		status = prepare(q, req);
	if (status)
		nvme_req_fail(q, req, status);
	else
		await_data(q, req, in_capsule);
}

static void do_compare(struct nvme_queue *q, struct nvme_req *req,
		       const struct nvme_cmd *cmd, uint32_t in_capsule)
{
	uint16_t status = check_rw(q, req, cmd);

	if (!status)
		status = check_data_out(req, cmd, in_capsule);
	if (status) {
		nvme_req_fail(q, req, status);
		return;
	}
	export_grip(q->export, req->offset, req->len);
	req->gripped = true;
	await_data(q, req, in_capsule);
}

static bool equals_export(struct nvme_queue *q, uint64_t offset, const uint8_t *data,
			  size_t len)
{
	while (len) {
		const uint8_t *p;
		size_t n = export_run(q->export, offset, len, &p, NULL);

		if (memcmp(p, data, n))
			return false;
		offset += n;
		data += n;
		len -= n;
	}
	return true;
}

/* ---- Flush, Write Zeroes, Dataset Management ---- */

static void do_flush(struct nvme_queue *q, struct nvme_req *req)
{
	req->tx.op = IO_FLUSH;
	nvme_req_complete(q, req, NVME_SC_SUCCESS, 0, 0);
}

/*
 * With DEAC or without, the blocks become holes, which read as zeros: without, the
 * host does not ask for that, but does not forbid it either (NVM Command Set 3.2.8).
 */
static void do_write_zeroes(struct nvme_queue *q, struct nvme_req *req,
			    const struct nvme_cmd *cmd)
{
	uint32_t nlb = (le32toh(cmd->cdw12) & 0xffff) + 1;
	uint16_t status = check_range(q, cmd_slba(cmd), nlb, &q->job_offset);

	req->tx.op = IO_ZERO;
	req->tx.counted = nlb << BLOCK_SHIFT;
	if (status) {
		nvme_req_fail(q, req, status);
		return;
	}
	req->len = req->got = 0;
	req->ranges = 0;
	q->job = req;
	q->job_left = (uint64_t)nlb << BLOCK_SHIFT;
	q->job_at = q->job_len = 0;
	nvme_io_work(q);
}

static void do_dsm(struct nvme_queue *q, struct nvme_req *req,
		   const struct nvme_cmd *cmd, uint32_t in_capsule)
{
	uint32_t len = le32toh(cmd->sgl.len);
	uint16_t status = NVME_SC_SUCCESS;

	req->tx.op = IO_TRIM;
	req->ranges = (uint16_t)((le32toh(cmd->cdw10) & 0xff) + 1);
	/* Linux always transfers room for 256 ranges. */
	if (len < req->ranges * sizeof(struct nvme_dsm_range) || len > NVME_BOUNCE)
		status = NVME_SC_SGL_LEN;
	req->len = len;
	if (!status)
		status = check_data_out(req, cmd, in_capsule);
	if (status) {
		nvme_req_fail(q, req, status);
		return;
	}
	if (!(le32toh(cmd->cdw11) & NVME_DSM_AD))
		req->ranges = 0; /* hints on access frequency: taken, not used */
	await_data(q, req, in_capsule);
}

static void count_trim(struct nvme_req *req, uint64_t bytes)
{
	uint64_t sum = req->tx.counted + bytes;

	req->tx.counted = sum > UINT32_MAX ? UINT32_MAX : (uint32_t)sum;
}

static void start_range(struct nvme_queue *q, struct nvme_req *req)
{
	struct nvme_dsm_range range;
	uint16_t status;

	memcpy(&range, req->carry, sizeof(range));
	req->carry_len = 0;
	req->ranges--;
	q->job_left = (uint64_t)le32toh(range.nlb) << BLOCK_SHIFT;
	status =
		check_range(q, le64toh(range.slba), le32toh(range.nlb), &q->job_offset);
	if (status) {
		req->status = status;
		req->ranges = 0;
		q->job_left = 0;
	}
	count_trim(req, q->job_left);
}

/* Takes the next range off the list. False: what has come of it is used up. */
static bool next_range(struct nvme_queue *q, struct nvme_req *req)
{
	uint32_t need = (uint32_t)sizeof(req->carry) - req->carry_len;
	uint32_t n = q->job_len - q->job_at;

	if (!req->ranges || !n)
		return false;
	if (n > need)
		n = need;
	memcpy(req->carry + req->carry_len, q->bounce + q->job_at, n);
	req->carry_len = (uint8_t)(req->carry_len + n);
	q->job_at += n;
	if (req->carry_len == sizeof(req->carry))
		start_range(q, req);
	return true;
}

static void end_job(struct nvme_queue *q, struct nvme_req *req)
{
	q->job = NULL;
	if (req->got < req->len)
		return; /* the rest of the list comes with another PDU */
	if (req->status)
		nvme_req_fail(q, req, req->status);
	else
		nvme_req_complete(q, req, NVME_SC_SUCCESS, 0, 0);
}

/* Returns the bytes it did. */
static uint64_t trim_slice(struct nvme_queue *q)
{
	uint64_t n = SLICE - q->job_offset % SLICE;

	if (n > q->job_left)
		n = q->job_left;
	export_trim(q->export, q->job_offset, n, true);
	q->job_offset += n;
	q->job_left -= n;
	return n;
}

void nvme_io_work(struct nvme_queue *q)
{
	struct nvme_req *req = q->job;
	uint64_t start = 0, now, done = 0;

	for (;;) {
		if (q->job_left) {
			done += trim_slice(q);
		} else if (!next_range(q, req)) {
			end_job(q, req);
			return;
		}
		if (done < SLICE)
			continue; /* not worth looking at the clock */
		done = 0;
		now = clock_ns();
		if (!start)
			start = now;
		if (now - start > SLICE_NS) {
			conn_work_later(q->c);
			return;
		}
	}
}

/* ---- data from the host ---- */

uint8_t *nvme_io_where(struct nvme_queue *q, struct nvme_req *req, uint32_t *len)
{
	if (req->opcode == NVME_IO_WRITE)
		return req->dst + req->got;
	if (*len > NVME_BOUNCE)
		*len = NVME_BOUNCE;
	return q->bounce;
}

void nvme_io_chunk(struct nvme_queue *q, struct nvme_req *req, uint32_t len)
{
	if (req->opcode == NVME_IO_COMPARE &&
	    !equals_export(q, req->offset + req->got, q->bounce, len))
		req->status = NVME_SC_COMPARE_FAILED;
	req->got += len;
	q->job_len = len; /* a DSM list is no longer than the bounce: the whole PDU */
}

void nvme_io_received(struct nvme_queue *q, struct nvme_req *req, bool intact)
{
	if (!intact) {
		req->status = NVME_SC_TRANSIENT_TRANSPORT;
		req->ranges = 0; /* nothing is trimmed by a damaged list */
	}
	if (req->opcode == NVME_IO_DSM && req->ranges && !req->status) {
		q->job = req;
		q->job_at = 0;
		q->job_left = 0;
		nvme_io_work(q);
		return;
	}
	if (req->got < req->len)
		return;
	if (req->status == NVME_SC_TRANSIENT_TRANSPORT)
		nvme_req_complete(q, req, req->status, 0, 0);
	else if (req->status)
		nvme_req_fail(q, req, req->status);
	else
		nvme_req_complete(q, req, NVME_SC_SUCCESS, 0, 0);
}

/* ---- dispatch ---- */

static bool known(uint8_t opcode)
{
	switch (opcode) {
	case NVME_IO_FLUSH:
	case NVME_IO_WRITE:
	case NVME_IO_READ:
	case NVME_IO_COMPARE:
	case NVME_IO_WRITE_ZEROES:
	case NVME_IO_DSM:
		return true;
	default:
		return false;
	}
}

static uint16_t check_command(const struct nvme_queue *q, const struct nvme_cmd *cmd,
			      uint32_t in_capsule)
{
	uint32_t nsid = le32toh(cmd->nsid);

	if (!q->authed)
		return NVME_SC_AUTH_REQUIRED;
	if (!known(cmd->opcode))
		return NVME_SC_INVALID_OPCODE;
	if (nsid != q->nsid && !(cmd->opcode == NVME_IO_FLUSH && nsid == NVME_NSID_ALL))
		return NVME_SC_INVALID_NS;
	if (cmd->flags & NVME_CMD_FUSED_MASK ||
	    (cmd->flags & NVME_CMD_PSDT_MASK) != NVME_CMD_PSDT_SGL)
		return NVME_SC_INVALID_FIELD;
	if (in_capsule &&
	    (cmd->opcode == NVME_IO_FLUSH || cmd->opcode == NVME_IO_WRITE_ZEROES))
		return NVME_SC_INVALID_FIELD;
	return NVME_SC_SUCCESS;
}

/* What goes over the wire for it; a refused one costs no more than being one. */
static uint64_t bytes_of(const struct nvme_cmd *cmd)
{
	uint64_t bytes = (uint64_t)((le32toh(cmd->cdw12) & 0xffff) + 1) << BLOCK_SHIFT;
	bool moves = cmd->opcode == NVME_IO_READ || cmd->opcode == NVME_IO_WRITE ||
		     cmd->opcode == NVME_IO_COMPARE;

	return moves && bytes <= NVME_MDTS_BYTES ? bytes : 0;
}

void nvme_io_command(struct nvme_queue *q, struct nvme_req *req,
		     const struct nvme_cmd *cmd, uint32_t in_capsule)
{
	uint16_t status = check_command(q, cmd, in_capsule);

	conn_charge(q->c, status ? 0 : bytes_of(cmd));
	if (status) {
		nvme_req_fail(q, req, status);
		return;
	}
	switch (cmd->opcode) {
	case NVME_IO_READ:
		do_read(q, req, cmd, in_capsule);
		break;
	case NVME_IO_WRITE:
		do_write(q, req, cmd, in_capsule);
		break;
	case NVME_IO_COMPARE:
		do_compare(q, req, cmd, in_capsule);
		break;
	case NVME_IO_FLUSH:
		do_flush(q, req);
		break;
	case NVME_IO_WRITE_ZEROES:
		do_write_zeroes(q, req, cmd);
		break;
	case NVME_IO_DSM:
		do_dsm(q, req, cmd, in_capsule);
		break;
	}
}
