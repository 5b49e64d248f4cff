/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands in, JSON answers out, over one blocking socket with time-outs or by virsh. The bytes
 * come from QEMU, which the guest may own: length-limited, parsed by json-c with its
 * depth limit, and every member's type is checked.
 */
#include "vmemdirect/qmp.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/log.h"

#define LINE_MAX_BYTES (1u << 20)
#define DEPTH_MAX      32
#define WAIT_S         5

struct qmp {
	int fd;      /* owned */
	char *line;  /* owned, LINE_MAX_BYTES */
	size_t have; /* bytes in line */
	char why[256];
	char domain[64]; /* libvirt's; "": a socket */
};

/* Takes one line out of the buffer, reading more as needed. */
static int read_line(struct qmp *q, json_object **ret)
{
	struct json_tokener *tok;
	char *nl;
	ssize_t n;

	while (!(nl = memchr(q->line, '\n', q->have))) {
		if (q->have == LINE_MAX_BYTES)
			return -EPROTO;
		n = recv(q->fd, q->line + q->have, LINE_MAX_BYTES - q->have, 0);
		if (n == 0)
			return -ECONNRESET;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		q->have += (size_t)n;
	}
	tok = json_tokener_new_ex(DEPTH_MAX);
	if (!tok)
		return -ENOMEM;
	*ret = json_tokener_parse_ex(tok, q->line, (int)(nl - q->line));
	json_tokener_free(tok);
	q->have -= (size_t)(nl + 1 - q->line);
	memmove(q->line, nl + 1, q->have);
	return json_object_is_type(*ret, json_type_object) ? 0 : -EPROTO;
}

/* The next line that is no event. */
static int read_answer(struct qmp *q, json_object **ret)
{
	json_object *o = NULL;
	int r;

	for (;;) {
		r = read_line(q, &o);
		if (r < 0) {
			json_object_put(o);
			return r;
		}
		if (!json_object_object_get_ex(o, "event", NULL)) {
			*ret = o;
			return 0;
		}
		json_object_put(o);
		o = NULL;
	}
}

static int send_all(struct qmp *q, const char *text, size_t len)
{
	while (len) {
		ssize_t n = send(q->fd, text, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

/* ---- by way of libvirt ---- */

/* Starts virsh with its output in a pipe; its complaints go where ours go. */
static int start_virsh(char *const argv[], pid_t *ret_pid, int *ret_fd)
{
	posix_spawn_file_actions_t a;
	int fd[2], r;

	if (pipe2(fd, O_CLOEXEC) < 0)
		return -errno;
	posix_spawn_file_actions_init(&a);
	posix_spawn_file_actions_adddup2(&a, fd[1], STDOUT_FILENO);
	r = -posix_spawnp(ret_pid, argv[0], &a, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&a);
	close(fd[1]);
	if (r < 0)
		close(fd[0]);
	else
		*ret_fd = fd[0];
	return r;
}

/* One command, one answer: what virsh prints becomes the line to be parsed. */
static int ask_virsh(struct qmp *q, const char *command)
{
	char *const argv[] = { "virsh",   "--quiet", "qemu-monitor-command", "--domain",
			       q->domain, "--cmd",   (char *)command,        NULL };
	int fd = -1, status, r;
	pid_t pid;
	ssize_t n;

	r = start_virsh(argv, &pid, &fd);
	if (r < 0)
		return r;
	q->have = 0;
	while (q->have < LINE_MAX_BYTES - 1 &&
	       (n = read(fd, q->line + q->have, LINE_MAX_BYTES - 1 - q->have)) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		q->have += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return -EREMOTEIO;
	for (size_t i = 0; i < q->have; i++) /* virsh may break its answer into lines */
		if (q->line[i] == '\n')
			q->line[i] = ' ';
	q->line[q->have++] = '\n';
	return 0;
}

static int virsh_pid(const struct qmp *q, pid_t *ret_pid)
{
	char path[128];
	int pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/run/libvirt/qemu/%s.pid", q->domain);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	if (fscanf(f, "%d", &pid) != 1 || pid <= 0)
		pid = 0;
	fclose(f);
	*ret_pid = pid;
	return pid ? 0 : -ESRCH;
}

/* ---- commands ---- */

static void take_error(struct qmp *q, json_object *error)
{
	json_object *desc;

	snprintf(q->why, sizeof(q->why), "%s",
		 json_object_object_get_ex(error, "desc", &desc)
			 ? json_object_get_string(desc)
			 : "no reason given");
}

int qmp_command(struct qmp *q, const char *name, json_object *arguments,
		json_object **ret)
{
	json_object *cmd = json_object_new_object(), *answer = NULL, *value;
	const char *text;
	int r;

	json_object_object_add(cmd, "execute", json_object_new_string(name));
	if (arguments)
		json_object_object_add(cmd, "arguments", arguments);
	text = json_object_to_json_string_ext(cmd, JSON_C_TO_STRING_PLAIN);
	if (q->domain[0]) {
		snprintf(q->why, sizeof(q->why), "virsh: see above");
		r = ask_virsh(q, text);
	} else {
		r = send_all(q, text, strlen(text));
		if (!r)
			r = send_all(q, "\n", 1);
	}
	json_object_put(cmd);
	if (!r)
		r = read_answer(q, &answer);
	if (r < 0)
		return r;
	if (json_object_object_get_ex(answer, "return", &value)) {
		if (ret)
			*ret = json_object_get(value);
	} else if (json_object_object_get_ex(answer, "error", &value)) {
		take_error(q, value);
		r = -EREMOTEIO;
	} else {
		r = -EPROTO;
	}
	json_object_put(answer);
	return r;
}

/* ---- opening ---- */

static int greet(struct qmp *q)
{
	json_object *o = NULL;
	int r = read_line(q, &o);

	if (!r && !json_object_object_get_ex(o, "QMP", NULL))
		r = -EPROTO;
	json_object_put(o);
	return r < 0 ? r : qmp_command(q, "qmp_capabilities", NULL, NULL);
}

static int open_virsh(const char *domain, struct qmp **ret)
{
	struct qmp *q;

	if (!*domain || *domain == '-' || strlen(domain) >= sizeof(q->domain))
		return -EINVAL;
	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->fd = -1;
	strcpy(q->domain, domain);
	q->line = malloc(LINE_MAX_BYTES);
	if (!q->line) {
		qmp_close(q);
		return -ENOMEM;
	}
	*ret = q;
	return 0;
}

int qmp_open(const char *path, struct qmp **ret)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct timeval wait = { .tv_sec = WAIT_S };
	struct qmp *q;
	int r;

	if (!strncmp(path, QMP_VIRSH, strlen(QMP_VIRSH)))
		return open_virsh(path + strlen(QMP_VIRSH), ret);
	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->line = malloc(LINE_MAX_BYTES);
	q->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	r = !q->line ? -ENOMEM : q->fd < 0 ? -errno : 0;
	if (r < 0)
		goto fail;
	setsockopt(q->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	setsockopt(q->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	if (connect(q->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		r = errno == EAGAIN ? -ETIMEDOUT : -errno;
		goto fail;
	}
	r = greet(q);
	if (r < 0)
		goto fail;
	*ret = q;
	return 0;
fail:
	qmp_close(q);
	return r;
}

void qmp_close(struct qmp *q)
{
	if (!q)
		return;
	if (q->fd >= 0)
		close(q->fd);
	free(q->line);
	free(q);
}

int qmp_peer_pid(const struct qmp *q, pid_t *ret_pid)
{
	struct ucred c;
	socklen_t len = sizeof(c);

	if (q->domain[0])
		return virsh_pid(q, ret_pid);
	if (getsockopt(q->fd, SOL_SOCKET, SO_PEERCRED, &c, &len) < 0)
		return -errno;
	*ret_pid = c.pid;
	return c.pid > 0 ? 0 : -ESRCH;
}

const char *qmp_why(const struct qmp *q)
{
	return q->why;
}

int qmp_once(const char *path, const char *command, json_object *arguments,
	     json_object **ret, const char *what)
{
	struct qmp *q = NULL;
	int r = qmp_open(path, &q);

	if (r < 0)
		json_object_put(arguments);
	else
		r = qmp_command(q, command, arguments, ret);
	if (r < 0 && what)
		log_err("%s: %s: %s", path, what,
			r == -EREMOTEIO ? qmp_why(q) : strerror(-r));
	qmp_close(q);
	return r;
}

void qmp_status(const char *path, const char *query, char *ret, size_t len)
{
	json_object *o = NULL, *s;

	ret[0] = 0;
	if (!qmp_once(path, query, NULL, &o, NULL) &&
	    json_object_object_get_ex(o, "status", &s))
		snprintf(ret, len, "%s", json_object_get_string(s));
	json_object_put(o);
}
