/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The server's metrics at an address; the text is made on the HTTP daemon's thread. */
#include "memserver/metrics.h"

#include "lib/httpd.h"
#include "memserver/acl.h"
#include "memserver/server.h"

static char *text_of(void *arg, size_t *ret_len)
{
	return metrics_text(arg, ret_len);
}

static bool allows(void *arg, const struct sockaddr *sa)
{
	const struct server *s = arg;

	return acl_allows_address(s->cfg.acl, sa);
}

int metrics_listen(struct server *s)
{
	const struct httpd_cfg cfg = {
		.addr = s->cfg.metrics,
		.own_thread = true,
		.text = text_of,
		.allows = allows,
		.arg = s,
	};

	return s->cfg.metrics_on ? httpd_listen(&cfg, &s->metrics) : 0;
}

int metrics_start(struct server *s)
{
	return s->metrics ? httpd_serve(s->metrics) : 0;
}

void metrics_stop(struct server *s)
{
	httpd_stop(s->metrics);
	s->metrics = NULL;
}
