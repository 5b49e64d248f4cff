/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Paths in; today's TLS context and list of clients out. */
#include "memserver/secure.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/secret.h"
#include "memserver/tls_clients.h"

#define SOON (14 * 24 * 3600) /* a certificate that ends within this is told of */

struct secure {
	const struct secure_cfg *cfg;
	pthread_mutex_t lock; /* guards all below */
	struct tls *tls;
	struct tls_clients clients; /* views into text */
	char *text;                 /* owned; NULL: no list */
	size_t text_len;
};

static int load_clients(const char *path, struct tls_clients *c, char **ret_text,
			size_t *ret_len, char *error)
{
	const char *why = "";
	unsigned int line;
	int r = secret_read(path, true, ret_text, ret_len, error);

	if (r < 0)
		return r;
	r = tls_clients_parse(*ret_text, *ret_len, c, &line, &why);
	if (r < 0) {
		snprintf(error, TLS_ERROR_MAX, "%.200s:%u: %s", path, line, why);
		secret_free(*ret_text, *ret_len);
	}
	return r;
}

static void warn_of_end(const struct secure *s)
{
	time_t end = tls_expires(s->tls), now = time(NULL);

	if (end && end < now)
		log_warn("%s: the certificate has expired: clients will refuse it; "
			 "renew it, then memctl reload",
			 s->cfg->files.cert);
	else if (end && end - now < SOON)
		log_warn("%s: the certificate expires in %lld days", s->cfg->files.cert,
			 (long long)(end - now) / (24 * 3600));
}

int secure_reload(struct secure *s, char *why)
{
	struct tls_clients *clients = calloc(1, sizeof(*clients));
	struct tls *tls = NULL, *old_tls;
	char *text = NULL, *old_text;
	size_t len = 0, old_len;
	int r = -ENOMEM;

	snprintf(why, TLS_ERROR_MAX, "out of memory");
	if (clients)
		r = tls_server_new(&s->cfg->files, &tls, why);
	if (r == 0 && s->cfg->clients)
		r = load_clients(s->cfg->clients, clients, &text, &len, why);
	if (r < 0) {
		tls_put(tls);
		free(clients);
		return r;
	}
	pthread_mutex_lock(&s->lock);
	old_tls = s->tls;
	old_text = s->text;
	old_len = s->text_len;
	s->tls = tls;
	s->text = text;
	s->text_len = len;
	s->clients = *clients;
	pthread_mutex_unlock(&s->lock);
	tls_put(old_tls);
	secret_free(old_text, old_len);
	free(clients);
	warn_of_end(s);
	return 0;
}

int secure_new(const struct secure_cfg *cfg, struct secure **ret)
{
	struct secure *s = calloc(1, sizeof(*s));
	char why[TLS_ERROR_MAX];
	int r;

	if (!s)
		return -ENOMEM;
	s->cfg = cfg;
	pthread_mutex_init(&s->lock, NULL);
	r = secure_reload(s, why);
	if (r < 0) {
		log_err("TLS: %s", why);
		secure_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void secure_free(struct secure *s)
{
	if (!s)
		return;
	tls_put(s->tls);
	secret_free(s->text, s->text_len);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

enum tls_mode secure_nbd(const struct secure *s, bool is_unix)
{
	if (!s)
		return TLS_OFF;
	if (is_unix && !s->cfg->nbd_unix && s->cfg->nbd == TLS_REQUIRED)
		return TLS_OFFERED;
	return s->cfg->nbd;
}

bool secure_exempts(const struct secure *s, bool is_unix)
{
	return is_unix && (!s || !s->cfg->nbd_unix);
}

struct tls *secure_context(struct secure *s)
{
	struct tls *t;

	pthread_mutex_lock(&s->lock);
	t = tls_get(s->tls);
	pthread_mutex_unlock(&s->lock);
	return t;
}

bool secure_allows(struct secure *s, const struct tls_session *peer, const char *export)
{
	bool yes;

	pthread_mutex_lock(&s->lock);
	yes = !s->text;
	for (size_t i = 0; !yes && *tls_peer_name(peer, i); i++)
		yes = tls_clients_allow(&s->clients, tls_peer_name(peer, i), export);
	pthread_mutex_unlock(&s->lock);
	return yes;
}

time_t secure_expires(struct secure *s)
{
	time_t t;

	pthread_mutex_lock(&s->lock);
	t = tls_expires(s->tls);
	pthread_mutex_unlock(&s->lock);
	return t;
}
