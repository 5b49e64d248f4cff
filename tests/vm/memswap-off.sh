#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
# memswap off where it can't just do it: no room for what is swapped out, a server that is
# gone for good, interrupted in the middle; and what a memswap that died in the middle of
# `on` or `off` has left, which the next one clears away.
. "$(dirname "$0")/lib_memswap.sh"
in_guest || serve --mem 160M --cpus 2 --timeout 400
plan 46

keep_shell_in_memory
before=$(cat /proc/sys/vm/min_free_kbytes)
leftovers() {
	ls /run/memswap 2>/dev/null
	ls -d /sys/class/nvme/nvme* 2>/dev/null
	cat /sys/block/nbd*/pid 2>/dev/null
	pgrep -f @memswap-keeper
	grep ^/dev /proc/swaps
	cat /proc/sys/vm/min_free_kbytes
}
# What is swapped out has room again, and stays where it is: the server does not answer.
freeze_and_make_room() {
	host freeze
	echo max >/sys/fs/cgroup/load/memory.max
}
# in_phase PHASE OUTPUT: memswap, at work in the background, comes to it; else, what it said.
in_phase() {
	wait_for 60 phase_is "$1" && return
	cat "$2"
	return 1
}
phase_is() {
	grep -q "\"phase\":\"$1\"" /run/memswap/*.json
}

# -- no room --
# A fifth more than the whole RAM, in a cgroup without a limit.
fill_seconds=400
data=$(awk '/^MemTotal/ { print int($2 * 1.2 / 1024) "M" }' /proc/meminfo)
check "attached" "$memswap" on "$nvme/default"
check "filled with more than there is RAM" start_load max --data "$data" --touch seq:read:4K --seconds 100000 --passes 100000
refuses "no room for what is swapped out: off refuses, with the numbers and the remedy" 1 \
	'swapped out there, and only .* of RAM and .* of other swap are free: add swap or end' "$memswap" off
equal "it is still on" "$(status state) $(status on)" "live True"
kill -KILL "$load_pid"
wait "$load_pid" 2>/dev/null
check "with room it goes" "$memswap" off
equal "nothing is left" "$(leftovers)" "$before"

for url in "${both[@]}"; do
	way=${url%%:*}

	# -- interrupted off: the server is slower than the patience of who typed it --
	# NBD's default would take the server for dead while it is frozen for so long.
	[ "$way" = nbd ] && patience=(--timeout 60) || patience=()
	check "$way: attached" "$memswap" on "${patience[@]}" "$url"
	check "$way: something is swapped out" start_load 16M --data 32M --pattern rand --op write --seconds 1 --passes 1
	end_load >/dev/null
	check "$way: again" start_load 16M --data 32M --pattern seq --op read --seconds 100000 --passes 100000
	refuses "$way: its cgroup has no room for that: off refuses, names it and the remedy" 1 \
		'control group /load has .* swapped out and room for .* raise its memory.max' "$memswap" off "$url"
	freeze_and_make_room
	"$memswap" off "$url" >"$T/off.out" 2>&1 &
	off=$!
	check "$way: off is at work" in_phase off "$T/off.out"
	kill -INT $off
	host thaw
	wait $off
	equal "$way: interrupted, off fails" $? 1
	check "$way: and says that the swap is still on" grep -q 'interrupted: .* is still on' "$T/off.out"
	check "$way: status says the same" state_is live

	# -- off that dies --
	echo 16M >/sys/fs/cgroup/load/memory.max
	freeze_and_make_room
	"$memswap" off "$url" >"$T/off.out" 2>&1 &
	off=$!
	in_phase off "$T/off.out"
	refuses "$way: beside it off does nothing" 1 'another memswap is at work on it' "$memswap" off "$url"
	"$memswap" off --force "$url" >"$T/force.out" 2>&1 &
	forced=$!
	check "$way: off --force waits" wait_for 60 grep -q 'waiting for it' "$T/force.out"
	sleep 1 # it would cut off a server that is there at once, if ever
	kill -KILL $off
	host thaw
	wait $off 2>/dev/null
	# The kernel ends a killed swapoff(2) only when it is through with a process's pages; so
	# long it holds the lock.
	check "$way: the other killed in the middle, it does the rest" wait $forced
	check "$way: the work has lost nothing" kill -KILL "$load_pid"
	wait "$load_pid" 2>/dev/null
	equal "$way: nothing is left of it" "$(leftovers)" "$before"

	# -- on that dies --
	host freeze
	"$memswap" on "$url" >"$T/on.out" 2>&1 &
	on=$!
	check "$way: on waits for a server that does not answer" in_phase connecting "$T/on.out"
	sleep 0.3
	kill -KILL $on
	host thaw
	wait $on 2>/dev/null
	check "$way: killed in the middle, off clears away what it left" "$memswap" off "$url"
	equal "$way: nothing is left of that" "$(leftovers)" "$before"

	# -- gone for good --
	check "$way: attached again" "$memswap" on "$url"
	check "$way: something is swapped out again" start_load 16M --data 32M --pattern seq --op read --seconds 100000 --passes 100000
	host kill
	wait_for 120 state_is connecting
	refuses "$way: the server is gone for good: off says what to do" 1 'bring it back, or, if it is gone for good, --force' \
		"$memswap" off "$url"
	kill -KILL "$load_pid"
	check "$way: off --force comes to an end" timeout 300 "$memswap" off --force "$url"
	wait "$load_pid" 2>/dev/null
	host start
done
