/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * userfaultfd(2) and its ioctls as functions (ioctl_userfaultfd(2)). All act on the memory
 * of the process that created the descriptor, whoever holds it; addresses are that
 * process's. Any thread; nothing allocates.
 *
 * Errors common to all: -ESRCH the process is gone; -ENOENT the range is not (any
 * more) registered or mapped; -EAGAIN its mappings are changing, try again.
 */
#ifndef VMEMDIRECT_UFFD_H
#define VMEMDIRECT_UFFD_H

#include <stdbool.h>
#include <stdint.h>

/* What a message asks for. */
struct uffd_fault {
	uint64_t hva; /* page-aligned */
	bool write_protected;
	bool write; /* (KVM's asynchronous faults always say so) */
};

/* One for this process, which serves user-mode faults only and so asks for no privilege;
 * features agreed on. */
int uffd_open(int *ret);

/* Agrees on the features the pager needs. -EINVAL: the kernel has not all of them
 * (5.19 is the first), or the descriptor was agreed on before. */
int uffd_handshake(int fd);

/* MISSING and WP events for the range from now on. -EBUSY: another userfaultfd. */
int uffd_register(int fd, uint64_t hva, uint64_t len_bytes);
int uffd_unregister(int fd, uint64_t hva, uint64_t len_bytes);

/* Reads up to `max` (at most 64) messages without waiting. Returns how many, or
 * -errno; 0: none there. */
int uffd_read(int fd, struct uffd_fault *faults, unsigned int max);

/* Fills holes and wakes who waits. *ret_done (always written) is how many bytes were
 * filled before an error. -EEXIST: the next page is there already. */
int uffd_copy(int fd, uint64_t hva, const void *from, uint64_t len_bytes,
	      uint64_t *ret_done);
int uffd_zero(int fd, uint64_t hva, uint64_t len_bytes, uint64_t *ret_done);

/* Writes to the range wait from now on; or go on. Who waited is woken even if that fails,
 * and faults again. */
int uffd_protect(int fd, uint64_t hva, uint64_t len_bytes);
int uffd_unprotect(int fd, uint64_t hva, uint64_t len_bytes);

/* Lets everybody who waits in the range try again. */
int uffd_wake(int fd, uint64_t hva, uint64_t len_bytes);

#endif
