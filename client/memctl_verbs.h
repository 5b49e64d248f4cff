/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What memctl's verbs share: the command line as parsed, and calls to the daemon.
 * One thread. A verb returns the program's exit status: 0 done, 1 the daemon refused
 * or is not there, 2 the command line makes no sense.
 */
#ifndef CLIENT_MEMCTL_VERBS_H
#define CLIENT_MEMCTL_VERBS_H

#include <stdbool.h>
#include <stdint.h>

struct ctl_client;
struct json_object;

struct memctl {
	const char *socket;                    /* path, borrowed */
	const char *host;                      /* -H; NULL: this host, by `socket` */
	const char *user, *password_file, *ca; /* with host; NULL: not given */
	bool json;                             /* print results as JSON */
	bool force;
	bool clients;
	bool tls;                             /* create: served with TLS only */
	const char *quota, *bandwidth, *iops; /* borrowed, NULL: not given */
	const char *verb;
	int nr_args;
	char **args;               /* after the verb; as many as the verb allows */
	struct ctl_client *client; /* owned, made by the first call */
};

enum { MEMCTL_DONE, MEMCTL_FAILED, MEMCTL_USAGE };

int memctl_list(struct memctl *m);
int memctl_stat(struct memctl *m);
int memctl_who(struct memctl *m);
int memctl_show(struct memctl *m);
int memctl_version(struct memctl *m);

int memctl_create(struct memctl *m); /* resize too */
int memctl_limit(struct memctl *m);
int memctl_drop(struct memctl *m);
int memctl_kick(struct memctl *m);
int memctl_reload(struct memctl *m);
int memctl_log_level(struct memctl *m);
int memctl_fault(struct memctl *m);

/* A request for this command of the daemon; the caller adds arguments. */
struct json_object *memctl_request(const char *cmd);

/*
 * Sends `req` (taken over). MEMCTL_DONE: *ret_result is owned by the caller; else the
 * complaint has been printed.
 */
int memctl_call(struct memctl *m, struct json_object *req,
		struct json_object **ret_result);

/* memctl_login.c: connects to m->host and logs in. 0, or -errno and `error`. */
int memctl_connect(struct memctl *m, char *error);

/* The same, and prints what came: as JSON, or by `print` (NULL: nothing). */
int memctl_show_result(struct memctl *m, struct json_object *req,
		       void (*print)(struct json_object *result));

void memctl_print_json(struct json_object *result);

/* Complains about the command line; returns MEMCTL_USAGE. */
int memctl_usage(const struct memctl *m, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
