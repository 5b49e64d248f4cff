#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 1500
# Swap over the network in a guest that has next to no RAM, without a cgroup to soften it:
# the case that hung now and then with nbd-client and the kernel's own memory reserve.
# Some times over NBD with large frames (REPEAT=20 as often as the trial did; 20 of 20 were
# right, none waited for a time-out), then the server's death at the worst moment.
. "$(dirname "$0")/lib_memswap.sh"
REPEAT=${REPEAT:-4}
export REPEAT
in_guest || serve --mem 144M --cpus 2 --mtu 9000 --timeout 1200
plan 10

# hog over the whole guest: half as much again as the RAM that is left.
data=$(awk '/^MemTotal/ { print int($2 * 1.5 / 1024) "M" }' /proc/meminfo)
timed_out() {
	dmesg | grep -c 'Connection timed out'
}

hung=0 wrong=0
for round in $(seq "$REPEAT"); do
	"$memswap" on "$nbd/default" >/dev/null || wrong=$((wrong + 1))
	"$hog" --data "$data" --touch rand:write:4K --touch rand:read:4K --seconds 2 \
		--passes 1000 --seed "$round" >"$T/hog.out" 2>&1 || {
		wrong=$((wrong + 1))
		tail -n 3 "$T/hog.out" | diag
	}
	"$memswap" off >/dev/null || wrong=$((wrong + 1))
	[ "$(timed_out)" = 0 ] || hung=$((hung + 1))
done
diag "$data in $(awk '/^MemTotal/ { print int($2 / 1024) "M" }' /proc/meminfo) of RAM, $REPEAT times: $(tail -n 1 "$T/hog.out")"
equal "run after run: every byte is right" $wrong 0
equal "run after run: no request ever waited for its time-out" "$hung" 0
[ $hung = 0 ] || dmesg | tail -n 30 | diag

for url in "${both[@]}"; do
	way=${url%%:*}
	check "$way: attached" "$memswap" on "$url"
	: >"$T/hog.out"
	"$hog" --data "$data" --pattern rand --op write --seconds 10 --passes 1000 --events --verify-all \
		>"$T/hog.out" 2>&1 &
	load_pid=$!
	wait_for 300 grep -q filled "$T/hog.out"
	# Long enough that nothing is left in RAM but what waits; this shell may wait, too.
	host restart 6
	check "$way: the server dies while there is no memory: every byte is right" end_load
	tail -n 1 "$T/hog.out" | diag
	check "$way: off" "$memswap" off
	check "$way: the kernel has nothing to complain about" \
		sh -c "! dmesg | grep -E 'blocked for more than|page allocation failure|Out of memory|BUG|WARNING'"
done
