/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x86-64 (System V ABI, syscall instruction): registers in, registers out. */
#ifdef __x86_64__
#include "vmemdirect/attach/arch.h"

bool arch_find_syscall(const uint8_t *code, size_t len_bytes, size_t *ret_offset)
{
	for (size_t i = 0; i + 1 < len_bytes; i++)
		if (code[i] == 0x0f && code[i + 1] == 0x05) {
			*ret_offset = i;
			return true;
		}
	return false;
}

void arch_set_syscall(struct arch_regs *regs, uint64_t insn_address, long nr,
		      const uint64_t args[6])
{
	struct user_regs_struct *u = &regs->user;

	u->rip = insn_address;
	u->rax = (unsigned long long)nr;
	/* -1: not in a system call, so no -ERESTART* of the interrupted one applies. */
	u->orig_rax = ~0ULL;
	u->rdi = args[0];
	u->rsi = args[1];
	u->rdx = args[2];
	u->r10 = args[3];
	u->r8 = args[4];
	u->r9 = args[5];
}

int64_t arch_result(const struct arch_regs *regs)
{
	return (int64_t)regs->user.rax;
}
#endif
