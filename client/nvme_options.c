/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options in, one line of text for the kernel out. Pure; any thread. */
#include "client/nvme_options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PREFIX "nqn.2026-11.io.remem:"

#define RECONNECT_DELAY_S 2
/* As long as the kernel waits for a request. Once it takes a stall for a dead server it
 * queues what is swapped out at the multipath head, without any bound (Linux 6.1,
 * drivers/nvme/host/multipath.c), and a small cgroup ends in its OOM killer. A server that
 * is gone resets the connection: that is noticed at once. */
#define KEEP_ALIVE_S 30

static bool is_value(const char *text)
{
	return text && *text && !strpbrk(text, ",\n");
}

/* ",NAME=SECRET", or nothing. */
static int add_secret(char *buf, size_t len, const char *name, const char *secret)
{
	if (!secret || !*secret)
		return 0;
	if (!is_value(secret))
		return -EINVAL;
	return snprintf(buf, len, ",%s=%s", name, secret) < (int)len ? 0
								     : -ENAMETOOLONG;
}

/* ",concat"; or ",tls", and the key if it is known. */
static int add_tls(char *buf, size_t len, const struct nvme_options *o)
{
	char key[32] = "";

	if (o->concat)
		return snprintf(buf, len, ",concat") < (int)len ? 0 : -ENAMETOOLONG;
	if (!o->tls)
		return 0;
	if (o->tls_key)
		snprintf(key, sizeof(key), ",tls_key=%d", o->tls_key);
	return snprintf(buf, len, ",tls%s", key) < (int)len ? 0 : -ENAMETOOLONG;
}

int nvme_options_format(const struct nvme_options *o, char *buf, size_t len)
{
	bool discovery = !strcmp(o->nqn, NVME_OPTIONS_DISCOVERY);
	char queues[64] = "", swap[128] = "";
	int n = 0, r;

	if (!is_value(o->traddr) || !is_value(o->nqn) || !is_value(o->hostnqn) ||
	    !is_value(o->hostid))
		return -EINVAL;
	if (strlen(o->nqn) > NVME_OPTIONS_NQN_MAX ||
	    strlen(o->hostnqn) > NVME_OPTIONS_NQN_MAX)
		return -ENAMETOOLONG;
	if (o->nr_io_queues)
		n = snprintf(queues, sizeof(queues), ",nr_io_queues=%u",
			     o->nr_io_queues);
	if (o->queue_size)
		snprintf(queues + n, sizeof(queues) - (size_t)n, ",queue_size=%u",
			 o->queue_size);
	if (!discovery)
		snprintf(swap, sizeof(swap),
			 ",ctrl_loss_tmo=-1,reconnect_delay=%d,keep_alive_tmo=%d",
			 RECONNECT_DELAY_S, KEEP_ALIVE_S);
	n = snprintf(buf, len,
		     "transport=tcp,traddr=%s,trsvcid=%u,nqn=%s,hostnqn=%s,hostid=%s"
		     "%s%s%s%s",
		     o->traddr, o->port, o->nqn, o->hostnqn, o->hostid, swap,
		     discovery ? "" : queues,
		     o->hdr_digest && !discovery ? ",hdr_digest" : "",
		     o->data_digest && !discovery ? ",data_digest" : "");
	if (n < 0 || (size_t)n >= len)
		return -ENAMETOOLONG;
	if (discovery) /* memserver's asks nobody */
		return 0;
	r = add_tls(buf + n, len - (size_t)n, o);
	n += (int)strlen(buf + n);
	if (!r)
		r = add_secret(buf + n, len - (size_t)n, "dhchap_secret", o->secret);
	n += (int)strlen(buf + n);
	if (!r)
		r = add_secret(buf + n, len - (size_t)n, "dhchap_ctrl_secret",
			       o->ctrl_secret);
	return r;
}

int nvme_options_nqn(const char *name, char *buf, size_t len)
{
	bool whole = !strncmp(name, "nqn.", 4);
	int n = snprintf(buf, len, "%s%s", whole ? "" : PREFIX, name);

	if (n < 0 || (size_t)n >= len || n > NVME_OPTIONS_NQN_MAX)
		return -ENAMETOOLONG;
	return strpbrk(buf, ", \t\n") ? -EINVAL : 0;
}

int nvme_options_instance(const char *answer, unsigned int *ret_instance)
{
	unsigned int instance, cntlid;

	if (sscanf(answer, "instance=%u,cntlid=%u", &instance, &cntlid) != 2)
		return -EPROTO;
	*ret_instance = instance;
	return 0;
}
