#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# flavour: plain
# timeout: 600
# memserver as a systemd service, under a real systemd in a guest: confined as the unit says,
# restarted when it is killed or hangs, and never at the cost of what it stores.
. "$(dirname "$0")/../lib.sh"
plan 24

"$TOP/tests/make-pki" "$T/pki" # also for who is root in the guest

check "the guest comes to the end of its script" \
	"$TOP/tests/vm/guest-run" --mem 512M --timeout 400 --share "$T" -- \
	"$TOP/tests/vm/_service-guest" "$B" "$TOP" "$T/facts"

# fact SENTENCE KEY VALUE
fact() {
	equal "$1" "$(sed -n "s/^$2 //p" "$T/facts")" "$3" || diag <"$T/facts"
}
fact "the service starts, the pool's unit before it" started active
fact "it serves as memserver" user memserver
fact "in no other group" groups ""
fact "without capabilities" capabilities "0000000000000000 0000000000000000"
fact "or a way to new ones" privileges 1
fact "beside a helper that is root, and tgtd that is not" helper "memserver-help:root tgtd:memserver"
fact "it says so" force "memserver, seccomp, Landlock (ABI 2)"
fact "under filters of system calls" seccomp 2
fact "it is among the last to be killed for memory" oom -900
fact "its memory is locked" locked 1
fact "the pool is a tmpfs in the host's namespace" mounted "memserver tmpfs"
fact "its group may not swap" swap 0
fact "it serves" write 0
fact "the host's users log in, who have the password" login "0 1"
fact "it reads keys again that only root may read, and opens the audit log anew" reload "0 1"
fact "exports grow" resized 0
fact "tgtd serves" iscsi 0
fact "killed, it is back with its bytes" killed 0
fact "restarted, too" restarted 0
fact "stopped, it leaves them" stopped inactive
fact "and finds them when it is started again" again 0
fact "hanging, its watchdog brings it back" watchdog 0
fact "a configuration that makes no sense is not tried again and again" nonsense inactive
