/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A host, a user and a password in, a client that is logged in out. */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "client/memctl_verbs.h"
#include "lib/cleanup.h"
#include "lib/ctl_client.h"
#include "lib/secret.h"

#define TIMEOUT_MS   30000
#define PORT         "10811"
#define PASSWORD_MAX 200

/* The first line of a file nobody else can read. */
static int from_file(const char *path, char *password, char *error)
{
	char *text = NULL;
	size_t len = 0, n;
	int r = secret_read(path, false, &text, &len, error);

	if (r < 0)
		return r;
	n = strcspn(text, "\n");
	if (n < PASSWORD_MAX)
		memcpy(password, text, n);
	else
		r = -EINVAL;
	if (r < 0)
		snprintf(error, CTL_ERROR_MAX, "%s: its first line is too long", path);
	secret_free(text, len);
	return r;
}

/* Reads a line from the terminal, which does not show it. */
static int read_hidden(int fd, char *password)
{
	struct termios shown, hidden;
	ssize_t n;

	if (tcgetattr(fd, &shown) < 0)
		return -errno;
	hidden = shown;
	hidden.c_lflag &= ~(tcflag_t)ECHO;
	hidden.c_lflag |= ICANON | ISIG;
	if (tcsetattr(fd, TCSAFLUSH, &hidden) < 0)
		return -errno;
	n = read(fd, password, PASSWORD_MAX - 1);
	tcsetattr(fd, TCSAFLUSH, &shown);
	if (n <= 0)
		return -EIO;
	password[strcspn(password, "\n")] = '\0';
	return 0;
}

static int from_terminal(const char *user, const char *host, char *password,
			 char *error)
{
	_cleanup_close_ int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	int r = fd < 0 ? -errno : 0;

	if (!r) {
		dprintf(fd, "Password of %s at %s: ", user, host);
		r = read_hidden(fd, password);
		dprintf(fd, "\n");
	}
	if (r < 0)
		snprintf(error, CTL_ERROR_MAX,
			 "no terminal to ask for the password at: give it with "
			 "--password-file FILE");
	return r;
}

static int login(struct memctl *m, const char *user, const char *password, char *error)
{
	struct json_object *req = memctl_request("login"), *result = NULL;
	int r;

	json_object_object_add(req, "user", json_object_new_string(user));
	json_object_object_add(req, "password", json_object_new_string(password));
	r = ctl_client_call(m->client, req, &result, error);
	json_object_put(result);
	json_object_put(req);
	return r;
}

int memctl_connect(struct memctl *m, char *error)
{
	const struct passwd *pw = m->user ? NULL : getpwuid(getuid());
	const char *user = m->user ? m->user : pw ? pw->pw_name : "";
	char password[PASSWORD_MAX] = "";
	int r = ctl_client_open_tls(m->host, PORT, m->ca, TIMEOUT_MS, &m->client,
				    error);

	if (r < 0)
		return r;
	r = m->password_file ? from_file(m->password_file, password, error)
			     : from_terminal(user, m->host, password, error);
	if (r == 0)
		r = login(m, user, password, error);
	explicit_bzero(password, sizeof(password));
	return r;
}
