/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A list of system calls in, the kernel's filter of it out. */
#include <errno.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "memserver/confine.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WITH_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WITH_SANITIZER 1
#endif
#endif
#ifndef WITH_SANITIZER
#define WITH_SANITIZER 0
#endif

/* Whatever their arguments are. Those of which the kernel has several forms stand together. */
/* clang-format off */
static const int allowed[] = {
	/* bytes of exports and peers */
	SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev),
	SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(preadv), SCMP_SYS(pwritev),
	SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(sendto), SCMP_SYS(sendmsg),
	SCMP_SYS(fallocate), SCMP_SYS(lseek), SCMP_SYS(fsync), SCMP_SYS(fdatasync),
	/* waiting */
	SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2), SCMP_SYS(poll), SCMP_SYS(ppoll),
	SCMP_SYS(select), SCMP_SYS(pselect6), SCMP_SYS(eventfd2), SCMP_SYS(futex),
	SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime), SCMP_SYS(timerfd_gettime),
	SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep), SCMP_SYS(sched_yield),
	/* clocks, for hosts whose vdso does not tell them */
	SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	/* peers that come and go; no bind, no listen */
	SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(shutdown),
	SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(getsockname),
	SCMP_SYS(getpeername),
	/* exports that come, grow and go; what there is to know of the host */
	SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(close), SCMP_SYS(ftruncate),
	SCMP_SYS(rename), SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(unlink),
	SCMP_SYS(unlinkat), SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(fstat),
	SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(fstatfs), SCMP_SYS(getdents64),
	SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(fcntl),
	SCMP_SYS(dup), SCMP_SYS(dup2), SCMP_SYS(dup3), SCMP_SYS(pipe2),
	SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(flock),
	/* memory */
	SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk),
	SCMP_SYS(mlock), SCMP_SYS(mlock2), SCMP_SYS(munlock), SCMP_SYS(mincore),
	/* threads and signals of our own, and tgtd, which is a child */
	SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(set_tid_address),
	SCMP_SYS(gettid), SCMP_SYS(getpid), SCMP_SYS(getppid),
	SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid),
	SCMP_SYS(getgroups), SCMP_SYS(sched_getaffinity), SCMP_SYS(getcpu),
	SCMP_SYS(setpriority), SCMP_SYS(getpriority), SCMP_SYS(membarrier),
	SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigaltstack), SCMP_SYS(restart_syscall), SCMP_SYS(signalfd4),
	SCMP_SYS(tgkill), SCMP_SYS(kill), SCMP_SYS(pidfd_open), SCMP_SYS(wait4),
	SCMP_SYS(waitid), SCMP_SYS(exit), SCMP_SYS(exit_group),
	/* what libraries ask */
	SCMP_SYS(getrandom), SCMP_SYS(getrlimit), SCMP_SYS(prlimit64),
	SCMP_SYS(getrusage), SCMP_SYS(sysinfo), SCMP_SYS(uname),
	/* a line too long for a datagram to the journal */
	SCMP_SYS(memfd_create),
};
/* clang-format on */

/* ---- what is refused ---- */

static const char *put_number(char *end, unsigned int n)
{
	*--end = '\0';
	do
		*--end = (char)('0' + n % 10);
	while (n /= 10);
	return end;
}

/* A signal handler: no function that may wait or allocate. A number is told once. */
static void on_refused(int signo, siginfo_t *info, void *context)
{
	static _Atomic uint64_t told[16];
	unsigned int nr = (unsigned int)info->si_syscall;
	uint64_t bit = UINT64_C(1) << nr % 64;
	char digits[12], line[100] = "memserver: warning: seccomp: system call ";
	int saved = errno;
	ucontext_t *u = context;

	if (nr < 1024 && !(atomic_fetch_or(&told[nr / 64], bit) & bit)) {
		strcat(line, put_number(digits + sizeof(digits), nr));
		strcat(line, " is not on memserver's list: refused\n");
		if (write(STDERR_FILENO, line, strlen(line)) < 0)
			errno = saved;
	}
	errno = saved;
#if defined(__x86_64__)
	u->uc_mcontext.gregs[REG_RAX] = -EPERM;
#elif defined(__aarch64__)
	u->uc_mcontext.regs[0] = (uint64_t)-EPERM;
#else
#error "where does a system call of this machine return?"
#endif
}

/* ---- the filter ---- */

static int add_conditions(scmp_filter_ctx f, bool connects)
{
	static const uint64_t threads = CLONE_THREAD | CLONE_VM | CLONE_SIGHAND;
	int r;

	/* glibc takes ENOSYS to mean: use clone, whose flags can be looked at. */
	r = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (r == 0 && connects)
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(connect), 0);
	if (r == 0)
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				     SCMP_A0(SCMP_CMP_MASKED_EQ, threads, threads));
	if (r == 0)
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
				     SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
	if (r == 0)
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
				     SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
	if (r == 0)
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (r == 0)
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	return r;
}

static int load(bool connects)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_TRAP);
	int r = f ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < sizeof(allowed) / sizeof(allowed[0]); i++) {
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, allowed[i], 0);
		if (r == -EDOM) /* not on this machine */
			r = 0;
	}
	if (r == 0)
		r = add_conditions(f, connects);
	if (r == 0)
		r = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (r == 0)
		r = seccomp_attr_set(f, SCMP_FLTATR_CTL_LOG, 1);
	if (r == 0)
		r = seccomp_load(f);
	seccomp_release(f);
	return r;
}

int confine_calls(bool connects)
{
	struct sigaction a = { .sa_sigaction = on_refused, .sa_flags = SA_SIGINFO };

	if (WITH_SANITIZER)
		return -EOPNOTSUPP;
	if (sigaction(SIGSYS, &a, NULL) < 0)
		return -errno;
	return load(connects);
}
