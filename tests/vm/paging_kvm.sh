#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
# Debian's kernel 6.1 and KVM: a guest with an emulated SVM pages a guest of its own.
. "$(dirname "$0")/../lib.sh"
plan 2

truncate -s 512M "$T/swap" "$T/disk"

# run_in_guest WORDS...: guest-run with a disk for the swap (tmpfs has no O_DIRECT in 6.1).
run_in_guest() {
	"$TOP/tests/vm/guest-run" --mem 1G --timeout 500 --boot-timeout 200 \
		--disk "$T/swap" --disk "$T/disk" "$@"
}

check "a KVM guest on Linux 6.1 works in 25 % of its memory without a wrong byte" \
	run_in_guest --nested --module kvm_amd -- env ACCEL=kvm SWAP=/dev/vda WORK=8 B="$B" \
	"$TOP/tests/vm/paging_guest.py" "attached while it boots"
check "pinned pages are told by /proc/kcore" \
	run_in_guest --cpus 2 -- env PIN_METHOD=kcore SWAP=/dev/vda ODIRECT=/dev/vdb B="$B" \
	"$TOP/tests/fault/paging_pinned.py"
