/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Folders in, a Landlock domain that has no others out. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "memserver/confine.h"

#define READS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITES                                                                    \
	(READS | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
	 LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK)
/* All of ABI 1: EXECUTE to MAKE_SYM. */
#define ALL_OF_1 ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)
/* ABI 3; not in the headers of Linux 6.1. */
#define ACCESS_TRUNCATE (UINT64_C(1) << 14)

static const uint64_t rights[] = {
	[CONFINE_READ] = READS,
	[CONFINE_WRITE] = WRITES | ACCESS_TRUNCATE,
	[CONFINE_DEVICE] = READS | LANDLOCK_ACCESS_FS_WRITE_FILE,
};

static int open_folder(const char *path)
{
	char copy[PATH_MAX];
	int fd = open(path, O_PATH | O_CLOEXEC);
	struct stat st;

	if (fd >= 0 && !fstat(fd, &st) && S_ISDIR(st.st_mode))
		return fd;
	if (fd >= 0)
		close(fd);
	snprintf(copy, sizeof(copy), "%s", path);
	return open(dirname(copy), O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int add(int ruleset, const struct confine_folder *f, uint64_t handled)
{
	_cleanup_close_ int fd = open_folder(f->path);
	struct landlock_path_beneath_attr a = { .allowed_access =
							rights[f->access] & handled,
						.parent_fd = fd };

	if (fd < 0)
		return 0;
	return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &a,
		       0) < 0
		       ? -errno
		       : 0;
}

int confine_files(const struct confine_folder *folders, size_t nr)
{
	struct landlock_ruleset_attr a = { .handled_access_fs = ALL_OF_1 };
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
			   LANDLOCK_CREATE_RULESET_VERSION);
	_cleanup_close_ int ruleset = -1;
	int r = 0;

	if (abi < 0) /* ENOSYS: not built in; EOPNOTSUPP: not switched on */
		return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
	if (abi >= 3)
		a.handled_access_fs |= ACCESS_TRUNCATE;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &a, sizeof(a), 0);
	if (ruleset < 0)
		return -errno;
	for (size_t i = 0; r == 0 && i < nr; i++)
		r = add(ruleset, &folders[i], a.handled_access_fs);
	if (r == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		r = -errno;
	return r < 0 ? r : (int)abi;
}
