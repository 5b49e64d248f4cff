/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a stranger says to the remote control door behind TLS: the first byte is how much
 * of the rest goes into one record, 0 for all. A real server and a real session on a
 * socket pair, on one thread. What must hold: every answer is a reply as lib/ctl.h says,
 * nobody gets further than the role of the login that was granted, and the connection ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/ctl_server.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/tls.h"

#define TURNS 100000 /* more than any input needs */

static struct {
	struct loop *loop;
	struct ctl_server *ctl;
	struct tls *server, *client;
	bool granted;
	uint64_t asked; /* the ticket of a login to be answered */
	bool good;
} world;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "ctl_remote: %s\n", what);
	abort();
}

/* ---- the server ---- */

static int do_login(struct ctl_call *call, void *arg)
{
	const char *user, *password;

	if (call->peer->role != CTL_NOBODY)
		return ctl_fail(call, EINVAL, "you are logged in already");
	if (ctl_arg_string(call->req, "user", &user) < 0 ||
	    ctl_arg_string(call->req, "password", &password) < 0)
		return ctl_fail(call, EINVAL, "it needs a user and a password");
	world.asked = call->ticket;
	world.good = !strcmp(password, "good");
	return CTL_LATER;
}

static int do_look(struct ctl_call *call, void *arg)
{
	must(world.granted, "a stranger looked");
	return 0;
}

static int do_make(struct ctl_call *call, void *arg)
{
	const char *name;
	uint64_t size;

	must(world.granted, "a stranger changed something");
	return ctl_arg_string(call->req, "name", &name) < 0 ||
			       ctl_arg_size(call->req, "size", &size) < 0
		       ? ctl_fail(call, EINVAL, "it needs a name and a size")
		       : 0;
}

static int do_drop(struct ctl_call *call, void *arg)
{
	must(false, "an operator did what admins do");
	return 0;
}

static const struct ctl_handler table[] = {
	{ "login", do_login, "log in", CTL_NOBODY },
	{ "list", do_look, "look", CTL_VIEWER },
	{ "create", do_make, "make", CTL_OPERATOR },
	{ "drop", do_drop, "end", CTL_ADMIN },
	{ 0 },
};

/* A self-signed certificate and its key, both in one file. */
static void write_certificate(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	X509_NAME *name = X509_get_subject_name(x);

	must(f && key && x, "no certificate");
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600 * 24 * 365);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)"fuzz",
				   -1, -1, 0);
	X509_set_issuer_name(x, name);
	X509_set_pubkey(x, key);
	must(X509_sign(x, key, EVP_sha256()) > 0 && PEM_write_X509(f, x) == 1 &&
		     PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1,
	     "no certificate");
	fclose(f);
	X509_free(x);
	EVP_PKEY_free(key);
}

static void make_world(void)
{
	char dir[] = "/tmp/remem-fuzz-XXXXXX", path[64], error[TLS_ERROR_MAX];
	struct tls_files files = { .cert = path }, trusted = { .ca = path };

	log_set_level((enum log_level)0);
	must(mkdtemp(dir) != NULL, "no folder");
	snprintf(path, sizeof(path), "%s/pem", dir);
	write_certificate(path);
	must(!tls_server_new(&files, &world.server, error), error);
	must(!tls_client_new(&trusted, &world.client, error), error);
	unlink(path);
	rmdir(dir);
	must(!loop_new(&world.loop), "loop_new");
	must(!ctl_server_new(world.loop, table, NULL, &world.ctl), "ctl_server_new");
}

/* A turn of the server's; a login it was asked for is answered, as PAM would, later. */
static void serve(void)
{
	must(loop_once(world.loop, 0) >= 0, "loop_once");
	if (!world.asked)
		return;
	world.granted |= world.good;
	ctl_server_answer(world.ctl, world.asked, world.good ? 0 : -EACCES, "refused",
			  CTL_OPERATOR, "fuzz");
	world.asked = 0;
}

/* ---- the stranger ---- */

static void shake(struct tls_session *s)
{
	int r = -EAGAIN;

	for (int i = 0; i < TURNS && r == -EAGAIN; i++) {
		r = tls_handshake(s);
		serve();
	}
	must(r == 0, tls_error(s));
}

/* Checks the whole lines of `text`; returns how many bytes they were. */
static size_t check_replies(const char *text, size_t len)
{
	size_t used = 0;
	const char *end;

	while ((end = memchr(text + used, '\n', len - used))) {
		struct json_object *o = NULL;
		char error[64];

		must(ctl_parse_reply(text + used, (size_t)(end - text) - used, &o,
				     error, sizeof(error)) != -EPROTO ||
			     strstr(error, "bad request"),
		     "an answer that is no reply");
		json_object_put(o);
		used = (size_t)(end - text) + 1;
	}
	return used;
}

/* False: the server has ended it. */
static bool listen_to(struct tls_session *s)
{
	static char text[CTL_REPLY_MAX];
	static size_t len;
	struct iovec v = { text + len, sizeof(text) - len };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	ssize_t n = tls_recvmsg(s, &m);
	size_t used;

	if (n < 0 && errno == EAGAIN)
		return true;
	if (n <= 0) {
		len = 0;
		return false;
	}
	len += (size_t)n;
	used = check_replies(text, len);
	memmove(text, text + used, len - used);
	len -= used;
	return true;
}

static void talk(struct tls_session *s, int fd, const uint8_t *data, size_t len,
		 size_t piece)
{
	bool said_all = false;

	for (int i = 0; i < TURNS; i++) {
		size_t want = piece && piece < len ? piece : len;
		struct iovec v = { (void *)(uintptr_t)data, want };
		struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
		ssize_t n = len && !tls_unsent(s) ? tls_sendmsg(s, &m) : 0;

		if (tls_unsent(s))
			tls_flush(s);
		data += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
		if (!len && !tls_unsent(s) && !said_all) {
			said_all = true;
			shutdown(fd, SHUT_WR);
		}
		serve();
		if (!listen_to(s))
			return;
	}
	must(false, "the server does not end it");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct tls_session *s;
	int fds[2];

	if (!world.loop)
		make_world();
	if (len < 2)
		return 0;
	world.granted = false;
	world.asked = 0;
	must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
	     "socketpair");
	ctl_server_adopt(world.ctl, fds[0], world.server, "fuzz:1");
	must(!tls_session_new(world.client, fds[1], NULL, &s), "tls_session_new");
	shake(s);
	talk(s, fds[1], data + 1, len - 1, data[0]);
	tls_session_free(s);
	close(fds[1]);
	serve();
	return 0;
}
