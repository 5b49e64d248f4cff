/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ranges of another process in, one system call for as many as it takes. */
#include "vmemdirect/pageout.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

int pageout(int pidfd, struct iovec *iov, size_t nr)
{
	while (nr) {
		ssize_t n =
			syscall(SYS_process_madvise, pidfd, iov, nr, MADV_PAGEOUT, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ENOMEM) { /* (partly) not mapped any more */
			iov++;
			nr--;
			continue;
		}
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		while (nr && (size_t)n >= iov->iov_len) {
			n -= (ssize_t)iov->iov_len;
			iov++;
			nr--;
		}
		if (nr) {
			iov->iov_base = (char *)iov->iov_base + n;
			iov->iov_len -= (size_t)n;
		}
	}
	return 0;
}
