/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The discovery log page (Base 2.0, 5.16.1.23): the register of exports in, one record
 * each out, with the address by which the host has reached us and the port of the NVMe
 * door there. Hosts that may not use the exports have been refused at Connect. On the
 * worker of the discovery controller's queue.
 */
#include <endian.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "memserver/exports.h"
#include "memserver/nvme/auth.h"
#include "memserver/nvme/identify.h"
#include "memserver/nvme/logpage.h"
#include "memserver/nvme/tls.h"

struct page {
	struct nvme_window *w;
	struct nvme_auth *auth; /* NULL: all hosts may use all exports */
	struct nvme_tls *tls;   /* NULL: there is none */
	bool encrypted;         /* the host is here over TLS */
	const char *hostnqn;
	uint64_t nr; /* records so far */
	char addr[64];
	uint16_t port;
	int family;
};

/* May, must or cannot the host begin with TLS there? (Whose login generates the key begins
 * in the clear.) */
static void put_security(struct nvme_discovery_entry *r, const struct page *p,
			 const struct export *e)
{
	/* Not "not required" in the clear: libnvme takes that as a wish for TLS. */
	unsigned int treq = NVME_TREQ_NOT_SPECIFIED;

	if (p->tls && nvme_tls_has_file(p->tls)) {
		r->tsas[0] = NVME_SECTYPE_TLS13;
		if (nvme_tls_is_required(p->tls) || export_needs_tls(e))
			treq = NVME_TREQ_REQUIRED;
		else if (p->encrypted)
			treq = NVME_TREQ_NOT_REQUIRED;
	}
	r->treq = (uint8_t)(treq | NVME_TREQ_NO_SQ_FLOW);
}

static int put_record(struct export *e, void *arg)
{
	struct page *p = arg;
	char port[8];
	struct nvme_discovery_entry r = {
		.trtype = NVME_TRTYPE_TCP,
		.adrfam = p->family == AF_INET6 ? NVME_ADRFAM_IPV6 : NVME_ADRFAM_IPV4,
		.subtype = NVME_SUBTYPE_NVME,
		.portid = htole16(1),
		.cntlid = htole16(NVME_CNTLID_DYNAMIC),
		.asqsz = htole16(NVME_ADMIN_SIZE),
	};

	if (p->auth && !nvme_auth_allows(p->auth, p->hostnqn, export_name(e)))
		return 0;
	if (p->encrypted && !nvme_tls_allows(p->tls, p->hostnqn, export_name(e)))
		return 0;
	put_security(&r, p, e);
	snprintf(port, sizeof(port), "%u", p->port);
	nvme_identify_text(r.trsvcid, sizeof(r.trsvcid), port);
	nvme_identify_text(r.traddr, sizeof(r.traddr), p->addr);
	snprintf(r.subnqn, sizeof(r.subnqn), NVME_SUBNQN_PREFIX "%s", export_name(e));
	nvme_window_put(p->w, (p->nr + 1) * sizeof(r), &r, sizeof(r));
	p->nr++;
	return 0;
}

void nvme_discovery_read(struct nvme_queue *q, struct nvme_window *w)
{
	struct exports *x = conn_exports(q->c);
	struct page p = { .w = w,
			  .auth = conn_nvme_auth(q->c),
			  .tls = conn_nvme_tls(q->c),
			  .encrypted = conn_is_tls(q->c),
			  .hostnqn = q->ctrl->hostnqn };
	struct nvme_discovery_hdr h = { .genctr = htole64(exports_generation(x)) };

	/* Without an NVMe door there is nothing to be had. */
	if (conn_local(q->c, p.addr, sizeof(p.addr), &p.port, &p.family) == 0 && p.port)
		exports_each(x, put_record, &p);
	h.numrec = htole64(p.nr);
	nvme_window_put(w, 0, &h, sizeof(h));
}
