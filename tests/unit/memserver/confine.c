/* SPDX-License-Identifier: GPL-2.0-or-later */
/* flavour: plain
 * What a serving process that somebody has taken over can still do: each attempt is made in a
 * child that has given up its rights and is confined as memserver is. The same attempts are made
 * unconfined first where they are not harmful, so that a refusal means something.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memserver/confine.h"
#include "memserver/drop.h"

enum { DONE = 40, REFUSED, OTHERWISE }; /* a child's exit status */

static char folder[] = "/tmp/confine.XXXXXX";
static bool has_calls, has_files; /* found out by `able` */

static int peer = -1;                /* the accepted end of a connection */
static struct sockaddr_in elsewhere; /* where somebody listens */

static int outcome(bool worked)
{
	return worked ? DONE : errno == EPERM || errno == EACCES ? REFUSED : OTHERWISE;
}

/* ---- attempts ---- */

static int read_shadow(void)
{
	return outcome(open("/etc/shadow", O_RDONLY) >= 0);
}
static int read_elsewhere(void)
{
	return outcome(open("/usr/bin/env", O_RDONLY) >= 0);
}
static int write_elsewhere(void)
{
	return outcome(open("/tmp", O_TMPFILE | O_RDWR, 0600) >= 0);
}
static int run(void)
{
	char name[] = "/bin/true", *argv[] = { name, NULL }, *envp[] = { NULL };

	execve(name, argv, envp);
	return outcome(false);
}
static int make_process(void)
{
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (pid == 0)
		_exit(0);
	return outcome(pid > 0);
}
static int trace(void)
{
	return outcome(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0);
}
static int mount_proc(void)
{
	return outcome(mount("proc", folder, "proc", 0, NULL) == 0);
}
static int make_namespace(void)
{
	return outcome(unshare(CLONE_NEWUSER) == 0);
}
static int dial_netlink(void)
{
	return outcome(socket(AF_NETLINK, SOCK_RAW, 0) >= 0);
}
static int dial_inet(void)
{
	return outcome(socket(AF_INET, SOCK_STREAM, 0) >= 0);
}
/* A peer's connection becomes one to somebody else. */
static int redirect(void)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	return outcome(
		connect(peer, &none, sizeof(none)) == 0 &&
		connect(peer, (struct sockaddr *)&elsewhere, sizeof(elsewhere)) == 0);
}
static int sniff(void)
{
	return outcome(socket(AF_PACKET, SOCK_RAW, 0) >= 0);
}
static int load_bpf(void)
{
	union bpf_attr a = { 0 };

	return outcome(syscall(SYS_bpf, BPF_PROG_LOAD, &a, sizeof(a)) >= 0);
}
static int be_root(void)
{
	return outcome(setresuid(0, 0, 0) == 0);
}
static int make_code(void)
{
	return outcome(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
}
static int use_ring(void)
{
	return outcome(syscall(SYS_io_uring_setup, 0, NULL) >= 0);
}
static int kill_init(void)
{
	return outcome(kill(1, SIGCONT) == 0);
}

/* ---- what must still work ---- */

static void *nothing(void *arg)
{
	return arg;
}

static int live(void)
{
	char path[64];
	pthread_t t;
	int fd;

	snprintf(path, sizeof(path), "%s/file", folder);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	if (fd < 0 || ftruncate(fd, 4096) < 0 || unlink(path) < 0)
		return OTHERWISE;
	if (pthread_create(&t, NULL, nothing, NULL) || pthread_join(t, NULL))
		return OTHERWISE;
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	return outcome(fd >= 0 && open("/proc/meminfo", O_RDONLY) >= 0);
}

/* ---- a child for each ---- */

static void give_up_all(void)
{
	static const struct confine_folder may[] = { { folder, CONFINE_WRITE },
						     { "/proc", CONFINE_READ } };
	struct drop d;

	if (drop_choose(geteuid() == 0 ? "nobody" : NULL, &d) < 0 ||
	    chown(folder, d.wanted ? d.uid : geteuid(), (gid_t)-1) < 0 ||
	    drop_rights(&d) < 0 || confine_files(may, 2) < 0)
		_exit(1);
	if (has_calls && confine_calls(false) < 0)
		_exit(2);
}

static int in_child(int (*attempt)(void), bool confined)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		alarm(60);
		if (confined)
			give_up_all();
		_exit(attempt());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int ask_able(void)
{
	static const struct confine_folder all[] = { { "/", CONFINE_READ } };
	bool files = confine_files(all, 1) > 0;

	return DONE + (confine_calls(false) == 0) + 2 * files;
}

static int able(void **state)
{
	int bits;

	if (!mkdtemp(folder))
		return -1;
	bits = in_child(ask_able, false) - DONE;
	has_calls = bits & 1;
	has_files = bits & 2;
	return bits < 0;
}

static int clean(void **state)
{
	return rmdir(folder);
}

static void serves_on(void **state)
{
	assert_int_equal(in_child(live, true), DONE);
}

static void no_files_of_others(void **state)
{
	assert_int_equal(in_child(read_shadow, true), REFUSED);
	if (!has_files) /* before Linux 5.13, or switched off */
		return;
	assert_int_equal(in_child(read_elsewhere, false), DONE);
	assert_int_equal(in_child(read_elsewhere, true), REFUSED);
	assert_int_equal(in_child(write_elsewhere, false), DONE);
	assert_int_equal(in_child(write_elsewhere, true), REFUSED);
}

static void no_processes(void **state)
{
	assert_true(has_calls);
	assert_int_equal(in_child(make_process, false), DONE);
	assert_int_equal(in_child(make_process, true), REFUSED);
	assert_int_equal(in_child(run, true), REFUSED);
	assert_int_equal(in_child(trace, false), DONE);
	assert_int_equal(in_child(trace, true), REFUSED);
}

static void no_sockets_but_unix(void **state)
{
	assert_true(has_calls);
	assert_int_equal(in_child(dial_netlink, false), DONE);
	assert_int_equal(in_child(dial_netlink, true), REFUSED);
	assert_int_equal(in_child(dial_inet, false), DONE);
	assert_int_equal(in_child(dial_inet, true), REFUSED);
	assert_int_equal(in_child(sniff, true), REFUSED);
}

static int listener(struct sockaddr_in *ret)
{
	socklen_t len = sizeof(*ret);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*ret = (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	assert_int_equal(bind(fd, (struct sockaddr *)ret, len), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)ret, &len), 0);
	return fd;
}

/* A child changes the connection for all who have it: one for each attempt. */
static int redirected(bool confined)
{
	struct sockaddr_in here;
	int door = listener(&here), other = listener(&elsewhere), r;
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(client, (struct sockaddr *)&here, sizeof(here)), 0);
	peer = accept(door, NULL, NULL);
	assert_true(peer >= 0);
	r = in_child(redirect, confined);
	close(peer);
	close(client);
	close(door);
	close(other);
	return r;
}

static void no_connections_to_elsewhere(void **state)
{
	assert_true(has_calls);
	assert_int_equal(redirected(false), DONE);
	assert_int_equal(redirected(true), REFUSED);
}

static void no_new_code(void **state)
{
	assert_true(has_calls);
	assert_int_equal(in_child(make_code, false), DONE);
	assert_int_equal(in_child(make_code, true), REFUSED);
}

static void no_kernel(void **state)
{
	assert_int_equal(in_child(mount_proc, true), REFUSED);
	if (geteuid() == 0) {
		assert_int_equal(in_child(be_root, true), REFUSED);
		assert_int_equal(in_child(kill_init, true), REFUSED);
	}
	assert_true(has_calls);
	assert_int_equal(in_child(make_namespace, true), REFUSED);
	assert_int_equal(in_child(load_bpf, true), REFUSED);
	assert_int_equal(in_child(use_ring, true), REFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(serves_on),
		cmocka_unit_test(no_files_of_others),
		cmocka_unit_test(no_processes),
		cmocka_unit_test(no_sockets_but_unix),
		cmocka_unit_test(no_connections_to_elsewhere),
		cmocka_unit_test(no_new_code),
		cmocka_unit_test(no_kernel),
	};

	return cmocka_run_group_tests(tests, able, clean);
}
