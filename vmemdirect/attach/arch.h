/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What injecting a system call needs to know of a processor. One .c per architecture
 * implements all of it.
 */
#ifndef VMEMDIRECT_ATTACH_ARCH_H
#define VMEMDIRECT_ATTACH_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/user.h>

struct arch_regs {
	struct user_regs_struct user; /* NT_PRSTATUS */
};

/* Where in `code` (of the vdso) the instruction that enters the kernel is. */
bool arch_find_syscall(const uint8_t *code, size_t len_bytes, size_t *ret_offset);

/* Turns a stopped thread's registers into those of a system call that starts at
 * `insn_address`, with the kernel's own restart logic kept out of it. */
void arch_set_syscall(struct arch_regs *regs, uint64_t insn_address, long nr,
		      const uint64_t args[6]);

/* The result of the system call: the value, or -errno. */
int64_t arch_result(const struct arch_regs *regs);

#endif
