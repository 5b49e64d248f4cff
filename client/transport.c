/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A URL's scheme in, the transport that serves it out. Main thread. */
#include "client/transport.h"

const struct transport *transport_of(const struct url *u)
{
	switch (u->scheme) {
	case URL_NVME_TCP:
		return &transport_nvme;
	case URL_ISCSI:
		return &transport_iscsi;
	default:
		return &transport_nbd;
	}
}

int transport_rearm(struct attachment *a)
{
	const struct transport *t = transport_of(&a->url);
	struct transport_status s;
	int r;

	t->status(a, &s);
	if (s.state == TRANSPORT_DEAD || !s.connections || s.keeper)
		return 0;
	r = t->arm(a);
	return r ? r : 1;
}

const char *transport_state_name(enum transport_state s)
{
	static const char *const names[] = { "live", "connecting", "dead" };

	return names[s];
}
