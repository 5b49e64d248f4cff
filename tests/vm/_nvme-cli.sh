#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The guest's part of nvme-cli.sh: a memserver, and the kernel's host on the same loopback,
# so that the server can be stopped, killed and administrated in between.
. "$(dirname "$0")/../lib.sh"

pool=/dev/shm/pool
nqn=nqn.2026-11.io.remem
server() {
	mkdir -p $pool
	start_server memserver 'ready: nvme-discovery' "$B/memserver" --export 64M \
		--export quota=32M,quota=1M --pool $pool --control /run/ctl --reserve 16M --nbd off \
		--metrics off --log-level info
}
ctl() {
	"$B/memctl" -s /run/ctl "$@"
}
resident() { # of the export default, in bytes
	ctl --json list | /usr/bin/python3 -c '
import json, sys
print(next(e["resident"] for e in json.load(sys.stdin) if e["name"] == "default"))'
}
connect() { # EXPORT FLAG...
	local export=$1

	shift
	nvme connect -t tcp -a 127.0.0.1 -s 4420 -n "$nqn:$export" "$@" && wait_for 60 device "$export"
}
# device NAME: the block device of that export, or failure. Multipath hides the paths.
device() {
	local s
	for s in /sys/class/nvme-subsystem/*; do
		[ "$(cat "$s/subsysnqn" 2>/dev/null)" = "$nqn:$1" ] || continue
		for n in "$s"/nvme*n*; do
			[ -b "/dev/${n##*/}" ] && echo "/dev/${n##*/}" && return 0
		done
	done
	return 1
}
all_gone() {
	! ls /dev/nvme[0-9]* >/dev/null 2>&1
}
verify() { # under SECONDS of writes, the command in $2...; all data has to be right
	local seconds=$1 fio

	shift
	fio --name=verify --filename="$dev" --direct=1 --ioengine=libaio --iodepth=16 \
		--rw=randwrite --bsrange=4k-64k --size=24M --rate=,$((24 / seconds))M --verify=crc32c \
		--verify_fatal=1 --output="$T/fio.out" &
	fio=$!
	wait_for 60 written || return
	"$@" || return
	wait $fio || { cat "$T/fio.out"; return 1; }
}
written() { # fio has begun
	[ "$(cut -d' ' -f7 /sys/block/"${dev#/dev/}"/stat | tr -d ' ')" != 0 ] ||
		[ "$(awk '{print $5}' /sys/block/"${dev#/dev/}"/stat)" -gt "$before" ]
}

modprobe nvme-tcp || exit
server || exit

# ---- finding and looking ----

check "discover lists both exports with our address and port" sh -c "
	nvme discover -t tcp -a 127.0.0.1 -s 8009 >$T/d && cat $T/d && grep -c '$nqn:default$' $T/d &&
	grep '$nqn:quota$' $T/d && grep 'trsvcid: *4420' $T/d && grep 'traddr: *127.0.0.1' $T/d &&
	grep 'treq: *not specified, sq flow control disable supported' $T/d"
check "discovery works on the NVMe door too" sh -c "
	nvme discover -t tcp -a 127.0.0.1 -s 4420 | grep '$nqn:default$'"
check "connect makes a device" connect default
dev=$(device default)
equal "of the export's size" "$(blockdev --getsize64 "$dev")" $((64 << 20))
equal "with blocks of 4 KiB and discards as fine" \
	"$(cd /sys/block/"${dev#/dev/}"/queue && cat logical_block_size discard_granularity | xargs)" \
	"4096 4096"
ctrl=/dev/$(ls /sys/class/nvme | head -1)
check "id-ctrl" sh -c "nvme id-ctrl $ctrl | grep '$nqn:default'"
check "id-ns tells size and identity" sh -c "
	nvme id-ns $dev >$T/o && cat $T/o && grep 'nsze *: 0x4000' $T/o &&
	grep -E 'nguid *: [0-9a-f]{32}' $T/o && ! grep 'nguid *: 0*$' $T/o"
check "ns-descs, list-ns, list-subsys" sh -c "
	nvme ns-descs $dev | grep uuid && nvme list-ns $ctrl | grep 0x && nvme list-subsys | grep tcp"
check "list -v names export, serial number and model" sh -c "
	nvme list -v >$T/o && cat $T/o && grep '$nqn:default' $T/o && grep 'remem memserver' $T/o &&
	grep ${dev#/dev/} $T/o"
check "smart-log counts reads" sh -c "
	nvme smart-log $ctrl | grep -i 'critical_warning.*: 0' &&
	dd if=$dev of=/dev/null bs=4k count=100 iflag=direct &&
	[ \$(nvme smart-log $ctrl | sed -n 's/host_read_commands.*: //p') -ge 100 ]"
check "error-log, fw-log, get-log of every page" sh -c "
	nvme error-log $ctrl && nvme fw-log $ctrl | grep 'afi *: 0x1' &&
	for page in 1 2 3 4 5; do nvme get-log $ctrl -i \$page -l 512 || exit; done"
check "get-feature and set-feature" sh -c "
	nvme get-feature $ctrl -f 7 && nvme get-feature $ctrl -f 0xb && nvme get-feature $ctrl -f 0xf &&
	nvme set-feature $ctrl -f 0xb -v 0x100"
check "compare and write-zeroes by hand" sh -c "
	nvme write-zeroes $dev -s 0 -c 0 && head -c 4096 /dev/zero >$T/z &&
	nvme compare $dev -s 0 -c 0 -z 4096 -d $T/z && printf x >$T/x && truncate -s 4096 $T/x &&
	! nvme compare $dev -s 0 -c 0 -z 4096 -d $T/x"

# ---- memory that comes and goes ----

check "an untouched export takes no memory" [ "$(resident)" = 0 ]
check "what is written takes as much" sh -c "
	dd if=/dev/urandom of=$T/data bs=1M count=8 && dd if=$T/data of=$dev bs=1M oflag=direct &&
	dd if=$dev bs=1M count=8 iflag=direct | cmp - $T/data"
equal "and no more" "$(resident)" $((8 << 20))
check "a discard gives it back at once" blkdiscard -o 0 -l 4M "$dev"
equal "to the byte" "$(resident)" $((4 << 20))
check "so does writing zeroes" blkdiscard -z -o 4M -l 2M "$dev"
equal "to the byte" "$(resident)" $((2 << 20))
check "both read as zeros" sh -c "head -c 6M $dev | cmp -n $((6 << 20)) - /dev/zero"
check "one block of 4 KiB" blkdiscard -o $((6 << 20)) -l 4096 "$dev"
equal "is enough" "$(resident)" $(((2 << 20) - 4096))
check "a resize is seen without asking" sh -c "
	'$B/memctl' -s /run/ctl resize default 96M &&
	for i in \$(seq 600); do
		[ \$(blockdev --getsize64 $dev) = $((96 << 20)) ] && exit 0
		sleep 0.1
	done; exit 1"
connect quota
check "a write over the quota gets 'no space left'" sh -c "
	LC_ALL=C dd if=/dev/zero of=$(device quota) bs=64k count=64 oflag=direct 2>&1 |
		tee /dev/stderr | grep 'No space left on device'"
check "and nothing else suffers" sh -c "
	dd if=$(device quota) of=/dev/null bs=1M count=1 iflag=direct &&
	dd if=$T/data of=$dev bs=1M oflag=direct && dd if=$dev bs=1M count=8 | cmp - $T/data"
check "until here the kernel had nothing to complain about" sh -c "
	! dmesg | grep -i nvme | grep -v 'critical space allocation\|I/O Cmd.* sc 0x81' |
		grep -Ei 'err|fail|warn|invalid|unsupp|time.?out|reset'"

# ---- controllers that go and come back ----

before=$(awk '{print $5}' /sys/block/"${dev#/dev/}"/stat)
check "resets under load lose nothing" verify 4 sh -c "
	nvme reset $ctrl && nvme reset $ctrl"
check "disconnect takes the device away" sh -c "
	nvme disconnect -n $nqn:default | grep 'disconnected 1' && ! [ -b $dev ]"
nvme disconnect-all
wait_for 60 all_gone
check "connect-all connects every export" sh -c "
	nvme connect-all -t tcp -a 127.0.0.1 -s 8009 && nvme list-subsys >$T/o && cat $T/o &&
	grep $nqn:default $T/o && grep $nqn:quota $T/o"
nvme disconnect-all
check "disconnect-all disconnects every export" wait_for 60 all_gone

connect default -k 2 -c 1 -l -1
dev=$(device default)
before=$(awk '{print $5}' /sys/block/"${dev#/dev/}"/stat)
lost() {
	dmesg | tail -n "+$1" | grep -q 'nvme.*starting error recovery\|nvme.*Reconnecting\|failed nvme_keep_alive'
}
live() {
	grep -qx live /sys/class/nvme/nvme*/state
}
stop_and_go() {
	local lines

	lines=$(dmesg | wc -l)
	kill -STOP "${server_pid[memserver]}"
	wait_for 120 lost "$lines" || return
	kill -CONT "${server_pid[memserver]}"
	wait_for 120 live
}
check "a server that stops answering is found out, and nothing is lost" verify 4 stop_and_go
kill_and_restart() {
	kill -9 "${server_pid[memserver]}"
	wait "${server_pid[memserver]}"
	server && wait_for 120 live
}
before=$(awk '{print $5}' /sys/block/"${dev#/dev/}"/stat)
check "kill -9 and a new start under load lose nothing" verify 4 kill_and_restart

# ---- an export that is born again ----

# As a swap-in would: the read is under way when the server is gone, and is sent again to the
# one that comes back.
old=$(nvme list-ns /dev/"$(ls /sys/class/nvme | head -1)")
kill -9 "${server_pid[memserver]}"
wait "${server_pid[memserver]}"
rm -r $pool
LC_ALL=C dd if="$dev" of="$T/stale" bs=4k count=1 iflag=direct 2>"$T/stale.err" &
stale=$!
wait_for 60 grep -q ' D ' /proc/$stale/stat
server
wait_for 120 live
wait $stale
equal "a read of a reborn export's old device fails" $? 1
check "with an error, and brings no zeros" sh -c "
	cat $T/stale.err && grep -q 'error reading' $T/stale.err && ! [ -s $T/stale ]"
new=$(nvme list-ns /dev/"$(ls /sys/class/nvme | head -1)")
check "the namespace has another identifier" [ "$old" != "$new" ]
check "and a new device" wait_for 60 device default
dev=$(device default)
check "of zeros" sh -c "head -c 1M $dev | cmp -n $((1 << 20)) - /dev/zero"
nvme disconnect-all
wait_for 60 all_gone
# Linux 6.1 goes on trying to reconnect for so long, whatever the refusal says.
connect default -k 2 -c 1 -l 3
dev=$(device default)
check "an export dropped by force is an error to its host" sh -c "
	'$B/memctl' -s /run/ctl drop default --force && ! dd if=$dev of=/dev/null count=1 bs=4k iflag=direct"
check "and then its device is gone" wait_for 60 all_gone
check "memserver ends when told to" sh -c "kill ${server_pid[memserver]}"
wait "${server_pid[memserver]}"
equal "cleanly" $? 0
dmesg | grep -i nvme | tail -60 | sed 's/^/# /' >/dev/stderr
