/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a host asks for and how its connection stands in; the rule, and keys that are
 * kept, out. The rules are those of Base 2.1, figure 753, and of Linux's target; two are
 * stricter than that one's: a queue that serves in the clear already does not
 * concatenate, and what is replaced is a generated key, not one of the file.
 */
#include "memserver/nvme/concat.h"

#include "memserver/nvme/auth.h"
#include "memserver/nvme/queue.h"
#include "memserver/nvme/tls.h"

bool nvme_concat_is_due(struct nvme_queue *q, const struct nvme_connect_data *who,
			const struct export *e)
{
	struct nvme_auth *auth = conn_nvme_auth(q->c);
	struct nvme_tls *tls = conn_nvme_tls(q->c);

	if (!auth || !tls || !nvme_tls_has_concat(tls) || conn_is_tls(q->c))
		return false;
	return nvme_tls_is_required(tls) || export_needs_tls(e) ||
	       nvme_auth_needs_concat(auth, who->hostnqn, export_name(e));
}

static uint8_t mismatch(const char *why, const char **ret_why)
{
	*ret_why = why;
	return NVME_AUTH_CONCAT_MISMATCH;
}

uint8_t nvme_concat_check(const struct nvme_queue *q, uint8_t sc_c,
			  const char **ret_why)
{
	if (sc_c == NVME_AUTH_NOSC && q->concatenated)
		return mismatch("it has generated a key for TLS and is to use it",
				ret_why);
	if (sc_c == NVME_AUTH_NOSC && q->must_concat)
		return mismatch(
			"in the clear it is not served: it has to use TLS (nvme "
			"connect --concat)",
			ret_why);
	if (sc_c == NVME_AUTH_NOSC)
		return 0;
	if (q->qid)
		return mismatch("only an admin queue generates keys", ret_why);
	if (sc_c == NVME_AUTH_REPLACETLSPSK)
		return nvme_tls_is_generated(q->c)
			       ? 0
			       : mismatch("there is no generated key to replace",
					  ret_why);
	if (conn_is_tls(q->c))
		return mismatch("it is here over TLS already", ret_why);
	return q->authed ? mismatch("its queue serves in the clear already", ret_why)
			 : 0;
}

bool nvme_concat_done(struct nvme_queue *q, uint8_t sc_c,
		      const struct nvme_generated_key *key)
{
	bool replaces = sc_c == NVME_AUTH_REPLACETLSPSK;

	nvme_tls_keep(conn_nvme_tls(q->c), key, replaces);
	if (replaces)
		return false;
	q->concatenated = true;
	q->concat_ns = conn_now(q->c);
	return true;
}
