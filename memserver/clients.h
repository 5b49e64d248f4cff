/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who is connected, by address: what a client may take, and takes, whichever doors,
 * exports and connections it uses. A client is there while it has a connection, or has
 * taken more than is paid for: to come again forgives nothing. Any thread.
 */
#ifndef MEMSERVER_CLIENTS_H
#define MEMSERVER_CLIENTS_H

#include "memserver/caps.h"

struct clients;

struct client {
	struct caps caps;
	/* Below: the register's. */
	struct client *next;
	unsigned int nr_conns;
	char name[112]; /* "10.0.2.15"; "unix:pid 77" */
};

int clients_new(struct clients **ret);
void clients_free(struct clients *cs); /* NULL is fine; no client may be left */

/* The client behind `peer` ("10.0.2.15:40312"), with one connection more. NULL: -ENOMEM. */
struct client *clients_get(struct clients *cs, const char *peer);
void clients_put(struct clients *cs, struct client *who); /* NULL is fine */

/* The same limits for every client, those that are connected and those to come. */
void clients_limit(struct clients *cs, const struct caps_cfg *cfg);
struct caps_cfg clients_limits(struct clients *cs);

#endif
