/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading words of kernel memory, by BPF or /proc/kcore. One thread at a time.
 */
#ifndef VMEMDIRECT_PAGER_KREAD_H
#define VMEMDIRECT_PAGER_KREAD_H

#include <stdint.h>

#define KREAD_MAX 64 /* words of one call */

struct kread;

struct kread_ops {
	const char *name;
	int (*open)(struct kread **ret); /* -errno: not here, or not allowed */
	void (*close)(struct kread *k);
	/* Reads n 8-byte words; one that cannot be read is 0. 0 or -errno. */
	int (*read)(struct kread *k, const uint64_t *address, unsigned int n,
		    uint64_t *value);
};

struct kread {
	const struct kread_ops *ops;
};

extern const struct kread_ops kread_bpf_ops, kread_kcore_ops;

#endif
