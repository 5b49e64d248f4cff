/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A target in, a kernel session out, by open-iscsi. Main thread. */
#include "client/iscsiadm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/modprobe.h"
#include "client/say.h"
#include "lib/chap.h"
#include "lib/cleanup.h"

#define SAID_MAX      16384
#define RECORDS       "/etc/iscsi/nodes" /* Debian's and most others' */
#define START_LOOKS   100                /* of 100 ms: for iscsid */
#define ALREADY       15                 /* iscsiadm(8): session exists */
#define NO_RECORDS    21
#define NO_SESSION    2
#define LOGIN_AUTH    24
#define CANNOT_REACH  4
#define LOGIN_TIMEOUT 8
#define PDU_TIMEOUT   11

/* ---- programs ---- */

static void become(const char *const argv[], int out)
{
	int null = open("/dev/null", O_RDWR);

	dup2(null, STDIN_FILENO);
	dup2(out >= 0 ? out : null, STDOUT_FILENO);
	dup2(out >= 0 ? out : null, STDERR_FILENO);
	execvp(argv[0], (char *const *)argv);
	_exit(127);
}

/* What doesn't fit is read and forgotten, so that the program can end. */
static void read_all(int fd, char *said, size_t len)
{
	char some[512] = "";
	size_t n = 0;
	ssize_t r;

	for (;;) {
		r = read(fd, some, sizeof(some));
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			break;
		if ((size_t)r > len - 1 - n)
			r = (ssize_t)(len - 1 - n);
		memcpy(said + n, some, (size_t)r);
		n += (size_t)r;
	}
	said[n] = '\0';
}

/* Its status, or -errno; `said` (NULL: nobody listens) gets what it printed. */
static int run(const char *const argv[], char *said, size_t len)
{
	int fds[2] = { -1, -1 }, status = 0;
	pid_t pid;

	if (said && pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (!pid)
		become(argv, fds[1]);
	cleanup_close(&fds[1]);
	if (said && pid > 0)
		read_all(fds[0], said, len);
	cleanup_close(&fds[0]);
	if (pid < 0)
		return -errno;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
}

/* Of what iscsiadm said its last complaint, else its last line: what it writes to stdout
 * comes at its end, whenever it was. */
static const char *complaint(char *said)
{
	const char *best = said;
	bool found = false;
	char *rest = said, *line;

	while ((line = strsep(&rest, "\n"))) {
		bool is_one = !strncmp(line, "iscsiadm: ", 10);

		if (!*line || (found && !is_one))
			continue;
		best = is_one ? line + 10 : line;
		found |= is_one;
	}
	return best;
}

/* ---- iscsid ---- */

static bool iscsid_answers(void)
{
	static const char name[] = "ISCSIADM_ABSTRACT_NAMESPACE";
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(un.sun_path + 1, name, sizeof(name) - 1);
	return fd >= 0 && !connect(fd, (struct sockaddr *)&un,
				   (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
					       sizeof(name)));
}

static int start_iscsid(void)
{
	const char *const unit[] = { "systemctl", "start", "iscsid", NULL };
	const char *const alone[] = { "iscsid", NULL };
	bool systemd = !access("/run/systemd/system", F_OK);

	say_step("starting iscsid");
	run(systemd ? unit : alone, NULL, 0);
	for (int i = 0; i < START_LOOKS; i++) {
		if (iscsid_answers())
			return 0;
		usleep(100000);
	}
	say_error("iscsid does not start: try \"%s\" and look at what it says",
		  systemd ? "systemctl start iscsid" : "iscsid -f");
	return -ECONNREFUSED;
}

int iscsiadm_ready(void)
{
	const char *const argv[] = { "iscsiadm", "--version", NULL };
	char said[200];
	int r;

	if (run(argv, said, sizeof(said)) != 0) {
		say_error("iscsiadm can't be run: install the package open-iscsi");
		return -ENOENT;
	}
	r = modprobe_load("iscsi_tcp", NULL);
	if (!r)
		r = modprobe_load("sd_mod", NULL); /* where no udev does it */
	if (r || iscsid_answers())
		return r;
	return start_iscsid();
}

/* ---- targets ---- */

int iscsiadm_discover(const char *portal, void (*fn)(void *arg, const char *target),
		      void *arg)
{
	const char *const argv[] = { "iscsiadm", "-m", "discovery",     "-t",
				     "st",       "-o", "nonpersistent", "-p",
				     portal,     NULL };
	_cleanup_free_ char *said = malloc(SAID_MAX);
	char *rest, *line;
	int r;

	if (!said)
		return -ENOMEM;
	say_step("asking %s for its targets", portal);
	r = run(argv, said, SAID_MAX);
	if (r == NO_RECORDS) /* it has none for us */
		return 0;
	if (r == CANNOT_REACH || r == LOGIN_TIMEOUT || r == PDU_TIMEOUT) {
		say_error("nobody answers as an iSCSI target at %s: is it memserver's "
			  "--iscsi that listens there?",
			  portal);
		return -ECONNREFUSED;
	}
	if (r) {
		say_error("%s does not tell its targets: iscsiadm says: %s", portal,
			  complaint(said));
		return -EIO;
	}
	for (rest = said; (line = strsep(&rest, "\n"));) {
		char *target = strchr(line, ' '); /* "ADDR:PORT,GROUP NAME" */

		if (target && strlen(target + 1) <= ISCSIADM_NAME_MAX)
			fn(arg, target + 1);
	}
	return 0;
}

static int node(const struct iscsi_place *p, const char *what, const char *more,
		char *said, size_t len)
{
	const char *const argv[] = { "iscsiadm", "-m",      "node", "-T", p->target,
				     "-p",       p->portal, what,   more, NULL };

	return run(argv, said, len);
}

/*
 * What swap needs. I/O waits for a server that is gone for as long as a day (until then
 * nothing is lost; the session's recovery_tmo is set after the swap is on, see
 * transport_iscsi.c); a server is gone when it has not answered for 35 s, which a
 * thrashing guest needs; large bursts without asking.
 */
static const char settings[] = "node.startup = manual\n"
			       "node.session.scan = auto\n"
			       "node.session.initial_login_retry_max = 2\n"
			       "node.session.timeo.replacement_timeout = 20\n"
			       "node.conn[0].timeo.login_timeout = 30\n"
			       "node.conn[0].timeo.noop_out_interval = 5\n"
			       "node.conn[0].timeo.noop_out_timeout = 30\n"
			       "node.session.cmds_max = 128\n"
			       "node.session.queue_depth = 128\n"
			       "node.session.iscsi.InitialR2T = No\n"
			       "node.session.iscsi.ImmediateData = Yes\n"
			       "node.session.iscsi.FirstBurstLength = 262144\n"
			       "node.session.iscsi.MaxBurstLength = 1048576\n"
			       "node.conn[0].iscsi.MaxRecvDataSegmentLength = 262144\n";

static void write_chap(FILE *f, const struct chap *chap)
{
	bool named = false;

	fputs("node.session.auth.authmethod = CHAP\n", f);
	for (size_t i = 0; i < chap->nr; i++) {
		const struct chap_account *a = &chap->list[i];
		const char *in = a->outgoing ? "_in" : "";

		if (!a->outgoing && named)
			continue; /* the first initiator line is ours */
		named |= !a->outgoing;
		fprintf(f,
			"node.session.auth.username%s = %s\n"
			"node.session.auth.password%s = %s\n",
			in, a->user, in, a->secret);
	}
}

/* The record's file: RECORDS/TARGET/ADDR,PORT[,GROUP]/default, or without the last. */
static FILE *open_record(const struct iscsi_place *p)
{
	char addr[80], path[512];
	const char *port = strrchr(p->portal, ':') + 1;
	size_t len = (size_t)(port - 1 - p->portal);
	static const char *const forms[] = { RECORDS "/%s/%s,%s/default",
					     RECORDS "/%s/%s,%s,1/default",
					     RECORDS "/%s/%s,%s" };

	snprintf(addr, sizeof(addr), "%.*s", (int)len, p->portal);
	if (addr[0] == '[') {
		memmove(addr, addr + 1, len);
		addr[len - 2] = '\0';
	}
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct stat st;

		snprintf(path, sizeof(path), forms[i], p->target, addr, port);
		if (!stat(path, &st) && S_ISREG(st.st_mode))
			return chmod(path, 0600) ? NULL : fopen(path, "re+");
	}
	errno = ENOENT;
	return NULL;
}

/* Puts our settings before the end mark; of a name that is there twice, the last
 * counts. */
static int write_record(const struct iscsi_place *p, const struct chap *chap)
{
	static const char end[] = "# END RECORD";
	char text[SAID_MAX];
	FILE *f = open_record(p);
	size_t n;
	char *at;

	if (!f) {
		say_error("the record of %s is not below " RECORDS ": %s", p->target,
			  strerror(errno));
		return -ENOENT;
	}
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	at = strstr(text, end);
	fseek(f, at ? at - text : (long)n, SEEK_SET);
	fputs(settings, f);
	if (chap)
		write_chap(f, chap);
	fprintf(f, "%s\n", end);
	explicit_bzero(text, sizeof(text));
	if (fclose(f)) {
		say_error("can't write the record of %s: %s", p->target,
			  strerror(errno));
		return -EIO;
	}
	return 0;
}

int iscsiadm_login(const struct iscsi_place *p, const struct chap *chap)
{
	char said[2048];
	int r = node(p, "-o", "new", said, sizeof(said));

	if (r) {
		say_error("can't make a record of %s: iscsiadm says: %s", p->target,
			  complaint(said));
		return -EIO;
	}
	r = write_record(p, chap);
	if (r < 0)
		return r;
	say_step("logging in to %s at %s", p->target, p->portal);
	r = node(p, "--login", NULL, said, sizeof(said));
	if (!r)
		return 0;
	if (r == LOGIN_AUTH)
		say_error("%s refused this host: %s", p->portal,
			  chap ? "the user or the secret of --auth is wrong"
			       : "it asks for CHAP (memswap on --auth FILE), or its "
				 "access list lacks this host");
	else if (r == ALREADY)
		say_error("there is a session with %s already, not memswap's: iscsiadm "
			  "-m node -T %s -u",
			  p->target, p->target);
	else
		say_error("can't log in to %s at %s: iscsiadm says: %s", p->target,
			  p->portal, complaint(said));
	return r == ALREADY ? -EALREADY : -EACCES;
}

int iscsiadm_logout(const struct iscsi_place *p)
{
	char said[2048];
	int r = node(p, "--logout", NULL, said, sizeof(said));

	if (r && r != NO_RECORDS && r != NO_SESSION) {
		say_error("can't log out of %s: iscsiadm says: %s", p->target,
			  complaint(said));
		return -EIO;
	}
	node(p, "-o", "delete", said, sizeof(said));
	return 0;
}
