/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Session keys and challenges in, TLS keys by their identities out. */
#include "memserver/nvme/generated.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct slot {
	struct nvme_generated_key key;
	uint64_t until_ns; /* 0: free */
};

struct nvme_generated {
	_Atomic unsigned int refs;
	pthread_mutex_t lock;
	struct slot slots[NVME_GENERATED_MAX]; /* under the lock */
};

int nvme_generated_make(uint8_t hash, const uint8_t *ks, const uint8_t *c1,
			const uint8_t *c2, const char *hostnqn, const char *subnqn,
			struct nvme_generated_key *ret)
{
	struct nvme_psk_id *id = &ret->id;
	char text[NVME_PSK_ID_MAX + 1];
	struct nvme_psk psk;
	int r = nvme_psk_generate((enum hkdf_hash)hash, ks, c1, c2, &psk);

	*id = (struct nvme_psk_id){ .version = 1, .type = 'G' };
	snprintf(id->hostnqn, sizeof(id->hostnqn), "%s", hostnqn);
	snprintf(id->subnqn, sizeof(id->subnqn), "%s", subnqn);
	if (!r)
		r = nvme_psk_id_format(&psk, id, text);
	if (!r)
		r = nvme_psk_tls_key(&psk, id, NVME_PSK_RFC8446, ret->tls_key);
	OPENSSL_cleanse(&psk, sizeof(psk));
	return r;
}

int nvme_generated_new(struct nvme_generated **ret)
{
	struct nvme_generated *g = calloc(1, sizeof(*g));

	if (!g)
		return -ENOMEM;
	g->refs = 1;
	pthread_mutex_init(&g->lock, NULL);
	*ret = g;
	return 0;
}

struct nvme_generated *nvme_generated_get(struct nvme_generated *g)
{
	atomic_fetch_add(&g->refs, 1);
	return g;
}

void nvme_generated_put(struct nvme_generated *g)
{
	if (!g || atomic_fetch_sub(&g->refs, 1) != 1)
		return;
	pthread_mutex_destroy(&g->lock);
	OPENSSL_cleanse(g->slots, sizeof(g->slots));
	free(g);
}

static void wipe(struct slot *s)
{
	OPENSSL_cleanse(s, sizeof(*s));
}

static void sweep_locked(struct nvme_generated *g, uint64_t now_ns)
{
	for (size_t i = 0; i < NVME_GENERATED_MAX; i++)
		if (g->slots[i].until_ns && g->slots[i].until_ns <= now_ns)
			wipe(&g->slots[i]);
}

static bool same_pair(const struct nvme_psk_id *a, const struct nvme_psk_id *b)
{
	return !strcmp(a->hostnqn, b->hostnqn) && !strcmp(a->subnqn, b->subnqn);
}

static bool same_id(const struct nvme_psk_id *a, const struct nvme_psk_id *b)
{
	return a->version == b->version && a->type == b->type && a->hash == b->hash &&
	       same_pair(a, b) && !strcmp(a->digest, b->digest);
}

/* Its keys beyond `left`, the oldest first. */
static void thin_out(struct nvme_generated *g, const struct nvme_psk_id *id,
		     unsigned int left)
{
	for (;;) {
		struct slot *oldest = NULL;
		unsigned int nr = 0;

		for (size_t i = 0; i < NVME_GENERATED_MAX; i++) {
			struct slot *s = &g->slots[i];

			if (!s->until_ns || !same_pair(&s->key.id, id))
				continue;
			nr++;
			if (!oldest || s->until_ns < oldest->until_ns)
				oldest = s;
		}
		if (nr <= left)
			return;
		wipe(oldest);
	}
}

/* A free slot sorts before all others: its time is 0. */
static struct slot *oldest_slot(struct nvme_generated *g)
{
	struct slot *oldest = &g->slots[0];

	for (size_t i = 1; i < NVME_GENERATED_MAX; i++)
		if (g->slots[i].until_ns < oldest->until_ns)
			oldest = &g->slots[i];
	return oldest;
}

void nvme_generated_add(struct nvme_generated *g, const struct nvme_generated_key *key,
			bool replace, uint64_t now_ns)
{
	struct slot *s;

	pthread_mutex_lock(&g->lock);
	sweep_locked(g, now_ns);
	thin_out(g, &key->id, replace ? 0 : NVME_GENERATED_EACH - 1);
	s = oldest_slot(g);
	s->key = *key;
	s->until_ns = now_ns + NVME_GENERATED_LIFE_NS;
	pthread_mutex_unlock(&g->lock);
}

int nvme_generated_find(struct nvme_generated *g, const struct nvme_psk_id *id,
			uint64_t now_ns, uint8_t *ret)
{
	int r = -ENOENT;

	pthread_mutex_lock(&g->lock);
	sweep_locked(g, now_ns);
	for (size_t i = 0; i < NVME_GENERATED_MAX && r; i++) {
		const struct slot *s = &g->slots[i];

		if (!s->until_ns || !same_id(&s->key.id, id))
			continue;
		memcpy(ret, s->key.tls_key, hkdf_len(id->hash));
		r = 0;
	}
	pthread_mutex_unlock(&g->lock);
	return r;
}

void nvme_generated_sweep(struct nvme_generated *g, uint64_t now_ns)
{
	pthread_mutex_lock(&g->lock);
	sweep_locked(g, now_ns);
	pthread_mutex_unlock(&g->lock);
}
