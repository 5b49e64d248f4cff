/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Authentication commands in, answers and in the end a queue in service out. What is to
 * be computed is given to the auth thread (auth.h); between give and done the task's
 * part of a login is the thread's, the rest is the worker's.
 */
#include "memserver/nvme/login.h"

#include <endian.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "lib/dhchap.h"
#include "memserver/nvme/auth.h"
#include "memserver/nvme/concat.h"
#include "memserver/nvme/fabrics.h"
#include "memserver/nvme/generated.h"

#define SECOND     UINT64_C(1000000000)
#define LOGIN_TIME (60 * SECOND) /* ffdhe8192 is slow on a small host */
#define AL_MAX     8192u         /* most that a Receive may ask for */

/* To end a connection that has a key for another one. */
#define CONCAT_TIME (20 * SECOND)

/*
 * Whose turn it is:
 *   NEGOTIATE  the host's: AUTH_Negotiate
 *   CHALLENGE  ours, when it is made: the host receives it
 *   REPLY      the host's: Reply, or AUTH_Failure2
 *   SUCCESS1   ours, when the reply has been checked
 *   SUCCESS2   the host's: Success2, or AUTH_Failure2
 *   FAILURE1   ours: AUTH_Failure1, and then the end
 */
enum step { NEGOTIATE, CHALLENGE, REPLY, SUCCESS1, SUCCESS2, FAILURE1, STEP_NR };

static const char *const step_names[STEP_NR] = {
	"awaiting AUTH_Negotiate", "making the challenge", "awaiting the reply",
	"checking the reply",      "awaiting Success2",    "about to fail",
};

struct nvme_login {
	struct nvme_auth_task task; /* first */
	enum step step;
	uint8_t explanation; /* for FAILURE1 */
	uint64_t since_ns;
	uint16_t t_id;
	uint8_t sc_c, hash, group;
	char hostnqn[NVME_NQN_FIELD], subnqn[NVME_NQN_FIELD];

	/* The task's. */
	const char *export;          /* within subnqn */
	struct nvme_auth_keys *keys; /* a reference */
	struct dhchap_dh *dh;        /* owned; NULL: the null group */
	uint32_t s1, s2;
	bool challenged; /* there is a c2, */
	bool mutual;     /* which we are to answer */
	uint8_t c1[NVME_DHCHAP_HASH_MAX], c2[NVME_DHCHAP_HASH_MAX];
	uint8_t response[NVME_DHCHAP_HASH_MAX]; /* the host's, then ours */
	uint8_t value[NVME_DHCHAP_DH_MAX];      /* ours, then the host's */
	struct nvme_generated_key key;          /* with sc_c */
	uint8_t result;                         /* an explanation; 0: good */
	const char *why;                        /* static text for the log */
};

static void free_login(struct nvme_auth_task *t)
{
	struct nvme_login *l = (struct nvme_login *)t;

	nvme_auth_keys_put(l->keys);
	dhchap_dh_free(l->dh);
	OPENSSL_cleanse(l, sizeof(*l));
	free(l);
}

static struct nvme_auth *auth_of(struct nvme_queue *q)
{
	return conn_nvme_auth(q->c);
}

static struct nvme_login *new_login(struct nvme_queue *q)
{
	struct nvme_login *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	nvme_auth_task_init(&l->task, q->c);
	l->task.free = free_login;
	l->since_ns = conn_now(q->c);
	memcpy(l->hostnqn, q->ctrl->hostnqn, sizeof(l->hostnqn));
	memcpy(l->subnqn, q->ctrl->subnqn, sizeof(l->subnqn));
	l->export = l->subnqn + sizeof(NVME_SUBNQN_PREFIX) - 1;
	return l;
}

void nvme_login_leave(struct nvme_queue *q)
{
	if (q->login)
		nvme_auth_drop(auth_of(q), &q->login->task);
	q->login = NULL;
	q->auth_req = NULL;
}

/* ---- on the auth thread ---- */

static void spoil(struct nvme_login *l, uint8_t explanation, const char *why)
{
	l->result = explanation;
	l->why = why;
}

static void make_challenge(struct nvme_auth_task *t)
{
	struct nvme_login *l = (struct nvme_login *)t;
	int r = dhchap_random(l->c1, dhchap_hash_len(l->hash));

	while (!r && !l->s1)
		r = dhchap_random(&l->s1, sizeof(l->s1));
	if (!r && dhchap_group_len(l->group))
		r = dhchap_dh_new(l->group, &l->dh, l->value);
	if (r < 0)
		spoil(l, NVME_AUTH_FAILED, "OpenSSL failed");
}

/* Makes the challenges those that the responses are about; of the ones that were sent, a
 * key for TLS. */
static int augment_both(struct nvme_login *l)
{
	uint8_t ks[NVME_DHCHAP_HASH_MAX];
	int r;

	if (!l->dh)
		return 0;
	r = dhchap_dh_session(l->dh, l->hash, l->value, dhchap_group_len(l->group), ks);
	if (!r && l->sc_c)
		r = nvme_generated_make(l->hash, ks, l->c1, l->c2, l->hostnqn,
					l->subnqn, &l->key);
	if (!r)
		r = dhchap_augment(l->hash, ks, l->c1, l->c1);
	if (!r && l->mutual)
		r = dhchap_augment(l->hash, ks, l->c2, l->c2);
	OPENSSL_cleanse(ks, sizeof(ks));
	return r;
}

/* The line of the table whose secret the host has shown to know, or NULL. */
static const struct nvme_auth_host *prover(struct nvme_login *l)
{
	struct dhchap_claim claim = { .hash = l->hash,
				      .challenge = l->c1,
				      .seqnum = l->s1,
				      .t_id = l->t_id,
				      .sc_c = l->sc_c,
				      .role = "HostHost",
				      .prover = l->hostnqn,
				      .peer = l->subnqn };
	const struct nvme_auth_host *h = NULL;
	uint8_t want[NVME_DHCHAP_HASH_MAX];

	while ((h = nvme_auth_keys_find(l->keys, h, l->hostnqn, l->export)) != NULL)
		if (!dhchap_respond(&h->key, &claim, want) &&
		    !CRYPTO_memcmp(want, l->response, dhchap_hash_len(l->hash)))
			break;
	OPENSSL_cleanse(want, sizeof(want));
	return h;
}

static void prove_ourselves(struct nvme_login *l, const struct nvme_auth_host *h)
{
	struct dhchap_claim claim = { .hash = l->hash,
				      .challenge = l->c2,
				      .seqnum = l->s2,
				      .t_id = l->t_id,
				      .sc_c = l->sc_c,
				      .role = "Controller",
				      .prover = l->subnqn,
				      .peer = l->hostnqn };

	if (!h->has_controller)
		spoil(l, NVME_AUTH_FAILED,
		      "it wants our proof, and its line has no controller=");
	else if (dhchap_respond(&h->controller, &claim, l->response) < 0)
		spoil(l, NVME_AUTH_FAILED, "OpenSSL failed");
}

static void check_reply(struct nvme_auth_task *t)
{
	struct nvme_login *l = (struct nvme_login *)t;
	const struct nvme_auth_host *h;
	int r;

	if (l->challenged && !memcmp(l->c1, l->c2, dhchap_hash_len(l->hash))) {
		spoil(l, NVME_AUTH_FAILED, "it sent our own challenge back");
		return;
	}
	r = augment_both(l);
	if (r < 0) {
		spoil(l, r == -EPROTO ? NVME_AUTH_BAD_PAYLOAD : NVME_AUTH_FAILED,
		      r == -EPROTO ? "its DH value is none of the group"
				   : "OpenSSL failed");
		return;
	}
	h = prover(l);
	if (!h)
		spoil(l, NVME_AUTH_FAILED, "its key is not the one of the file");
	else if (l->mutual)
		prove_ourselves(l, h);
}

/* ---- failing ---- */

static int answer(struct nvme_queue *q);

static void say_failed(struct nvme_queue *q, uint8_t explanation, const char *why)
{
	nvme_auth_count_failed(auth_of(q), explanation);
	conn_warn_within(q->c, nvme_auth_log_limit(auth_of(q)),
			 "host %s: login to %s failed: %s%s%s", q->ctrl->hostnqn,
			 q->ctrl->subnqn, nvme_auth_explain(explanation),
			 why ? ": " : "", why ? why : "");
}

/* The host may fetch the reason; a request that already waits for it gets it. */
static int fail(struct nvme_queue *q, uint8_t explanation, const char *why)
{
	struct nvme_login *l = q->login;

	say_failed(q, explanation, why);
	l->step = FAILURE1;
	l->explanation = explanation;
	return q->auth_req ? answer(q) : 0;
}

/* A command that is none: its status, and the end. */
static int broken(struct nvme_queue *q, struct nvme_req *req, uint16_t status,
		  const char *why)
{
	say_failed(q, NVME_AUTH_BAD_PAYLOAD, why);
	nvme_req_fail(q, req, status);
	return -EPROTO;
}

/* ---- what the host sends ---- */

static uint8_t take_negotiate(struct nvme_queue *q, const uint8_t *p, uint32_t len)
{
	const struct nvme_auth_prefs *prefs = nvme_auth_prefs(auth_of(q));
	struct nvme_login *l = q->login;
	struct nvme_auth_choice choice;
	uint8_t bad = nvme_auth_read_negotiate(p, len, prefs, &choice);

	if (bad == NVME_AUTH_CONCAT_MISMATCH)
		l->why = prefs->concat ? "its SC_C is none that there is, or it offers "
					 "no DH group"
				       : "--nvme-concat is off";
	if (!bad)
		bad = nvme_concat_check(q, choice.sc_c, &l->why);
	if (bad)
		return bad;
	l->sc_c = choice.sc_c;
	l->hash = choice.hash;
	l->group = choice.group;
	if (!q->authed)
		conn_welcome(q->c); /* from here on LOGIN_TIME bounds it */
	l->step = CHALLENGE;
	l->task.run = make_challenge;
	nvme_auth_give(auth_of(q), &l->task);
	return 0;
}

static uint8_t take_reply(struct nvme_queue *q, const uint8_t *p, uint32_t len)
{
	struct nvme_login *l = q->login;
	size_t hl = dhchap_hash_len(l->hash), dhvlen = dhchap_group_len(l->group);
	struct nvme_auth_answer a;
	uint8_t bad = nvme_auth_read_reply(p, len, hl, dhvlen, l->sc_c, &a);

	if (bad)
		return bad;
	memcpy(l->response, a.response, hl);
	memcpy(l->value, a.value, dhvlen);
	l->challenged = a.challenge != NULL;
	l->mutual = l->challenged && a.seqnum;
	if (l->challenged)
		memcpy(l->c2, a.challenge, hl);
	l->s2 = a.seqnum;
	l->keys = nvme_auth_keys(auth_of(q));
	l->step = SUCCESS1;
	l->task.run = check_reply;
	nvme_auth_give(auth_of(q), &l->task);
	return 0;
}

/* The host is who it says: into service with the queue, if it is not yet, or is to be
 * one over TLS. */
static int accept_host(struct nvme_queue *q)
{
	struct nvme_login *l = q->login;
	bool again = q->authed;
	bool comes_back = l->sc_c && nvme_concat_done(q, l->sc_c, &l->key);

	if (!comes_back && nvme_fabrics_admit(q)) {
		say_failed(q, NVME_AUTH_FAILED, "the export is gone or busy");
		return -ESHUTDOWN;
	}
	nvme_auth_count_accepted(auth_of(q));
	if (!q->qid)
		conn_info(q->c, "host %s %s itself%s by %s and %s%s", l->hostnqn,
			  again ? "proved again" : "proved",
			  l->mutual ? ", and we ourselves," : "",
			  dhchap_hash_name(l->hash), dhchap_group_name(l->group),
			  comes_back ? ": it has a key to come back over TLS"
			  : l->sc_c  ? ": it has another key for TLS"
				     : "");
	return 0;
}

static int take_success2(struct nvme_queue *q, const uint8_t *p, uint32_t len)
{
	uint8_t bad = nvme_auth_read_success2(p, len);
	int r;

	if (bad)
		return fail(q, bad, NULL);
	r = accept_host(q);
	nvme_login_leave(q);
	return r;
}

static int take_failure2(struct nvme_queue *q, const uint8_t *p, uint32_t len)
{
	nvme_auth_count_failed(auth_of(q), 0);
	conn_warn_within(q->c, nvme_auth_log_limit(auth_of(q)),
			 "host %s gives up its login to %s: %s", q->ctrl->hostnqn,
			 q->ctrl->subnqn,
			 nvme_auth_explain(nvme_auth_read_failure2(p, len)));
	return -ESHUTDOWN;
}

/* Does the message fit the step, and the transaction? */
static uint8_t check_turn(const struct nvme_login *l, const struct nvme_auth_hdr *h)
{
	static const struct {
		enum step step;
		uint8_t type, id;
	} turns[] = {
		{ NEGOTIATE, NVME_AUTH_COMMON, NVME_AUTH_NEGOTIATE },
		{ REPLY, NVME_AUTH_DHCHAP, NVME_AUTH_REPLY },
		{ REPLY, NVME_AUTH_COMMON, NVME_AUTH_FAILURE2 },
		{ SUCCESS2, NVME_AUTH_DHCHAP, NVME_AUTH_SUCCESS2 },
		{ SUCCESS2, NVME_AUTH_COMMON, NVME_AUTH_FAILURE2 },
	};

	for (size_t i = 0; i < sizeof(turns) / sizeof(turns[0]); i++)
		if (turns[i].step == l->step && turns[i].type == h->type &&
		    turns[i].id == h->id)
			return l->step == NEGOTIATE || le16toh(h->t_id) == l->t_id
				       ? 0
				       : NVME_AUTH_BAD_PAYLOAD;
	return NVME_AUTH_BAD_MESSAGE;
}

static int take(struct nvme_queue *q, const uint8_t *p, uint32_t len)
{
	struct nvme_login *l = q->login;
	struct nvme_auth_hdr h;
	uint8_t bad = nvme_auth_read_hdr(p, len, &h);

	if (l->step == FAILURE1)
		return -EPROTO; /* told already */
	if (!bad && l->step == NEGOTIATE)
		l->t_id = le16toh(h.t_id);
	if (!bad)
		bad = check_turn(l, &h);
	if (bad)
		return fail(q, bad, step_names[l->step]);
	if (h.id == NVME_AUTH_FAILURE2)
		return take_failure2(q, p, len);
	if (h.id == NVME_AUTH_SUCCESS2)
		return take_success2(q, p, len);
	bad = h.id == NVME_AUTH_REPLY ? take_reply(q, p, len)
				      : take_negotiate(q, p, len);
	return bad ? fail(q, bad, l->why) : 0;
}

static bool is_dhchap(const struct nvme_auth_cmd *cmd)
{
	return cmd->secp == NVME_AUTH_SECP && cmd->spsp0 == NVME_AUTH_SPSP &&
	       cmd->spsp1 == NVME_AUTH_SPSP;
}

int nvme_login_send(struct nvme_queue *q, struct nvme_req *req,
		    const struct nvme_auth_cmd *cmd, const uint8_t *data, uint32_t len)
{
	if (!is_dhchap(cmd))
		return broken(q, req, NVME_SC_INVALID_FIELD,
			      "Send for another security protocol");
	if (cmd->sgl.type != NVME_SGL_IN_CAPSULE || cmd->sgl.addr)
		return broken(q, req, NVME_SC_SGL_TYPE, "Send without in-capsule data");
	if (!len || len > NVME_AUTH_MSG_MAX || le32toh(cmd->len) != len ||
	    le32toh(cmd->sgl.len) != len)
		return broken(q, req, NVME_SC_SGL_LEN, "Send's length");
	if (!q->login)
		q->login = new_login(q);
	if (!q->login) {
		nvme_req_fail(q, req, NVME_SC_INTERNAL);
		return -ENOMEM;
	}
	nvme_req_complete(q, req, NVME_SC_SUCCESS, 0, 0);
	return take(q, data, len);
}

/* ---- what the host receives ---- */

/* Answers the request that waits with a message; what is left of its room is zeros. */
static int put(struct nvme_queue *q, const uint8_t *msg, uint32_t len)
{
	struct nvme_req *req = q->auth_req;

	q->auth_req = NULL;
	if (len > req->len)
		return broken(q, req, NVME_SC_INVALID_FIELD,
			      "Receive is too short for the message");
	req->buf = calloc(1, req->len);
	if (!req->buf) {
		nvme_req_fail(q, req, NVME_SC_INTERNAL);
		return -ENOMEM;
	}
	memcpy(req->buf, msg, len);
	nvme_req_complete_data(q, req);
	return 0;
}

static int put_challenge(struct nvme_queue *q)
{
	struct nvme_login *l = q->login;
	uint8_t msg[NVME_AUTH_MSG_MAX];

	l->step = REPLY;
	return put(q, msg,
		   nvme_auth_put_challenge(msg, l->t_id, l->hash, l->c1,
					   dhchap_hash_len(l->hash), l->group, l->value,
					   dhchap_group_len(l->group), l->s1));
}

static int put_failure1(struct nvme_queue *q)
{
	struct nvme_login *l = q->login;
	uint8_t msg[NVME_AUTH_MSG_MAX];

	put(q, msg, nvme_auth_put_failure1(msg, l->t_id, l->explanation));
	return -ESHUTDOWN;
}

static int put_success1(struct nvme_queue *q)
{
	struct nvme_login *l = q->login;
	uint8_t msg[NVME_AUTH_MSG_MAX];
	uint32_t len = nvme_auth_put_success1(msg, l->t_id, dhchap_hash_len(l->hash),
					      l->mutual ? l->response : NULL);
	int r;

	l->step = SUCCESS2;
	if (l->mutual)
		return put(q, msg, len);
	r = accept_host(q);
	if (r < 0) {
		l->explanation = NVME_AUTH_FAILED;
		return put_failure1(q);
	}
	r = put(q, msg, len);
	nvme_login_leave(q);
	return r;
}

/* Answers the request that waits, if there is an answer by now. */
static int answer(struct nvme_queue *q)
{
	struct nvme_login *l = q->login;

	if (l->step == FAILURE1)
		return put_failure1(q);
	if (!nvme_auth_done(&l->task))
		return 0;
	if (l->result)
		return fail(q, l->result, l->why);
	return l->step == CHALLENGE ? put_challenge(q) : put_success1(q);
}

int nvme_login_receive(struct nvme_queue *q, struct nvme_req *req,
		       const struct nvme_auth_cmd *cmd)
{
	uint32_t al = le32toh(cmd->len);

	if (!is_dhchap(cmd))
		return broken(q, req, NVME_SC_INVALID_FIELD,
			      "Receive for another security protocol");
	if (cmd->sgl.type != NVME_SGL_TRANSPORT)
		return broken(q, req, NVME_SC_SGL_TYPE, "Receive's data pointer");
	if (al < sizeof(struct nvme_auth_success1) || al > AL_MAX ||
	    le32toh(cmd->sgl.len) != al)
		return broken(q, req, NVME_SC_SGL_LEN, "Receive's length");
	if (q->auth_req || (!q->login && !(q->login = new_login(q))))
		return broken(q, req, NVME_SC_CMD_SEQ, "a second Receive");
	req->len = al;
	req->state = NVME_REQ_HELD;
	q->auth_req = req;
	if (q->login->step == NEGOTIATE || q->login->step == REPLY ||
	    q->login->step == SUCCESS2)
		return fail(q, NVME_AUTH_BAD_MESSAGE, step_names[q->login->step]);
	return answer(q);
}

int nvme_login_tick(struct nvme_queue *q, uint64_t now_ns)
{
	if (!q->login)
		return q->concatenated && now_ns > q->concat_ns + CONCAT_TIME
			       ? -ETIMEDOUT
			       : 0;
	if (now_ns > q->login->since_ns + LOGIN_TIME) {
		say_failed(q, NVME_AUTH_FAILED, "it takes longer than a minute");
		return -ETIMEDOUT;
	}
	return q->auth_req ? answer(q) : 0;
}
