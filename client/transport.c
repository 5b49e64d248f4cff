/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A URL's scheme in, the transport that serves it out. Any thread. */
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

const char *transport_state_name(enum transport_state s)
{
	static const char *const names[] = { "live", "connecting", "dead" };

	return names[s];
}
