/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests and what came of them in, lines of JSON to a file or the journal out. */
#include "memserver/trail.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

struct trail {
	const char *path;
	int fd; /* -1: the journal */
	struct log_limit limit;
};

static int open_file(const char *path)
{
	int fd = open(path,
		      O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW |
			      O_NONBLOCK,
		      0600);

	if (fd < 0)
		log_err("--audit %s: %s", path, strerror(errno));
	return fd;
}

/* sd_journal_send is content without one. */
static int find_journal(void)
{
	if (access(JOURNAL_SOCKET, F_OK) == 0)
		return 0;
	log_err("--audit %s: no journal here (%s: %s); give a file", TRAIL_JOURNAL,
		JOURNAL_SOCKET, strerror(errno));
	return -EIO;
}

int trail_open(const char *path, struct trail **ret)
{
	bool journal = path && !strcmp(path, TRAIL_JOURNAL);
	struct trail *a;

	*ret = NULL;
	if (!path)
		return 0;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->path = path;
	a->limit = (struct log_limit)LOG_LIMIT_INIT;
	a->fd = journal ? -1 : open_file(path);
	if (journal ? find_journal() < 0 : a->fd < 0) {
		free(a);
		return -EIO;
	}
	*ret = a;
	return 0;
}

void trail_close(struct trail *a)
{
	if (!a)
		return;
	if (a->fd >= 0)
		close(a->fd);
	free(a);
}

void trail_reopen(struct trail *a, int fd)
{
	if (!a || a->fd < 0)
		return;
	if (fd < 0)
		fd = open_file(a->path);
	if (fd < 0)
		return;
	close(a->fd);
	a->fd = fd;
}

static void put(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, json_object_new_string(text));
}

static void put_time(struct json_object *o)
{
	struct timespec now;
	struct tm tm;
	char text[40];
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + n, sizeof(text) - n, ".%03ldZ", now.tv_nsec / 1000000);
	put(o, "time", text);
}

/* What was asked, without what is secret. */
static void put_request(struct json_object *o, const struct ctl_call *call)
{
	struct json_object *args = json_object_new_object();

	json_object_object_foreach(call->req, key, value)
	{
		if (strcmp(key, "password") != 0 && strcmp(key, "cmd") != 0)
			json_object_object_add(args, key, json_object_get(value));
	}
	put(o, "what", call->cmd);
	json_object_object_add(o, "arguments", args);
}

static int to_file(struct trail *a, const char *line, size_t len)
{
	struct iovec v[2] = { { (void *)(uintptr_t)line, len }, { "\n", 1 } };
	ssize_t n = writev(a->fd, v, 2);

	return n == (ssize_t)len + 1 ? 0 : n < 0 ? -errno : -EIO;
}

static int to_journal(const struct ctl_call *call, int r, const char *line)
{
	return sd_journal_send("MESSAGE=%s (%s): %.64s: %s", call->peer->text,
			       ctl_role_names[call->peer->role], call->cmd,
			       r < 0 ? "refused" : "done", "PRIORITY=%d",
			       r < 0 ? LOG_WARNING : LOG_NOTICE, "SYSLOG_FACILITY=%d",
			       LOG_FAC(LOG_AUTHPRIV), "SYSLOG_IDENTIFIER=memserver",
			       "MEMSERVER_AUDIT=%s", line, NULL);
}

void trail_call(struct trail *a, const struct ctl_call *call, int r)
{
	struct json_object *o;
	const char *text;
	size_t len = 0;
	int written;

	if (!a || !call->req)
		return;
	o = json_object_new_object();
	put_time(o);
	put(o, "who", call->peer->text);
	put(o, "role", ctl_role_names[call->peer->role]);
	put_request(o, call);
	put(o, "result", r < 0 ? "refused" : "done");
	if (r < 0)
		put(o, "error", *call->error ? call->error : strerror(-r));
	text = json_object_to_json_string_length(
		o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
	written = !text       ? -ENOMEM
		  : a->fd < 0 ? to_journal(call, r, text)
			      : to_file(a, text, len);
	if (written < 0 && log_limit_ok(&a->limit, &(unsigned int){ 0 }))
		log_err("--audit %s: %s: what administrators do is not recorded",
			a->path, strerror(-written));
	json_object_put(o);
}
