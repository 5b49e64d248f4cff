#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
# The server dies under a guest that swaps on it, and comes back: the work waits, goes on,
# and finds every byte. The server freezes: the same, also in a cgroup of 12 MiB, of which 8 can
# be under way to it (two queues). memswap and its keeper die: what they left is taken up.
. "$(dirname "$0")/lib_memswap.sh"
in_guest || serve --mem 256M --cpus 2 --timeout 600
plan 38

work=(--data 48M --pattern rand --op write --seconds 1000 --passes 1 --verify-all)

# freeze_after SECONDS: the server, in the background, for longer than reclaim tries, and than
# the 5 s that the kernel gives a keep-alive unless told otherwise.
freeze_after() {
	sleep "$1"
	host freeze
	sleep 12
	host thaw
}
# The longest request the kernel sends there, by any of the names its disk has in sysfs.
longest_kb() {
	cat /sys/block/{nbd0,nvme*}/queue/max_sectors_kb 2>/dev/null | sort -n | tail -n 1
}
killed_for_memory() {
	awk '$1 == "oom_kill" { print $2 }' /sys/fs/cgroup/load/memory.events
}

for url in "${both[@]}"; do
	way=${url%%:*}
	check "$way: attached" "$memswap" on "$url"
	equal "$way: no request is longer than 128 KiB" "$(longest_kb)" 128
	for after in 0.2 0.5; do
		freeze_after $after &
		freezer=$!
		start_load 12M --data 32M --pattern rand --op write --seconds 1 --passes 1 --verify-all
		wait $freezer
		check "$way: it freezes $after s after a small cgroup began: every byte is right" end_load
	done
	equal "$way: nobody was killed for memory" "$(killed_for_memory)" 0
	check "$way: work runs on it" start_load 24M "${work[@]}"
	for round in 1 2; do
		host kill
		check "$way: the server is killed, $round: the swap waits" wait_for 120 state_is connecting
		refuses "$way: $round: off refuses, and says why" 1 'swapped out to a server that' \
			"$memswap" off "$url"
		before=$(count_swapped_in)
		host start
		check "$way: it is back, $round: the work goes on" wait_for 120 swapped_in_since "$before"
	done
	equal "$way: nor after the server came back" "$(longest_kb)" 128
	check "$way: every byte is right" end_load
	tail -n 3 "$T/hog.out" | diag
	check "$way: off" "$memswap" off "$url"
done

# A server that doesn't answer, and a keeper that is killed.
check "nbd: attached with a short time-out" "$memswap" on --timeout 2 "$nbd/default"
check "nbd: work runs" start_load 24M "${work[@]}"
host freeze
slower() {
	dmesg | grep -q 'memswap: nbd0: the server is slower than the time-out'
}
check "nbd: a frozen server is noticed" wait_for 120 slower
before=$(count_swapped_in)
host thaw
check "nbd: thawed, the work goes on" wait_for 120 swapped_in_since "$before"
kill -KILL "$(status keeper)"
equal "nbd: a dead keeper is told" "$(status detail)" 'its keeper is gone: type memswap on again'
check "nbd: on brings another" sh -c "'$memswap' on '$nbd/default' | grep -q 'has a keeper again'"
host kill
host start
check "nbd: every byte is right, with the second keeper" end_load
check "nbd: off" "$memswap" off
