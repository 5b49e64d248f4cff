/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses in, words out of /proc/kcore, an ELF core file of the running kernel: its
 * program headers say which part of it holds which addresses. One pread a word. Needs
 * CAP_SYS_RAWIO; kernel lockdown for confidentiality forbids it.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmemdirect/pager/kread.h"

#define SEGMENTS_MAX 256

struct kcore_kread {
	struct kread kread;
	int fd; /* owned */
	unsigned int nr;
	Elf64_Phdr segment[SEGMENTS_MAX];
};

static void kcore_close(struct kread *kread)
{
	struct kcore_kread *k = (struct kcore_kread *)kread;

	if (k->fd >= 0)
		close(k->fd);
	free(k);
}

static int read_headers(struct kcore_kread *k)
{
	Elf64_Ehdr e;
	Elf64_Phdr p;

	if (pread(k->fd, &e, sizeof(e), 0) != (ssize_t)sizeof(e))
		return -EIO;
	if (e.e_ident[EI_CLASS] != ELFCLASS64 || e.e_phentsize != sizeof(p))
		return -EPROTO;
	for (unsigned int i = 0; i < e.e_phnum && k->nr < SEGMENTS_MAX; i++) {
		if (pread(k->fd, &p, sizeof(p), (off_t)(e.e_phoff + i * sizeof(p))) !=
		    (ssize_t)sizeof(p))
			return -EIO;
		if (p.p_type == PT_LOAD)
			k->segment[k->nr++] = p;
	}
	return k->nr ? 0 : -ENODATA;
}

static int kcore_open(struct kread **ret)
{
	struct kcore_kread *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return -ENOMEM;
	k->kread.ops = &kread_kcore_ops;
	k->fd = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
	r = k->fd < 0 ? -errno : read_headers(k);
	if (r < 0) {
		kcore_close(&k->kread);
		return r;
	}
	*ret = &k->kread;
	return 0;
}

static uint64_t read_word(const struct kcore_kread *k, uint64_t address)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < k->nr; i++) {
		const Elf64_Phdr *p = &k->segment[i];

		if (address - p->p_vaddr >= p->p_memsz)
			continue;
		if (pread(k->fd, &value, sizeof(value),
			  (off_t)(p->p_offset + (address - p->p_vaddr))) !=
		    (ssize_t)sizeof(value))
			value = 0;
		break;
	}
	return value;
}

static int kcore_read(struct kread *kread, const uint64_t *address, unsigned int n,
		      uint64_t *value)
{
	for (unsigned int i = 0; i < n; i++)
		value[i] = read_word((struct kcore_kread *)kread, address[i]);
	return 0;
}

const struct kread_ops kread_kcore_ops = {
	.name = "kcore",
	.open = kcore_open,
	.close = kcore_close,
	.read = kcore_read,
};
