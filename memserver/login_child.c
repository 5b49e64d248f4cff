/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process that asks PAM about one login: words ended by NULs on standard input, one
 * digit (the role) and a line on standard output. It may hang or crash: whoever started
 * it expects that.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <security/pam_appl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "memserver/login.h"

#define NR_WORDS   6 /* user, password, source, the groups of three roles */
#define GROUPS_MAX 1024

struct question {
	char text[4096];
	const char *word[NR_WORDS];
};

static int read_question(struct question *q)
{
	size_t len = 0, at = 0;
	ssize_t n;

	while ((n = read(0, q->text + len, sizeof(q->text) - 1 - len)) > 0)
		len += (size_t)n;
	q->text[len] = '\0';
	for (int i = 0; i < NR_WORDS; i++) {
		if (at >= len)
			return -EINVAL;
		q->word[i] = q->text + at;
		at += strlen(q->text + at) + 1;
	}
	return 0;
}

/* PAM's questions: a hidden answer is the password, any other the user. */
static int converse(int nr, const struct pam_message **msg, struct pam_response **ret,
		    void *arg)
{
	const struct question *q = arg;
	struct pam_response *r = calloc((size_t)nr, sizeof(*r));

	if (!r)
		return PAM_BUF_ERR;
	for (int i = 0; i < nr; i++)
		if (msg[i]->msg_style == PAM_PROMPT_ECHO_OFF)
			r[i].resp = strdup(q->word[1]);
		else if (msg[i]->msg_style == PAM_PROMPT_ECHO_ON)
			r[i].resp = strdup(q->word[0]);
	*ret = r;
	return PAM_SUCCESS;
}

static int answer(enum ctl_role role, const char *why)
{
	printf("%d%s\n", (int)role, why);
	return fflush(stdout) ? 1 : 0;
}

static int ask(struct question *q, const char **ret_why)
{
	struct pam_conv conv = { converse, q };
	int flags = PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK, r;
	pam_handle_t *h = NULL;

	*ret_why = "wrong user or password";
	r = pam_start(LOGIN_SERVICE, q->word[0], &conv, &h);
	if (r != PAM_SUCCESS) {
		*ret_why = "PAM does not start";
		return r;
	}
	pam_set_item(h, PAM_RHOST, q->word[2]);
	pam_set_item(h, PAM_TTY, "memserver");
	r = pam_authenticate(h, flags);
	if (r == PAM_SUCCESS) {
		r = pam_acct_mgmt(h, flags);
		*ret_why = r == PAM_NEW_AUTHTOK_REQD ? "the password has expired: "
						       "change it on the host"
			   : r == PAM_ACCT_EXPIRED   ? "the account has expired"
						     : "the account may not be used";
	}
	pam_end(h, r);
	return r;
}

/* By the groups the user has now. */
static enum ctl_role role_of(const struct question *q)
{
	const struct passwd *pw = getpwnam(q->word[0]);
	gid_t gids[GROUPS_MAX];
	int nr = GROUPS_MAX;
	struct roles_cfg cfg = { 0 };
	struct roles roles;

	if (!pw)
		return CTL_NOBODY;
	if (pw->pw_uid == 0)
		return CTL_ADMIN;
	for (int i = CTL_VIEWER; i <= CTL_ADMIN; i++)
		if (*q->word[2 + i])
			cfg.group[i] = q->word[2 + i];
	if (roles_init(&roles, &cfg) < 0 ||
	    getgrouplist(pw->pw_name, pw->pw_gid, gids, &nr) < 0)
		return CTL_NOBODY;
	return roles_of(&roles, gids, (size_t)nr);
}

int login_child(void)
{
	struct rlimit none = { 0, 0 };
	struct question q = { .text = "" };
	const char *why;
	enum ctl_role role;

	/* Passwords are in no core file and in no debugger's reach. */
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
	alarm(2 * LOGIN_SECONDS);
	if (read_question(&q) < 0)
		return 2;
	if (ask(&q, &why) != PAM_SUCCESS)
		return answer(CTL_NOBODY, why);
	role = role_of(&q);
	return answer(role, role ? "" : "the user is in none of the groups for roles");
}
