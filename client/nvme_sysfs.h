/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's NVMe controllers as sysfs shows them. `sys` is "/sys", or a test's copy
 * of it. Any thread, no allocation that outlives a call.
 *
 * A controller's folder holds its namespaces. Where the kernel may find other ways to
 * the same namespace (native multipath), the folder holds a hidden disk nvmeScCnN (C:
 * this controller), and the block device to use is the subsystem's head, nvmeSnN.
 */
#ifndef CLIENT_NVME_SYSFS_H
#define CLIENT_NVME_SYSFS_H

#include <stddef.h>
#include <stdint.h>

#define NVME_SYSFS_NAME_MAX 31

/*
 * The block device of the controller's namespace with the lowest number, once it is
 * there and has a size. 0; -ENODEV: not yet; -ENOENT: there is no such controller.
 */
int nvme_sysfs_disk(const char *sys, const char *controller,
		    char ret_kdev[NVME_SYSFS_NAME_MAX + 1]);

/* Is `kdev` (still) one of the controller's disks? 0, -ENODEV, -ENOENT as above. */
int nvme_sysfs_has_disk(const char *sys, const char *controller, const char *kdev);

/*
 * The folder of the controller's own disk, the way to `kdev`, with its request queue and
 * the I/O counters (6.1 doesn't count the head's). 0, -ENODEV, -ENOENT as above,
 * -ENAMETOOLONG.
 */
int nvme_sysfs_way(const char *sys, const char *controller, const char *kdev,
		   char *path, size_t len);

/*
 * The TCP controller that leads to this subsystem at this address; `traddr` NULL: at
 * any. 0 or -ENOENT.
 */
int nvme_sysfs_find(const char *sys, const char *nqn, const char *traddr, uint16_t port,
		    char ret_controller[NVME_SYSFS_NAME_MAX + 1]);

#endif
