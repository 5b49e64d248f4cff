/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses of the paged process in, ioctls on its userfaultfd out; any thread. */
#include "vmemdirect/uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fault.h"

/* MISSING_SHMEM 4.11, WP_HUGETLBFS_SHMEM (write protection of shmem) 5.19. */
#define FEATURES                                                       \
	(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_MISSING_SHMEM | \
	 UFFD_FEATURE_WP_HUGETLBFS_SHMEM)
#define NEEDED_IOCTLS                                                        \
	((UINT64_C(1) << _UFFDIO_COPY) | (UINT64_C(1) << _UFFDIO_ZEROPAGE) | \
	 (UINT64_C(1) << _UFFDIO_WRITEPROTECT) | (UINT64_C(1) << _UFFDIO_WAKE))
#define READ_MAX  64
#define UFFD_PAGE 4096

int uffd_handshake(int fd)
{
	struct uffdio_api api = { .api = UFFD_API, .features = FEATURES };

	return ioctl(fd, UFFDIO_API, &api) < 0 ? -errno : 0;
}

int uffd_open(int *ret)
{
	int r;

	*ret = (int)syscall(SYS_userfaultfd,
			    O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	if (*ret < 0)
		return -errno;
	r = uffd_handshake(*ret);
	if (r < 0) {
		close(*ret);
		*ret = -1;
	}
	return r;
}

int uffd_register(int fd, uint64_t hva, uint64_t len_bytes)
{
	struct uffdio_register reg = {
		.range = { .start = hva, .len = len_bytes },
		.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP,
	};

	if (ioctl(fd, UFFDIO_REGISTER, &reg) < 0)
		return -errno;
	if ((reg.ioctls & NEEDED_IOCTLS) != NEEDED_IOCTLS) {
		uffd_unregister(fd, hva, len_bytes);
		return -EOPNOTSUPP;
	}
	return 0;
}

int uffd_unregister(int fd, uint64_t hva, uint64_t len_bytes)
{
	struct uffdio_range range = { .start = hva, .len = len_bytes };

	return ioctl(fd, UFFDIO_UNREGISTER, &range) < 0 ? -errno : 0;
}

int uffd_read(int fd, struct uffd_fault *faults, unsigned int max)
{
	struct uffd_msg msg[READ_MAX];
	int nr = 0;
	ssize_t n;

	if (max > READ_MAX)
		max = READ_MAX;
	n = fault_errno("uffd.read") ? -1 : read(fd, msg, max * sizeof(msg[0]));
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	for (size_t i = 0; i < (size_t)n / sizeof(msg[0]); i++) {
		if (msg[i].event != UFFD_EVENT_PAGEFAULT)
			continue;
		faults[nr].hva = msg[i].arg.pagefault.address & ~UINT64_C(4095);
		faults[nr].write_protected =
			msg[i].arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP;
		faults[nr].write =
			msg[i].arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE;
		nr++;
	}
	return nr;
}

static int copy(int fd, uint64_t hva, const void *from, uint64_t len_bytes,
		uint64_t *ret_done)
{
	struct uffdio_copy copy = {
		.dst = hva,
		.src = (uintptr_t)from,
		.len = len_bytes,
	};
	int r = ioctl(fd, UFFDIO_COPY, &copy) < 0 ? -errno : 0;

	*ret_done = copy.copy > 0 ? (uint64_t)copy.copy : 0;
	return r;
}

int uffd_copy(int fd, uint64_t hva, const void *from, uint64_t len_bytes,
	      uint64_t *ret_done)
{
	int r = fault_point("uffd.copy"), some;

	*ret_done = 0;
	if (r < 0)
		return r;
	some = fault_point("uffd.copy_short");
	if (some < 0) {
		r = copy(fd, hva, from, UFFD_PAGE, ret_done);
		return r < 0 || len_bytes == UFFD_PAGE ? r : some;
	}
	if (fault_point("uffd.exists") < 0) /* as if somebody else had been faster */
		copy(fd, hva, from, UFFD_PAGE, ret_done);
	return copy(fd, hva, from, len_bytes, ret_done);
}

int uffd_zero(int fd, uint64_t hva, uint64_t len_bytes, uint64_t *ret_done)
{
	struct uffdio_zeropage zero = { .range = { .start = hva, .len = len_bytes } };
	int r = fault_errno("uffd.zero") || ioctl(fd, UFFDIO_ZEROPAGE, &zero) < 0
			? -errno
			: 0;

	*ret_done = zero.zeropage > 0 ? (uint64_t)zero.zeropage : 0;
	return r;
}

static int write_protect(int fd, uint64_t hva, uint64_t len_bytes, uint64_t mode)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = hva, .len = len_bytes },
		.mode = mode,
	};
	int r;

	do { /* -EAGAIN only while a mapping changes, a moment */
		r = ioctl(fd, UFFDIO_WRITEPROTECT, &wp) < 0 ? -errno : 0;
	} while (r == -EAGAIN);
	return r;
}

int uffd_protect(int fd, uint64_t hva, uint64_t len_bytes)
{
	int r = fault_point("uffd.protect");

	return r < 0 ? r
		     : write_protect(fd, hva, len_bytes, UFFDIO_WRITEPROTECT_MODE_WP);
}

int uffd_unprotect(int fd, uint64_t hva, uint64_t len_bytes)
{
	int r = fault_point("uffd.unprotect");

	if (!r)
		r = write_protect(fd, hva, len_bytes, 0);
	if (r < 0)
		uffd_wake(fd, hva, len_bytes);
	return r;
}

int uffd_wake(int fd, uint64_t hva, uint64_t len_bytes)
{
	struct uffdio_range range = { .start = hva, .len = len_bytes };

	return ioctl(fd, UFFDIO_WAKE, &range) < 0 ? -errno : 0;
}
