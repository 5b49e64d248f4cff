#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
# Both QEMUs under KVM: in a guest with an emulated SVM, where KVM logs the source's writes and
# the destination's faults are KVM's, asynchronous page faults among them.
. "$(dirname "$0")/../lib.sh"
plan 1

truncate -s 512M "$T/swap"
check "a guest of KVM's moves into half of its memory while it works, and goes on there without a wrong byte" \
	"$TOP/tests/vm/guest-run" --nested --module kvm_amd --mem 1G --timeout 600 --boot-timeout 200 \
	--disk "$T/swap" -- env ACCEL=kvm SWAP=/dev/vda B="$B" "$TOP/tests/vm/_migrate_kvm.py"
