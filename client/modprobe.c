/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A module's name in, a loaded module or a sentence out. Main thread. */
#include "client/modprobe.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/file.h"
#include "client/say.h"

static void run(const char *program, const char *module, const char *param)
{
	int null = open("/dev/null", O_RDWR);

	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	execl(program, program, "-q", module, param, (char *)NULL);
	_exit(127);
}

int modprobe_load(const char *module, const char *param)
{
	char program[PATH_MAX] = "";
	struct utsname uts;
	int status = -1;
	pid_t pid;

	if (file_read(program, sizeof(program), "/proc/sys/kernel/modprobe") <= 0)
		strcpy(program, "/sbin/modprobe");
	say_step("loading the kernel module %s", module);
	pid = fork();
	if (!pid)
		run(program, module, param);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid > 0 && WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	uname(&uts);
	say_error(
		"the kernel module %s can't be loaded (%s failed): is it installed for "
		"kernel %s? On Debian it comes with linux-image-%s; \"cloud\" kernels "
		"may lack it",
		module, program, uts.release, uts.release);
	return -ENOENT;
}
