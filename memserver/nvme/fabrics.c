/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connect makes a connection a queue: names, sizes and rights are checked here, once,
 * and all that the I/O path needs is put in place. Properties are the controller's
 * registers. On the queue's worker.
 *
 * Each export is a subsystem of its own, nqn.2026-11.io.remem:NAME, with one
 * namespace: an export is then lent, refused and taken back as a whole, and a host
 * that may use one does not even see the others' identities.
 */
#include "memserver/nvme/fabrics.h"

#include <endian.h>
#include <string.h>

#include "memserver/acl.h"
#include "memserver/exports.h"
#include "memserver/nvme/admin.h"
#include "memserver/nvme/auth.h"
#include "memserver/nvme/concat.h"
#include "memserver/nvme/login.h"
#include "memserver/nvme/tls.h"

static uint16_t bad_param(uint32_t where, uint32_t *ret_dw0)
{
	*ret_dw0 = where;
	return NVME_SC_CONNECT_PARAM | NVME_SC_DNR;
}

/* A name that ends within its field and is not empty. */
static bool nqn_ok(const char *nqn)
{
	size_t len = strnlen(nqn, NVME_NQN_FIELD);

	return len && len <= NVME_NQN_LEN;
}

/* With a file of hosts: is this one in it, for that export? What is not here and what
 * is not for it are refused alike. */
static uint16_t check_keys(struct nvme_queue *q, const struct nvme_connect_data *who)
{
	struct nvme_auth *auth = conn_nvme_auth(q->c);
	size_t prefix = sizeof(NVME_SUBNQN_PREFIX) - 1;
	const char *export = NULL;

	if (!auth)
		return NVME_SC_SUCCESS;
	if (strcmp(who->subnqn, NVME_DISCOVERY_NQN) &&
	    strncmp(who->subnqn, NVME_SUBNQN_PREFIX, prefix))
		return NVME_SC_SUCCESS; /* there is no such subsystem */
	if (strcmp(who->subnqn, NVME_DISCOVERY_NQN))
		export = who->subnqn + prefix;
	if (nvme_auth_allows(auth, who->hostnqn, export))
		return NVME_SC_SUCCESS;
	nvme_auth_count_refused(auth);
	conn_warn_within(q->c, nvme_auth_log_limit(auth),
			 "host %s may not use %s: the file of --nvme-auth does not "
			 "allow it",
			 who->hostnqn, who->subnqn);
	return NVME_SC_CONNECT_HOST | NVME_SC_DNR;
}

/* What of Connect does not depend on the kind of queue. */
static uint16_t check_connect(struct nvme_queue *q, const struct nvme_connect *cmd,
			      const struct nvme_connect_data *who, uint32_t *ret_dw0)
{
	uint16_t sqsize = le16toh(cmd->sqsize);
	unsigned int most = cmd->qid ? NVME_QUEUE_SIZE : NVME_ADMIN_SIZE;

	if (cmd->recfmt)
		return NVME_SC_CONNECT_FORMAT | NVME_SC_DNR;
	if (!sqsize || sqsize >= most)
		return bad_param(NVME_CONNECT_BAD_CMD(sqsize), ret_dw0);
	if (!nqn_ok(who->subnqn))
		return bad_param(NVME_CONNECT_BAD_DATA(subnqn), ret_dw0);
	if (!nqn_ok(who->hostnqn))
		return bad_param(NVME_CONNECT_BAD_DATA(hostnqn), ret_dw0);
	if (!acl_allows_nqn(conn_acl(q->c), who->hostnqn, strlen(who->hostnqn))) {
		conn_warn(q->c, "host %s is not allowed", who->hostnqn);
		return NVME_SC_CONNECT_HOST | NVME_SC_DNR;
	}
	if (conn_nvme_tls(q->c) && !nvme_tls_admits(conn_nvme_tls(q->c), q->c, who))
		return NVME_SC_CONNECT_HOST | NVME_SC_DNR;
	return check_keys(q, who);
}

/* The export behind a subsystem's name, with a reference, or NULL. */
static struct export *find_export(struct nvme_queue *q, const char *subnqn)
{
	size_t prefix = sizeof(NVME_SUBNQN_PREFIX) - 1;

	if (q->only_discovery || strncmp(subnqn, NVME_SUBNQN_PREFIX, prefix) ||
	    strchr(subnqn, '@')) /* one export has one name here */
		return NULL;
	return exports_find(conn_exports(q->c), subnqn + prefix,
			    strlen(subnqn) - prefix);
}

/* Takes the controller's export into use by this queue. */
static uint16_t attach(struct nvme_queue *q)
{
	struct export *e = q->ctrl->export;
	int r;

	if (!e)
		return NVME_SC_SUCCESS;
	r = export_attach(e);
	if (r == -ESHUTDOWN)
		return NVME_SC_CONNECT_PARAM | NVME_SC_DNR; /* being dropped */
	if (r < 0) {
		conn_warn(q->c, "refused: the export is %s",
			  r == -EBUSY ? "in use over iSCSI"
				      : "with tgtd, which does not answer");
		return NVME_SC_CONNECT_BUSY;
	}
	q->export = e;
	q->nsid = export_id(e)->nsid;
	return NVME_SC_SUCCESS;
}

/* Puts the queue in its controller's table, and the export into use by it. */
static uint16_t take_up(struct nvme_queue *q)
{
	uint16_t status = NVME_SC_SUCCESS;

	if (q->qid)
		status = nvme_ctrl_enter(q->ctrl, q->qid, q->c);
	return status ? status : attach(q);
}

/* For a discovery controller that asked for no keep-alive: nobody logs in there, and one that is
 * never looked at would be kept for ever. As Linux's target. */
#define DISCOVERY_KATO_MS 120000

static uint16_t new_ctrl(struct nvme_queue *q, const struct nvme_connect *cmd,
			 struct export *e, const struct nvme_connect_data *who)
{
	if (nvme_ctrl_new(e, who, q->c, &q->ctrl) < 0)
		return NVME_SC_CONNECT_BUSY;
	q->ctrl->encrypted = conn_is_tls(q->c);
	q->ctrl->kato_ms = le32toh(cmd->kato_ms);
	if (!e && !q->ctrl->kato_ms)
		q->ctrl->kato_ms = DISCOVERY_KATO_MS;
	q->ctrl->known_genctr = exports_generation(conn_exports(q->c));
	q->ctrl->known_size = e ? export_size(e) : 0;
	atomic_store(&q->ctrl->seen_ns, conn_now(q->c));
	return q->authed ? attach(q) : NVME_SC_SUCCESS;
}

/* Has the host proved itself by what it is here with, or need it not? */
static bool is_proved(struct nvme_queue *q)
{
	return !conn_nvme_auth(q->c) || nvme_tls_is_generated(q->c);
}

/* In the clear, where that is for generating keys only: no discovery. */
static bool is_too_plain(struct nvme_queue *q)
{
	struct nvme_tls *tls = conn_nvme_tls(q->c);

	return tls && nvme_tls_is_required(tls) && !conn_is_tls(q->c);
}

static uint16_t connect_admin(struct nvme_queue *q, const struct nvme_connect *cmd,
			      const struct nvme_connect_data *who, uint32_t *ret_dw0)
{
	bool discovery = !strcmp(who->subnqn, NVME_DISCOVERY_NQN);
	struct export *e = NULL;
	uint16_t status;

	if (le16toh(who->cntlid) != NVME_CNTLID_DYNAMIC)
		return bad_param(NVME_CONNECT_BAD_DATA(cntlid), ret_dw0);
	if (!discovery)
		e = find_export(q, who->subnqn);
	if (!discovery && !e) {
		conn_warn(q->c, "host %s asks for %s, which is not here", who->hostnqn,
			  who->subnqn);
		return bad_param(NVME_CONNECT_BAD_DATA(subnqn), ret_dw0);
	}
	q->must_concat = e && nvme_concat_is_due(q, who, e);
	if (e ? !q->must_concat && conn_allows(q->c, e) < 0 : is_too_plain(q)) {
		conn_warn(q->c,
			  "host %s asks for %s in the clear, which is served "
			  "with TLS only",
			  who->hostnqn, who->subnqn);
		if (e)
			export_put(e);
		return NVME_SC_CONNECT_HOST | NVME_SC_DNR;
	}
	q->authed = discovery || is_proved(q);
	status = new_ctrl(q, cmd, e, who);
	if (e)
		export_put(e); /* the controller has its own */
	return status;
}

static uint16_t connect_io(struct nvme_queue *q, const struct nvme_connect_data *who,
			   uint32_t *ret_dw0)
{
	uint16_t status = nvme_ctrl_join(who, q->qid, &q->ctrl, ret_dw0);

	if (!status && q->ctrl->encrypted && !conn_is_tls(q->c)) {
		conn_warn(q->c,
			  "host %s wants a queue in the clear for controller %u, which "
			  "came over TLS",
			  who->hostnqn, q->ctrl->cntlid);
		return NVME_SC_CONNECT_HOST | NVME_SC_DNR;
	}
	q->authed = is_proved(q);
	return status || !q->authed ? status : take_up(q);
}

static uint16_t connect_queue(struct nvme_queue *q, const struct nvme_connect *cmd,
			      const struct nvme_connect_data *who, uint32_t *ret_dw0)
{
	uint16_t status = check_connect(q, cmd, who, ret_dw0);

	if (status)
		return status;
	if (nvme_req_alloc(q, (uint16_t)(le16toh(cmd->sqsize) + 1)) < 0)
		return NVME_SC_CONNECT_BUSY;
	q->qid = le16toh(cmd->qid);
	if (q->qid)
		status = connect_io(q, who, ret_dw0);
	else
		status = connect_admin(q, cmd, who, ret_dw0);
	if (status)
		nvme_fabrics_leave(q);
	return status;
}

/* No stranger any more: it is seen by `who`, and has all the time it wants. */
static void welcome(struct nvme_queue *q)
{
	if (q->export)
		conn_bind(q->c, q->export, q->ctrl->hostnqn);
	else
		conn_welcome(q->c);
	if (q->qid)
		conn_limit(q->c);
	else
		conn_info(q->c, "host %s uses %s as controller %u", q->ctrl->hostnqn,
			  q->export ? export_name(q->export) : "discovery",
			  q->ctrl->cntlid);
}

/* The queue is in service, or will be once its host has logged in. */
static void start(struct nvme_queue *q, const struct nvme_connect *cmd)
{
	q->flow = !(cmd->cattr & NVME_CONNECT_NO_SQ_FLOW);
	if (q->qid)
		q->limits.capsule = NVME_CAPSULE;
	if (q->authed)
		welcome(q);
}

/* What the host is to do before anything else (Base 2.1, figure 751). */
static uint32_t authreq(const struct nvme_queue *q)
{
	if (q->authed)
		return 0;
	return q->must_concat ? NVME_CONNECT_AUTHREQ_ASCR : NVME_CONNECT_AUTHREQ_ATR;
}

static void do_connect(struct nvme_queue *q, struct nvme_req *req,
		       const struct nvme_connect *cmd, const uint8_t *data,
		       uint32_t len)
{
	const struct nvme_connect_data *who = (const void *)data;
	uint16_t status;
	uint32_t dw0 = 0;

	if (q->ctrl)
		status = NVME_SC_CMD_SEQ | NVME_SC_DNR;
	else if (cmd->sgl.type != NVME_SGL_IN_CAPSULE)
		status = NVME_SC_SGL_TYPE | NVME_SC_DNR;
	else if (cmd->sgl.addr)
		status = NVME_SC_SGL_OFFSET | NVME_SC_DNR;
	else if (le32toh(cmd->sgl.len) != sizeof(*who) || len != sizeof(*who))
		status = NVME_SC_SGL_LEN | NVME_SC_DNR;
	else
		status = connect_queue(q, cmd, who, &dw0);
	if (status) {
		nvme_req_complete(q, req, status, dw0, 0);
		return;
	}
	start(q, cmd);
	nvme_req_complete(q, req, NVME_SC_SUCCESS, q->ctrl->cntlid | authreq(q), 0);
}

uint16_t nvme_fabrics_admit(struct nvme_queue *q)
{
	uint16_t status;

	if (q->authed)
		return NVME_SC_SUCCESS;
	status = take_up(q);
	if (status)
		return status;
	q->authed = true;
	welcome(q);
	return NVME_SC_SUCCESS;
}

/* True for a property of `size` bytes at that offset. */
static bool read_property(struct nvme_queue *q, uint32_t offset, uint32_t size,
			  uint64_t *ret_value)
{
	if (size == 8 && offset == NVME_PROP_CAP)
		*ret_value = nvme_ctrl_cap();
	else if (size == 4 && offset == NVME_PROP_VS)
		*ret_value = NVME_VS_1_4;
	else if (size == 4 && offset == NVME_PROP_CC)
		*ret_value = nvme_ctrl_cc(q->ctrl);
	else if (size == 4 && offset == NVME_PROP_CSTS)
		*ret_value = nvme_ctrl_csts(q->ctrl);
	else
		return false;
	return true;
}

static void property_get(struct nvme_queue *q, struct nvme_req *req,
			 const struct nvme_property *cmd)
{
	uint32_t size = cmd->attrib & 7 ? 8 : 4;
	uint64_t value;

	if (cmd->attrib > 1 || !read_property(q, le32toh(cmd->offset), size, &value))
		nvme_req_fail(q, req, NVME_SC_INVALID_FIELD);
	else
		nvme_req_complete(q, req, NVME_SC_SUCCESS, (uint32_t)value,
				  (uint32_t)(value >> 32));
}

static void property_set(struct nvme_queue *q, struct nvme_req *req,
			 const struct nvme_property *cmd)
{
	bool disabled;

	if (le32toh(cmd->offset) != NVME_PROP_CC || cmd->attrib & 7) {
		nvme_req_fail(q, req, NVME_SC_INVALID_FIELD);
		return;
	}
	nvme_ctrl_set_cc(q->ctrl, (uint32_t)le64toh(cmd->value), &disabled);
	if (disabled)
		nvme_admin_reset(q);
	nvme_req_complete(q, req, NVME_SC_SUCCESS, 0, 0);
}

static int disconnect(struct nvme_queue *q, struct nvme_req *req,
		      const struct nvme_cmd *cmd)
{
	if (le32toh(cmd->cdw10) & 0xffff) { /* record format */
		nvme_req_fail(q, req, NVME_SC_CONNECT_FORMAT);
		return 0;
	}
	if (!q->qid) {
		nvme_req_fail(q, req, NVME_SC_QUEUE_TYPE);
		return 0;
	}
	nvme_ctrl_vacate(q->ctrl, q->qid, q->c);
	nvme_req_complete(q, req, NVME_SC_SUCCESS, 0, 0);
	return -ESHUTDOWN;
}

static bool can_log_in(const struct nvme_queue *q)
{
	return conn_nvme_auth(q->c) && !q->ctrl->discovery;
}

int nvme_fabrics_command(struct nvme_queue *q, struct nvme_req *req,
			 const struct nvme_cmd *cmd, const uint8_t *data, uint32_t len)
{
	uint8_t fctype = le32toh(cmd->nsid) & 0xff;

	req->tx.arrived_ns = 0; /* no I/O: not counted */
	if (fctype == NVME_FC_CONNECT)
		do_connect(q, req, (const void *)cmd, data, len);
	else if (!q->ctrl)
		nvme_req_fail(q, req, NVME_SC_CMD_SEQ);
	else if (fctype == NVME_FC_AUTH_SEND && can_log_in(q))
		return nvme_login_send(q, req, (const void *)cmd, data, len);
	else if (fctype == NVME_FC_AUTH_RECV && can_log_in(q))
		return nvme_login_receive(q, req, (const void *)cmd);
	else if (!q->authed)
		nvme_req_fail(q, req, NVME_SC_AUTH_REQUIRED);
	else if (fctype == NVME_FC_DISCONNECT)
		return disconnect(q, req, cmd);
	else if (fctype == NVME_FC_PROPERTY_GET && !q->qid)
		property_get(q, req, (const void *)cmd);
	else if (fctype == NVME_FC_PROPERTY_SET && !q->qid)
		property_set(q, req, (const void *)cmd);
	else
		nvme_req_fail(q, req, NVME_SC_INVALID_OPCODE);
	return 0;
}

void nvme_fabrics_leave(struct nvme_queue *q)
{
	nvme_login_leave(q);
	if (q->export)
		export_detach(q->export);
	q->export = NULL;
	if (q->ctrl)
		nvme_ctrl_leave(q->ctrl, q->qid, q->c);
	q->ctrl = NULL;
	q->qid = 0;
	nvme_req_free_all(q);
}
