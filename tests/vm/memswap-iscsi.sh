#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
# A guest swaps over iSCSI: memswap and open-iscsi there, memserver and its tgtd here. CHAP
# one-way and mutual, more than the guest's RAM with every byte verified, tgtd frozen, tgtd and
# memserver killed under the load, memory given back, nothing left behind.
# The guest has room for itself beside the load (256 MB): with 144 its last part, the server gone
# for good, has hung once, the shell waiting for memory behind swap-outs that nobody took.
. "$(dirname "$0")/lib_memswap.sh"
exports=(--export 512M --export second=64M)
prepare() {
	printf 'initiator guest guestsecret1234\ntarget memserver serversecret99\n' >"$MEMSWAP_SHARE/secrets"
	printf 'initiator guest guestsecret1234\n' >"$MEMSWAP_SHARE/one-way"
	printf 'initiator guest wrongsecret1234\n' >"$MEMSWAP_SHARE/wrong"
	printf 'initiator guest guestsecret1234\ntarget memserver othersecret99\n' >"$MEMSWAP_SHARE/impostor"
	chmod 600 "$MEMSWAP_SHARE"/*
	cp "$MEMSWAP_SHARE/secrets" "$MEMSWAP_SHARE/open"
	chmod 644 "$MEMSWAP_SHARE/open"
	doors=(--iscsi "127.0.0.1:$MEMSWAP_ISCSI" --iscsi-auth "$MEMSWAP_SHARE/secrets")
}
in_guest || serve --mem 256M --cpus 2 --timeout 600
plan 45

share=$MEMSWAP_SHARE
url=$iscsi/default
keep_shell_in_memory
leftovers() {
	ls /run/memswap 2>/dev/null
	ls /sys/class/iscsi_session 2>/dev/null
	find /etc/iscsi/nodes -type f 2>/dev/null
	grep ^/dev /proc/swaps
	true
}

# -- who may come in --
refuses "without a secret nobody comes in" 1 'asks for CHAP' "$memswap" on "$url"
refuses "nor with a wrong one" 1 'the user or the secret of --auth is wrong' \
	"$memswap" on --auth "$share/wrong" "$url"
refuses "a target that can't prove itself is refused" 1 'the user or the secret of --auth is wrong|can.t log in' \
	"$memswap" on --auth "$share/impostor" "$url"
refuses "secrets that others can read are refused" 1 'chmod 600' "$memswap" on --auth "$share/open" "$url"
refuses "a file of secrets that isn't there" 1 'No such file' "$memswap" on --auth "$share/none" "$url"
refuses "an export that isn't there: the others are named" 1 \
	'has no export .*:nosuch .*it has: .*:default' "$memswap" on --auth "$share/secrets" "$iscsi/nosuch"
refuses "a port without a server" 1 'nobody listens' "$memswap" on iscsi://10.0.2.2:1/default
refuses "an option of another transport is a usage error" 2 'no meaning for iscsi' \
	"$memswap" on --timeout 3 "$url"
equal "nothing is left of all that" "$(leftovers)" ''

# -- on and off --
check "one-way: attached" "$memswap" on --auth "$share/one-way" "$iscsi/second"
equal "it is live" "$(status state)" live
check "it is off again" "$memswap" off "$iscsi/second"
equal "one-way: nothing is left" "$(leftovers)" ''
check "mutual: attached" "$memswap" on --auth "$share/secrets" "$url" || dmesg | tail -n 20 | diag
equal "status knows it" "$(status state) $(status on) $(status size_bytes)" "live True $((512 << 20))"
check "by the name that ends with the bytes" sh -c "'$memswap' status --json | grep -Eq 'remem:default:[0-9a-f]{12}'"
check "attaching again changes nothing" "$memswap" on --auth "$share/secrets" "$url"
refuses "a second way to the same pages is refused" 1 'in use over iSCSI' "$memswap" on "$nbd/default"
check "I/O waits a day for the server" grep -qx 86400 /sys/class/iscsi_session/session*/recovery_tmo
equal "no request is longer than 128 KiB" "$(cat /sys/block/sd*/queue/max_sectors_kb)" 128
check "no secret on a command line" sh -c "! cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -a 'secret[0-9]'"
check "and only root reads the record" sh -c \
	"! find /etc/iscsi -type f -perm /077 -exec grep -l guestsecret {} +"
equal "the host counts one session" "$(host memctl --json who | grep -c '"front": *"iscsi"')" 1

# -- more than the RAM, verified --
fill_seconds=600
ram=$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)
check "a quarter more than the guest's RAM" start_load max --data $((ram * 5 / 4))M --touch rand:write:64K --seconds 1 --passes 1 --verify-all
check "every byte is verified" end_load
tail -n 1 "$T/hog.out" | diag
check "none of it was lost by the kernel" \
	sh -c "! dmesg | grep -E 'Out of memory|I/O error|page allocation failure|BUG|WARNING'"

stored=$(host resident default)
check "off: all of it is read back" "$memswap" off "$url"
equal "nothing is left" "$(leftovers)" ''
check "the memory came back: $(host resident default) of $stored bytes" test "$(host resident default)" -lt $((1 << 20))

# -- the server dies under the load --
check "attached again" "$memswap" on --auth "$share/secrets" "$url"
freeze_after() {
	sleep "$1"
	host freeze_tgtd
	sleep 4
	host thaw_tgtd
}
freeze_after 0.5 &
freezer=$!
start_load 12M --data 32M --pattern rand --op write --seconds 1 --passes 1 --verify-all
wait $freezer
check "tgtd freezes under a small cgroup: every byte is right" end_load
equal "nobody was killed for memory" "$(awk '$1 == "oom_kill" { print $2 }' /sys/fs/cgroup/load/memory.events)" 0
check "work runs on it" start_load 16M --data 32M --pattern rand --op write --seconds 1000 --passes 1 --verify-all
before=$(count_swapped_in)
host kill_tgtd | diag
check "tgtd is killed under it: the work goes on" wait_for 200 swapped_in_since "$before" 1000
host kill
check "memserver is killed: the swap waits" wait_for 120 state_is connecting
refuses "off refuses, and says why" 1 'swapped out to a server that' "$memswap" off "$url"
before=$(count_swapped_in)
host start | diag
check "it is back: the work goes on" wait_for 200 swapped_in_since "$before"
check "every byte is right" end_load
tail -n 2 "$T/hog.out" | diag
check "it is live again" state_is live
check "off" "$memswap" off "$url"

# -- a server that is gone for good, under a program that has no room for what is there --
check "attached once more" "$memswap" on --auth "$share/secrets" "$url"
check "filled" start_load 24M --data 40M --pattern rand --op write --seconds 1000 --passes 1000
host kill
wait_for 120 state_is connecting
refuses "gone for good: off says what to do" 1 'force' "$memswap" off "$url"
check "off --force ends the wait" timeout 200 "$memswap" off --force "$url"
kill -KILL "$load_pid" 2>/dev/null
# (an area whose device went while its memory had no room for it stays in /proc/swaps)
equal "nothing is left but what the kernel can't let go of" "$(leftovers | grep -v deleted)" ''
