#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
# vmemdirect@.service under a real systemd in a guest: confined as the unit says; a VM whose
# daemon is killed is paged on, and loses nothing.
. "$(dirname "$0")/../lib.sh"
plan 18

truncate -s 64M "$T/swap"
check "the guest comes to the end of its script" \
	"$TOP/tests/vm/guest-run" --mem 768M --timeout 300 --share "$T" --disk "$T/swap" -- \
	"$TOP/tests/vm/_paging-service-guest" "$B" "$TOP" "$T/facts"

# fact SENTENCE KEY VALUE
fact() {
	equal "$1" "$(sed -n "s/^$2 //p" "$T/facts" | sort -u)" "$3" || diag <"$T/facts"
}
fact "the unit attaches" start active
fact "with the ten capabilities it needs" capabilities 000001c001aa4002
fact "and no way to more" privileges 1
fact "the kernel does not choose it when memory runs out" oom -1000
fact "its group may not swap" swap 0
fact "the limit is the file's" limit 8388608
fact "metrics are on loopback" metrics 1
fact "all of the VM's memory is read through it" through yes
fact "killed, it goes on by itself" killed 1
fact "and again and again" often 5
fact "and who reads the memory meanwhile reads the right bytes" reads yes
fact "stopped, it has brought everything back" stop inactive
fact "the memory object holds every byte" object yes
fact "and no journal is left" left ""
fact "it attaches again" again active
fact "when the VM ends the service ends, too" ended success
fact "a VM that is not there is not tried again and again" refused "0 1"
