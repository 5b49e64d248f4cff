#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
# The server comes back without the bytes, as after a reboot of its host: whoever needs
# them gets errors, never zeros; memswap tells it, and cleans up as far as the kernel can.
. "$(dirname "$0")/lib_memswap.sh"
in_guest || serve --mem 256M --cpus 2 --timeout 600
plan 17

work=(--data 48M --pattern rand --op write --seconds 1000 --passes 1000)

# The end of hog: by a signal (SIGBUS), or because a system call failed; never by status
# 1, which would be a wrong byte.
died_of_it() {
	end_load
	case $? in
	0 | 1) return 1 ;;
	esac
}

for url in "$nbd/default" "$nvme/default"; do
	way=${url%%:*}
	check "$way: attached" "$memswap" on "$url"
	check "$way: work runs on it" start_load 24M "${work[@]}"
	host kill
	wait_for 120 state_is connecting
	host forget
	host start
	check "$way: an export of that name without the bytes: the device is dead" \
		wait_for 120 state_is dead
	equal "$way: status tells why" "$(status detail)" 'the server no longer has these bytes'
	check "$way: the work dies, and reads no wrong byte before" died_of_it
	tail -n 3 "$T/hog.out" | diag
	check "$way: off by force" "$memswap" off --force "$url"
	equal "$way: memswap has forgotten it" "$("$memswap" status)" 'nothing is attached'
done

equal "nbd's swap is off, nvme's stays in the kernel's table" \
	"$(tail -n +2 /proc/swaps | cut -d' ' -f1 | tr '\n' ' ')" '/dev/nvme0n1\040(deleted) '
check "the new export can be attached" "$memswap" on "$nbd/default"
check "and taken off" "$memswap" off
