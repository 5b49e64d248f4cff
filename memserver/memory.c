/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Nothing in; the kernel told which of our pages must stay, and which need not. */
#include "memserver/memory.h"

#include <errno.h>
#include <link.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "lib/log.h"

bool memory_lock(bool noswap)
{
	bool locked = mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0;

	if (!locked && noswap)
		log_note("memory is not locked (%s), but the pool is a tmpfs with "
			 "noswap",
			 strerror(errno));
	else if (!locked)
		log_warn("memory cannot be locked (%s): lent pages may be swapped out "
			 "by this host; raise LimitMEMLOCK (ulimit -l) or run as root",
			 strerror(errno));
	return locked;
}

void memory_flusher(void)
{
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0)
		log_info("not marked as part of the I/O path (PR_SET_IO_FLUSHER: %s); "
			 "it matters when this host itself swaps to what it lends",
			 strerror(errno));
}

/* ---- what only starting needed ---- */

bool memory_serves(const char *path, bool tls)
{
	/* The program itself has no name; ld.so finds threads their variables. */
	static const char *const always[] = { "libc.so", "ld-linux", "linux-vdso" };
	static const char *const for_tls[] = { "libssl.so", "libcrypto.so" };
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	if (!*name)
		return true;
	for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
		if (!strncmp(name, always[i], strlen(always[i])))
			return true;
	for (size_t i = 0; tls && i < sizeof(for_tls) / sizeof(for_tls[0]); i++)
		if (!strncmp(name, for_tls[i], strlen(for_tls[i])))
			return true;
	return false;
}

/* Segments that are written to (relocated tables too) are memory of our own: they stay. */
static int trim(struct dl_phdr_info *lib, size_t size, void *arg)
{
	const bool *tls = arg;
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	if (memory_serves(lib->dlpi_name, *tls))
		return 0;
	for (int i = 0; i < lib->dlpi_phnum; i++) {
		const ElfW(Phdr) *seg = &lib->dlpi_phdr[i];
		uintptr_t from = lib->dlpi_addr + seg->p_vaddr;
		uintptr_t end = (from + seg->p_memsz + page - 1) & ~(page - 1);

		if (seg->p_type != PT_LOAD || (seg->p_flags & PF_W))
			continue;
		from &= ~(page - 1);
		if (munlock((void *)from, end - from) == 0)
			madvise((void *)from, end - from, MADV_DONTNEED);
	}
	return 0;
}

void memory_trim(bool tls)
{
	malloc_trim(0);
	dl_iterate_phdr(trim, &tls);
}
