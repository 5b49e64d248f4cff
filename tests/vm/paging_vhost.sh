#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
# vhost-net writes into a KVM guest's memory while it is paged. The host is a guest with an
# emulated SVM.
. "$(dirname "$0")/../lib.sh"
plan 1

truncate -s 256M "$T/swap"
check "what vhost-net brings into pages under eviction is right" \
	"$TOP/tests/vm/guest-run" --nested --module tun --module vhost_net --mem 768M \
	--timeout 500 --boot-timeout 200 --disk "$T/swap" -- env B="$B" "$TOP/tests/vm/_paging_vhost.py"
