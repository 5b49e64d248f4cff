/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A process and a system call in, its result out. The thread is seized and stopped
 * with PTRACE_INTERRUPT, its registers and signal mask are put aside, it runs the
 * vdso's syscall instruction once with all signals blocked, and is interrupted again:
 * the registers are put back in that second event-stop, because only on the way out
 * of one does the kernel apply its -ERESTART* logic to them. Main thread only (a
 * tracer is a thread).
 */
#include "vmemdirect/attach/inject.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "vmemdirect/attach/arch.h"
#include "vmemdirect/attach/proc.h"

#define STOP_TIMEOUT_MS 2000
#define SIGSET_BYTES    8 /* the kernel's sigset_t */

/* Where the process has an instruction that enters the kernel: always in its vdso, so
 * it does not matter what the thread was doing. */
static int find_syscall(pid_t pid, uint64_t *ret_address)
{
	_cleanup_close_ int mem = -1;
	_cleanup_free_ uint8_t *code = NULL;
	struct proc_map vdso = { 0 };
	char path[64];
	size_t at, len;
	int r = proc_map_named(pid, "[vdso]", &vdso);

	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = open(path, O_RDONLY | O_CLOEXEC);
	if (mem < 0)
		return -errno;
	len = vdso.end - vdso.start;
	code = malloc(len);
	if (!code)
		return -ENOMEM;
	if (pread(mem, code, len, (off_t)vdso.start) != (ssize_t)len)
		return -EIO;
	if (!arch_find_syscall(code, len, &at))
		return -EOPNOTSUPP;
	*ret_address = vdso.start + at;
	return 0;
}

/* Waits for the thread's next stop. waitpid has no time-out; a thread in an
 * uninterruptible sleep never stops. */
static int wait_stop(pid_t tid, int *ret_status)
{
	struct timespec nap = { .tv_nsec = 20 * 1000 };

	for (int ms = 0; ms < STOP_TIMEOUT_MS * 50; ms++) {
		pid_t p = waitpid(tid, ret_status, __WALL | WNOHANG);

		if (p == tid)
			return WIFSTOPPED(*ret_status) ? 0 : -ESRCH;
		if (p < 0)
			return errno == ECHILD ? -ESRCH : -errno;
		nanosleep(&nap, NULL);
	}
	return -ETIME;
}

static bool is_event_stop(int status)
{
	return status >> 16 == PTRACE_EVENT_STOP;
}

/* Stops the thread by PTRACE_INTERRUPT; signals that come first are passed on. */
static int interrupt(pid_t tid)
{
	int status, r;

	if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) < 0)
		return -errno;
	for (;;) {
		r = wait_stop(tid, &status);
		if (r < 0 || is_event_stop(status))
			return r;
		if (ptrace(PTRACE_CONT, tid, 0, (long)WSTOPSIG(status)) < 0)
			return -errno;
	}
}

static int get_regs(pid_t tid, struct arch_regs *regs)
{
	struct iovec v = { &regs->user, sizeof(regs->user) };

	return ptrace(PTRACE_GETREGSET, tid, (void *)NT_PRSTATUS, &v) < 0 ? -errno : 0;
}

static int set_regs(pid_t tid, struct arch_regs *regs)
{
	struct iovec v = { &regs->user, sizeof(regs->user) };

	return ptrace(PTRACE_SETREGSET, tid, (void *)NT_PRSTATUS, &v) < 0 ? -errno : 0;
}

/* Lets the thread run to the entry (first call) or the exit of its system call. */
static int run_to_syscall_stop(pid_t tid)
{
	int status, r;

	do {
		if (ptrace(PTRACE_SYSCALL, tid, 0, 0) < 0)
			return -errno;
		r = wait_stop(tid, &status);
	} while (!r && is_event_stop(status));
	return r;
}

/* The thread is in an event-stop, and is again at the end. */
static int call_in_stop(pid_t tid, uint64_t insn, long nr, const uint64_t args[6],
			int64_t *ret_value)
{
	struct arch_regs before, regs;
	uint64_t mask_before, mask_all = ~UINT64_C(0);
	int r = get_regs(tid, &before), undo;

	if (r < 0)
		return r;
	if (ptrace(PTRACE_GETSIGMASK, tid, (void *)SIGSET_BYTES, &mask_before) < 0 ||
	    ptrace(PTRACE_SETSIGMASK, tid, (void *)SIGSET_BYTES, &mask_all) < 0)
		return -errno;
	regs = before;
	arch_set_syscall(&regs, insn, nr, args);
	r = set_regs(tid, &regs);
	if (!r)
		r = run_to_syscall_stop(tid);
	if (!r)
		r = run_to_syscall_stop(tid);
	if (!r)
		r = get_regs(tid, &regs);
	if (!r) {
		*ret_value = arch_result(&regs);
		/* The interrupt is pending when the thread goes on, so it runs no
		 * instruction of its own in between. */
		if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) < 0 ||
		    ptrace(PTRACE_CONT, tid, 0, 0) < 0)
			r = -errno;
		else
			r = wait_stop(tid, &(int){ 0 });
	}
	undo = set_regs(tid, &before);
	if (ptrace(PTRACE_SETSIGMASK, tid, (void *)SIGSET_BYTES, &mask_before) < 0)
		undo = -errno;
	return r < 0 ? r : undo;
}

static int inject_into(pid_t tid, uint64_t insn, long nr, const uint64_t args[6],
		       int64_t *ret_value)
{
	int r;

	/* A seccomp filter of QEMU's must not see the call; needs SYS_ADMIN and
	 * CHECKPOINT_RESTORE, and is mostly not needed. */
	if (ptrace(PTRACE_SEIZE, tid, 0, (long)PTRACE_O_SUSPEND_SECCOMP) < 0 &&
	    ptrace(PTRACE_SEIZE, tid, 0, 0) < 0)
		return -errno;
	r = interrupt(tid);
	if (!r)
		r = call_in_stop(tid, insn, nr, args, ret_value);
	if (r == -ETIME) /* detaching needs a stop: take it when it comes */
		waitpid(tid, NULL, __WALL | WNOHANG);
	ptrace(PTRACE_DETACH, tid, 0, 0);
	return r;
}

int inject_syscall(pid_t pid, long nr, const uint64_t args[6], int64_t *ret_value)
{
	char path[64];
	struct dirent *e;
	uint64_t insn = 0;
	DIR *dir;
	int r = find_syscall(pid, &insn);

	if (r < 0)
		return r;
	r = inject_into(pid, insn, nr, args, ret_value);
	if (r != -ETIME && r != -ESRCH)
		return r == -EPERM && proc_tracer(pid) > 0 ? -EBUSY : r;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		return -ESRCH;
	while ((r == -ETIME || r == -ESRCH) && (e = readdir(dir))) {
		pid_t tid = (pid_t)atoi(e->d_name);

		if (tid > 0 && tid != pid)
			r = inject_into(tid, insn, nr, args, ret_value);
	}
	closedir(dir);
	return r;
}
