/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A user's name in; a process with that user's rights, which are none, out. */
#include "memserver/drop.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/log.h"

int drop_choose(const char *user, struct drop *ret)
{
	const char *name = user ? user : DROP_USER;
	const struct passwd *pw;

	*ret = (struct drop){ 0 };
	if (!user && geteuid() != 0)
		return 0;
	errno = 0;
	pw = getpwnam(name);
	if (!pw && !user) {
		log_warn("runs as root: this host has no user '%s'; make one (useradd "
			 "--system %s, or sysusers.d), or say --user root",
			 name, name);
		return 0;
	}
	if (!pw) {
		log_err("--user %s: no such user on this host; make one, or leave it "
			"out",
			name);
		return -ENOENT;
	}
	if (pw->pw_uid == geteuid())
		return 0;
	if (geteuid() != 0) {
		log_err("--user %s: only root can become another user", name);
		return -EPERM;
	}
	ret->wanted = true;
	ret->uid = pw->pw_uid;
	ret->gid = pw->pw_gid;
	snprintf(ret->name, sizeof(ret->name), "%.32s", name);
	return 0;
}

static int fail(const char *what, int r)
{
	log_err("giving up the rights of root: %s: %s; --user root keeps them", what,
		strerror(-r));
	return r;
}

void drop_memory_limit(struct drop *d)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

	d->locks = d->wanted && setrlimit(RLIMIT_MEMLOCK, &all) < 0;
}

/* The kernel takes what is in force when the user changes, and leaves what is possible. */
static int keep_lock(const struct drop *d)
{
	static const cap_value_t lock = CAP_IPC_LOCK;
	cap_t caps = d->locks ? cap_get_proc() : NULL;
	int r = 0;

	if (caps && (cap_set_flag(caps, CAP_EFFECTIVE, 1, &lock, CAP_SET) < 0 ||
		     cap_set_proc(caps) < 0))
		r = errno == EPERM ? 0 : -errno; /* root does not have it either */
	cap_free(caps);
	return r;
}

int drop_pause(const struct drop *d)
{
	if (!d->wanted)
		return 0;
	if (setegid(d->gid) < 0 || seteuid(d->uid) < 0)
		return fail("seteuid", -errno);
	return keep_lock(d);
}

int drop_resume(const struct drop *d)
{
	if (!d->wanted)
		return 0;
	if (seteuid(0) < 0 || setegid(0) < 0)
		return fail("seteuid", -errno);
	return 0;
}

int drop_capabilities(const int *keep, size_t nr)
{
	cap_t have = cap_get_proc(), want = cap_init();
	cap_flag_value_t on;
	int r = 0;

	if (!have || !want)
		r = -ENOMEM;
	for (cap_value_t c = 0; r == 0 && c < cap_max_bits(); c++) {
		size_t i = 0;

		while (i < nr && keep[i] != c)
			i++;
		if (i == nr)
			cap_drop_bound(c); /* without SETPCAP it stays, unreachable */
		else if (!cap_get_flag(have, c, CAP_PERMITTED, &on) && on == CAP_SET)
			cap_set_flag(want, CAP_PERMITTED, 1, &c, CAP_SET),
				cap_set_flag(want, CAP_EFFECTIVE, 1, &c, CAP_SET);
	}
	if (r == 0 && cap_set_proc(want) < 0)
		r = -errno;
	cap_free(have);
	cap_free(want);
	return r;
}

int drop_rights(const struct drop *d)
{
	static const int lock = CAP_IPC_LOCK;
	int r;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return fail("no new privileges", -errno);
	if (!d->wanted)
		return 0;
	if (d->locks)
		prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
	if (setgroups(0, NULL) < 0 || setresgid(d->gid, d->gid, d->gid) < 0 ||
	    setresuid(d->uid, d->uid, d->uid) < 0)
		return fail("setresuid", -errno);
	r = drop_capabilities(&lock, d->locks);
	if (r < 0)
		return fail("capabilities", r);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (setresuid(0, 0, 0) == 0 || geteuid() != d->uid || getegid() != d->gid)
		return fail("the kernel gave them back", -EPERM);
	return 0;
}
