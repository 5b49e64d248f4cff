#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
# KVM's asynchronous page faults, on and off, with slow storage below vmemdirect. The host is a guest
# with an emulated SVM. Times are for people (bench/paging/apf compares them), counts are asserted.
. "$(dirname "$0")/../lib.sh"
plan 1

check "how many pages a KVM guest's only vCPU waits for is as KVM says, never less" \
	"$TOP/tests/vm/guest-run" --nested --module kvm_amd --module dm_delay --mem 1G \
	--timeout 700 --boot-timeout 200 -- sh -c 'modprobe brd rd_nr=1 rd_size=262144 && exec "$0"' \
	"$TOP/tests/vm/_paging_apf.py"
