/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file of hosts and their keys in; contexts for handshakes, and who a connection's peer
 * may be, out. Table and context are exchanged as a whole under the lock.
 */
#include "memserver/nvme/tls.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "lib/tls.h"
#include "memserver/conn.h"
#include "memserver/nvme/generated.h"
#include "memserver/nvme/tls_keys.h"

struct nvme_tls {
	char *path; /* owned; NULL: from text, or no keys */
	bool required, concat;
	struct nvme_generated *generated; /* a reference */
	pthread_mutex_t lock;
	struct nvme_tls_keys *keys; /* a reference; NULL: none; under the lock */
	struct tls *context;        /* likewise */
	struct log_limit limit;     /* refusals have a share of the log of their own */
	_Atomic uint64_t plain, identity, made;
};

/* What a context looks keys up in. */
struct lookup {
	struct nvme_tls_keys *keys;       /* a reference, or NULL */
	struct nvme_generated *generated; /* a reference */
};

/* ---- keys ---- */

static int find_key(void *arg, const uint8_t *bytes, size_t len, unsigned int nth,
		    struct tls_psk *ret)
{
	const struct lookup *l = arg;
	struct nvme_psk_id id;

	if (nvme_psk_id_parse(bytes, len, &id) < 0)
		return -ENOENT;
	ret->hash = id.hash;
	if (id.type == 'G')
		return nth ? -ENOENT
			   : nvme_generated_find(l->generated, &id, clock_ns(),
						 ret->key);
	return l->keys ? nvme_tls_keys_find(l->keys, &id, nth, ret->key) : -ENOENT;
}

static void put_lookup(void *arg)
{
	struct lookup *l = arg;

	nvme_tls_keys_put(l->keys);
	nvme_generated_put(l->generated);
	free(l);
}

/* A context with a table of its own, and the generated keys. */
static int make(struct nvme_tls_keys *keys, struct nvme_generated *generated,
		struct tls **ret)
{
	struct lookup *l = calloc(1, sizeof(*l));
	char error[TLS_ERROR_MAX];
	int r;

	if (!l)
		return -ENOMEM;
	l->keys = keys ? nvme_tls_keys_get(keys) : NULL;
	l->generated = nvme_generated_get(generated);
	r = tls_psk_server_new(find_key, put_lookup, l, ret, error);
	if (r < 0)
		log_err("--nvme-tls: %s", error);
	return r;
}

static int load(const char *path, struct nvme_tls_keys **ret)
{
	char error[SECRET_ERROR_MAX], *text = NULL;
	const char *why = "";
	unsigned int line;
	size_t len = 0;
	int r = secret_read(path, false, &text, &len, error);

	if (r < 0) {
		log_err("--nvme-tls-keys %s", error);
		return r;
	}
	r = nvme_tls_keys_parse(text, len, ret, &line, &why);
	secret_free(text, len);
	if (r < 0)
		log_err("--nvme-tls-keys %s:%u: %s", path, line, why);
	return r;
}

/* Takes over `keys`. */
static int new_tls(struct nvme_tls_keys *keys, bool required, bool concat,
		   struct nvme_tls **ret)
{
	struct nvme_tls *t = calloc(1, sizeof(*t));
	int r = -ENOMEM;

	if (!t) {
		nvme_tls_keys_put(keys);
		return r;
	}
	t->required = required;
	t->concat = concat;
	t->keys = keys;
	t->limit = (struct log_limit)LOG_LIMIT_INIT;
	pthread_mutex_init(&t->lock, NULL);
	r = nvme_generated_new(&t->generated);
	if (r == 0)
		r = make(keys, t->generated, &t->context);
	if (r < 0)
		nvme_tls_free(t);
	else
		*ret = t;
	return r;
}

int nvme_tls_new(const struct nvme_tls_cfg *cfg, struct nvme_tls **ret)
{
	struct nvme_tls_keys *keys = NULL;
	struct nvme_tls *t = NULL;
	size_t nr = 0;
	int r = cfg->path ? load(cfg->path, &keys) : 0;

	if (r < 0)
		return r;
	if (keys)
		nr = keys->nr;
	r = new_tls(keys, cfg->required, cfg->concat, &t);
	if (r < 0)
		return r;
	t->path = cfg->path ? strdup(cfg->path) : NULL;
	if (cfg->path && !t->path) {
		nvme_tls_free(t);
		return -ENOMEM;
	}
	if (cfg->path)
		log_note("--nvme-tls-keys %s: %zu keys", cfg->path, nr);
	*ret = t;
	return 0;
}

int nvme_tls_new_text(const char *text, bool required, struct nvme_tls **ret)
{
	struct nvme_tls_keys *keys = NULL;
	unsigned int line;
	const char *why;
	int r = nvme_tls_keys_parse(text, strlen(text), &keys, &line, &why);

	return r < 0 ? r : new_tls(keys, required, false, ret);
}

void nvme_tls_free(struct nvme_tls *t)
{
	if (!t)
		return;
	tls_put(t->context);
	nvme_tls_keys_put(t->keys);
	nvme_generated_put(t->generated);
	pthread_mutex_destroy(&t->lock);
	free(t->path);
	free(t);
}

int nvme_tls_reload(struct nvme_tls *t)
{
	struct nvme_tls_keys *keys = NULL, *old_keys;
	struct tls *context = NULL, *old;
	size_t nr;
	int r;

	if (!t->path)
		return 0;
	r = load(t->path, &keys);
	nr = r ? 0 : keys->nr;
	if (!r)
		r = make(keys, t->generated, &context);
	if (r < 0) {
		log_warn("--nvme-tls-keys %s: kept as it was", t->path);
		nvme_tls_keys_put(keys);
		return r;
	}
	pthread_mutex_lock(&t->lock);
	old_keys = t->keys;
	old = t->context;
	t->keys = keys;
	t->context = context;
	pthread_mutex_unlock(&t->lock);
	tls_put(old);
	nvme_tls_keys_put(old_keys);
	log_note("--nvme-tls-keys %s: read again, %zu keys", t->path, nr);
	return 0;
}

bool nvme_tls_is_required(const struct nvme_tls *t)
{
	return t->required;
}

bool nvme_tls_has_file(const struct nvme_tls *t)
{
	return t->path;
}

bool nvme_tls_has_concat(const struct nvme_tls *t)
{
	return t->concat;
}

bool nvme_tls_allows(struct nvme_tls *t, const char *hostnqn, const char *export)
{
	bool allows;

	pthread_mutex_lock(&t->lock);
	allows = t->keys && nvme_tls_keys_allow(t->keys, hostnqn, export);
	pthread_mutex_unlock(&t->lock);
	return allows;
}

/* ---- keys that logins have generated ---- */

void nvme_tls_keep(struct nvme_tls *t, const struct nvme_generated_key *key,
		   bool replace)
{
	nvme_generated_add(t->generated, key, replace, clock_ns());
	atomic_fetch_add_explicit(&t->made, 1, memory_order_relaxed);
}

void nvme_tls_tick(struct nvme_tls *t)
{
	nvme_generated_sweep(t->generated, clock_ns());
}

void nvme_tls_forget(struct nvme_tls *t)
{
	nvme_generated_sweep(t->generated, UINT64_MAX);
}

bool nvme_tls_is_generated(const struct conn *c)
{
	const char *name = conn_is_tls(c) ? conn_psk_id(c) : "";
	struct nvme_psk_id id;

	return !nvme_psk_id_parse((const uint8_t *)name, strlen(name), &id) &&
	       id.type == 'G';
}

/* ---- connections ---- */

static struct tls *context_of(struct nvme_tls *t)
{
	struct tls *x;

	pthread_mutex_lock(&t->lock);
	x = tls_get(t->context);
	pthread_mutex_unlock(&t->lock);
	return x;
}

int nvme_tls_begin(struct nvme_tls *t, struct conn *c, uint8_t first, bool can_log_in)
{
	struct tls *x;
	int r;

	if (first != NVME_TLS_HANDSHAKE && (!t->required || (t->concat && can_log_in)))
		return 0;
	if (first != NVME_TLS_HANDSHAKE) {
		atomic_fetch_add_explicit(&t->plain, 1, memory_order_relaxed);
		conn_warn_within(c, &t->limit,
				 "it begins in the clear, and --nvme-tls is required: "
				 "connect with TLS (nvme connect --tls)");
		return -EPROTO;
	}
	x = context_of(t);
	r = conn_begin_tls(c, x);
	tls_put(x);
	return r < 0 ? r : 1;
}

bool nvme_tls_admits(struct nvme_tls *t, struct conn *c,
		     const struct nvme_connect_data *who)
{
	const char *name = conn_psk_id(c);
	struct nvme_psk_id id;

	if (!conn_is_tls(c))
		return true;
	if (!nvme_psk_id_parse((const uint8_t *)name, strlen(name), &id) &&
	    !strcmp(id.hostnqn, who->hostnqn) && !strcmp(id.subnqn, who->subnqn))
		return true;
	atomic_fetch_add_explicit(&t->identity, 1, memory_order_relaxed);
	conn_warn_within(c, &t->limit,
			 "host %.223s asks for %.223s with another's key: %s",
			 who->hostnqn, who->subnqn, name);
	return false;
}

void nvme_tls_counters(struct nvme_tls *t, struct nvme_tls_counters *ret)
{
	ret->plain = atomic_load_explicit(&t->plain, memory_order_relaxed);
	ret->identity = atomic_load_explicit(&t->identity, memory_order_relaxed);
	ret->generated = atomic_load_explicit(&t->made, memory_order_relaxed);
}
