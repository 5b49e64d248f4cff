/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Peers' names in, the one client behind each out. Any thread; one lock, never on the
 * way of an I/O. */
#include "memserver/clients.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"

#define NR_CHAINS 256

struct clients {
	pthread_mutex_t lock; /* guards all */
	struct caps_cfg limits;
	struct client *chain[NR_CHAINS];
};

int clients_new(struct clients **ret)
{
	struct clients *cs = calloc(1, sizeof(*cs));

	if (!cs)
		return -ENOMEM;
	pthread_mutex_init(&cs->lock, NULL);
	*ret = cs;
	return 0;
}

void clients_free(struct clients *cs)
{
	if (!cs)
		return;
	for (size_t i = 0; i < NR_CHAINS; i++)
		while (cs->chain[i]) {
			struct client *who = cs->chain[i];

			cs->chain[i] = who->next;
			free(who);
		}
	pthread_mutex_destroy(&cs->lock);
	free(cs);
}

/* The peer's address without its port. */
static void name_of(const char *peer, char *name, size_t len)
{
	const char *colon = strrchr(peer, ':');
	bool has_port = colon && strncmp(peer, "unix:", 5) != 0;

	snprintf(name, len, "%.*s", has_port ? (int)(colon - peer) : (int)len, peer);
}

static struct client **chain_of(struct clients *cs, const char *name)
{
	unsigned int hash = 5381;

	for (; *name; name++)
		hash = hash * 33 + (unsigned char)*name;
	return &cs->chain[hash % NR_CHAINS];
}

/* Those that are gone and have paid. */
static void sweep(struct client **at)
{
	uint64_t now = clock_ns();

	while (*at) {
		struct client *who = *at;

		if (who->nr_conns || caps_wait(&who->caps, now)) {
			at = &who->next;
			continue;
		}
		*at = who->next;
		free(who);
	}
}

struct client *clients_get(struct clients *cs, const char *peer)
{
	char name[sizeof(((struct client *)0)->name)];
	struct client **at, *who;

	name_of(peer, name, sizeof(name));
	pthread_mutex_lock(&cs->lock);
	at = chain_of(cs, name);
	sweep(at);
	while (*at && strcmp((*at)->name, name) != 0)
		at = &(*at)->next;
	if (!*at) {
		*at = calloc(1, sizeof(**at));
		if (*at) {
			strcpy((*at)->name, name);
			caps_set(&(*at)->caps, &cs->limits);
		}
	}
	who = *at;
	if (who)
		who->nr_conns++;
	pthread_mutex_unlock(&cs->lock);
	return who;
}

void clients_put(struct clients *cs, struct client *who)
{
	if (!who)
		return;
	pthread_mutex_lock(&cs->lock);
	if (!--who->nr_conns)
		sweep(chain_of(cs, who->name));
	pthread_mutex_unlock(&cs->lock);
}

void clients_limit(struct clients *cs, const struct caps_cfg *cfg)
{
	pthread_mutex_lock(&cs->lock);
	cs->limits = *cfg;
	for (size_t i = 0; i < NR_CHAINS; i++)
		for (struct client *who = cs->chain[i]; who; who = who->next)
			caps_set(&who->caps, cfg);
	pthread_mutex_unlock(&cs->lock);
}

struct caps_cfg clients_limits(struct clients *cs)
{
	struct caps_cfg cfg;

	pthread_mutex_lock(&cs->lock);
	cfg = cs->limits;
	pthread_mutex_unlock(&cs->lock);
	return cfg;
}
