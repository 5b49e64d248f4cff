/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses in, words out, by a BPF program of type SYSCALL (Linux 5.14) that is run
 * on request: no loop, sixty-four times bpf_probe_read_kernel, which gives zeros for
 * an address that is not mapped. Addresses and words lie in one array map that is
 * mapped here. Needs CAP_BPF and CAP_PERFMON (or CAP_SYS_ADMIN); kernel lockdown for
 * confidentiality forbids it.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmemdirect/pager/kread.h"

#define PER_WORD 5
#define OUT_AT   (KREAD_MAX * 8)

struct bpf_kread {
	struct kread kread;
	int map, prog;    /* owned */
	uint64_t *shared; /* owned mapping: addresses, then words */
};

static int bpf(int cmd, union bpf_attr *attr)
{
	int r = (int)syscall(SYS_bpf, cmd, attr, sizeof(*attr));

	return r < 0 ? -errno : r;
}

static int make_map(struct bpf_kread *k)
{
	union bpf_attr a = { .map_type = BPF_MAP_TYPE_ARRAY,
			     .key_size = 4,
			     .value_size = 2 * OUT_AT,
			     .max_entries = 1,
			     .map_flags = BPF_F_MMAPABLE };

	k->map = bpf(BPF_MAP_CREATE, &a);
	if (k->map < 0)
		return k->map;
	k->shared =
		mmap(NULL, 2 * OUT_AT, PROT_READ | PROT_WRITE, MAP_SHARED, k->map, 0);
	if (k->shared == MAP_FAILED) {
		k->shared = NULL;
		return -errno;
	}
	return 0;
}

static struct bpf_insn insn(uint8_t code, uint8_t dst, uint8_t src, int16_t off,
			    int32_t imm)
{
	return (struct bpf_insn){
		.code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm
	};
}

static unsigned int assemble(const struct bpf_kread *k, struct bpf_insn *p)
{
	unsigned int n = 0;

	/* r6 = the map's only value */
	p[n++] = insn(BPF_LD | BPF_DW | BPF_IMM, BPF_REG_6, BPF_PSEUDO_MAP_VALUE, 0,
		      k->map);
	p[n++] = insn(0, 0, 0, 0, 0);
	for (int i = 0; i < KREAD_MAX; i++) {
		p[n++] = insn(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_6, 0, 0);
		p[n++] = insn(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_1, 0, 0,
			      OUT_AT + 8 * i);
		p[n++] = insn(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_2, 0, 0, 8);
		p[n++] = insn(BPF_LDX | BPF_DW | BPF_MEM, BPF_REG_3, BPF_REG_6,
			      (int16_t)(8 * i), 0);
		p[n++] = insn(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_probe_read_kernel);
	}
	p[n++] = insn(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0);
	p[n++] = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return n;
}

static int load(struct bpf_kread *k)
{
	struct bpf_insn prog[PER_WORD * KREAD_MAX + 4];
	union bpf_attr a = { .prog_type = BPF_PROG_TYPE_SYSCALL,
			     .insns = (uintptr_t)prog,
			     .insn_cnt = assemble(k, prog),
			     .license = (uintptr_t) "GPL",
			     .prog_flags = BPF_F_SLEEPABLE };

	k->prog = bpf(BPF_PROG_LOAD, &a);
	return k->prog < 0 ? k->prog : 0;
}

static void bpf_close(struct kread *kread)
{
	struct bpf_kread *k = (struct bpf_kread *)kread;

	if (k->shared)
		munmap(k->shared, 2 * OUT_AT);
	if (k->map >= 0)
		close(k->map);
	if (k->prog >= 0)
		close(k->prog);
	free(k);
}

static int bpf_open(struct kread **ret)
{
	struct bpf_kread *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return -ENOMEM;
	k->kread.ops = &kread_bpf_ops;
	k->map = k->prog = -1;
	r = make_map(k);
	if (!r)
		r = load(k);
	if (r < 0) {
		bpf_close(&k->kread);
		return r;
	}
	*ret = &k->kread;
	return 0;
}

static int bpf_read(struct kread *kread, const uint64_t *address, unsigned int n,
		    uint64_t *value)
{
	struct bpf_kread *k = (struct bpf_kread *)kread;
	union bpf_attr a = { .test = { .prog_fd = (uint32_t)k->prog } };
	int r;

	memset(k->shared, 0, OUT_AT);
	memcpy(k->shared, address, n * sizeof(*address));
	r = bpf(BPF_PROG_TEST_RUN, &a);
	if (r < 0)
		return r;
	memcpy(value, k->shared + KREAD_MAX, n * sizeof(*value));
	return 0;
}

const struct kread_ops kread_bpf_ops = {
	.name = "bpf",
	.open = bpf_open,
	.close = bpf_close,
	.read = bpf_read,
};
