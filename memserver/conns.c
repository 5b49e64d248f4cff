/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Live connections in a list under a lock; pictures of them out. Any thread. */
#include "memserver/conns.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/tls.h"
#include "memserver/conn_priv.h"
#include "memserver/stats.h"

struct conns {
	pthread_mutex_t lock; /* guards list, next_id, and each conn's export/client */
	struct list list;
	uint64_t next_id;
	_Atomic unsigned int count;
};

int conns_new(struct conns **ret)
{
	struct conns *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	pthread_mutex_init(&r->lock, NULL);
	list_init(&r->list);
	r->next_id = 1;
	*ret = r;
	return 0;
}

void conns_free(struct conns *r)
{
	if (!r)
		return;
	pthread_mutex_destroy(&r->lock);
	free(r);
}

void conns_add(struct conns *r, struct conn *c)
{
	pthread_mutex_lock(&r->lock);
	c->id = r->next_id++;
	list_add_tail(&r->list, &c->reg);
	atomic_fetch_add(&r->count, 1);
	pthread_mutex_unlock(&r->lock);
}

void conns_del(struct conns *r, struct conn *c)
{
	pthread_mutex_lock(&r->lock);
	list_del(&c->reg);
	c->export = NULL;
	atomic_fetch_sub(&r->count, 1);
	pthread_mutex_unlock(&r->lock);
}

unsigned int conns_count(const struct conns *r)
{
	return atomic_load(&r->count);
}

/* Whose quota of memory it is: a name that was proved, else the address. A front end's
 * own keys have names for each export or connection; whose they are is `client`. */
static const char *holder(const struct conn *c, const char *client)
{
	const char *name = c->tls_begun ? NULL : conn_proved_name(c);

	if (!name && (c->tls_begun || c->engine->nvme_auth))
		name = client;
	return name ? name : c->who->name;
}

void conn_bind(struct conn *c, struct export *e, const char *client)
{
	if (e)
		c->owns = export_own(e, c->engine->accounts, holder(c, client));
	pthread_mutex_lock(&c->engine->conns->lock);
	c->export = e;
	snprintf(c->client, sizeof(c->client), "%s", client ? client : "");
	/* Dropped since it was attached: whoever kicked its clients did not see us. */
	if (e && export_is_shut(e))
		conn_kick(c);
	pthread_mutex_unlock(&c->engine->conns->lock);
	conn_welcome(c);
}

void conns_encrypted(struct conns *r, struct conn *c)
{
	pthread_mutex_lock(&r->lock);
	tls_describe(c->tls, c->tls_how, sizeof(c->tls_how));
	pthread_mutex_unlock(&r->lock);
}

static void take_picture(const struct conn *c, struct conn_info *i)
{
	i->id = c->id;
	i->front = c->front->name;
	i->worker = c->worker ? c->worker->id : 0;
	i->since_ns = c->since_ns;
	memcpy(i->peer, c->peer, sizeof(i->peer));
	memcpy(i->tls, c->tls_how, sizeof(i->tls));
	memcpy(i->client, c->client, sizeof(i->client));
	snprintf(i->export, sizeof(i->export), "%s",
		 c->export ? export_name(c->export) : "");
	memset(&i->stats, 0, sizeof(i->stats));
	stats_add(&i->stats, &c->stats);
}

int conns_each(struct conns *r, int (*fn)(const struct conn_info *info, void *arg),
	       void *arg)
{
	struct conn_info info;
	struct conn *c;
	int n = 0;

	pthread_mutex_lock(&r->lock);
	list_for_each_entry(c, &r->list, reg) {
		take_picture(c, &info);
		n = fn(&info, arg);
		if (n)
			break;
	}
	pthread_mutex_unlock(&r->lock);
	return n;
}

unsigned int conns_kick(struct conns *r, const struct export *e, uint64_t id)
{
	unsigned int n = 0;
	struct conn *c;

	pthread_mutex_lock(&r->lock);
	list_for_each_entry(c, &r->list, reg)
		if ((!e || c->export == e) && (!id || c->id == id)) {
			conn_kick(c);
			n++;
		}
	pthread_mutex_unlock(&r->lock);
	return n;
}

void conns_poke(struct conns *r)
{
	struct conn *c;

	pthread_mutex_lock(&r->lock);
	list_for_each_entry(c, &r->list, reg)
		if (c->worker)
			conn_poke(c);
	pthread_mutex_unlock(&r->lock);
}
