#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
# What vmemdirect will not attach to, on a host made so: it swaps, it has huge pages of both
# kinds, it passes a device through. The host is a guest.
. "$(dirname "$0")/../lib.sh"
plan 1

truncate -s 64M "$T/host-swap" "$T/swap"
check "hosts on which a VM cannot be paged safely are refused, each in words" \
	"$TOP/tests/vm/guest-run" --mem 768M --timeout 300 --disk "$T/host-swap" --disk "$T/swap" \
	--append "intel_iommu=on" --qemu-arg=-device --qemu-arg=intel-iommu \
	--qemu-arg=-device --qemu-arg=pci-testdev --module vfio-pci -- \
	env B="$B" "$TOP/tests/vm/_paging_refused.py"
