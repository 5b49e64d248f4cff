#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
# The clients people use, against the NBD door: libnbd's tools, QEMU's, fio with verification,
# over TCP and a unix socket, with one and with several connections.
. "$(dirname "$0")/../lib.sh"
plan 40

new_pool
port=$(free_port)
start_server memserver 'ready: nbd on unix' "$B/memserver" --export 256M --export small=4M \
	--pool "$POOL/pool" --reserve 0 --nbd "127.0.0.1:$port" --nbd "unix:$T/sock" --nvme off \
	--metrics off --control "$T/control" || exit 1
tcp=nbd://127.0.0.1:$port
unix="nbd+unix:///?socket=$T/sock"
stored() {
	echo $(($(stat -c %b "$POOL/pool/default.mem") * 512))
}
trim() {
	PATH=/usr/bin:/bin nbdsh -u "$tcp" -c "h.trim($((256 << 20)), 0)"
}

# ---- libnbd ----

refuses "nbdinfo finds the exports" 0 '^export="default(@[0-9a-f]{12})?":' nbdinfo --list "$tcp"
for word in '^export="small' 'export-size: 268435456' 'can_multi_conn: true' 'can_fast_zero: true' \
	'block_size_preferred: 4096' 'base:allocation'; do
	refuses "and tells: $word" 0 "$word" nbdinfo --list "$tcp"
done
refuses "nbdinfo asks on the unix socket" 0 "export-size: 268435456" nbdinfo "$unix"
refuses "nbdinfo is told that there is no such export" 1 "No such file or directory for export: nosuch" nbdinfo "$tcp/nosuch"

head -c 64M /dev/urandom >"$T/random"
truncate -s 256M "$T/random"
check "nbdcopy copies a file in, over 4 connections" \
	nbdcopy --connections=4 --requests=64 --flush "$T/random" "$tcp"
equal "and the holes stay holes" "$(stored)" $((64 << 20))
check "nbdcopy copies it out, over 2" nbdcopy --connections=2 "$unix" "$T/back"
check "it is the same" cmp "$T/random" "$T/back"
equal "and its holes came too" "$(($(stat -c %b "$T/back") * 512 <= 65 << 20))" 1
equal "nbdinfo maps it" "$(nbdinfo --map --totals "$tcp" | awk '{print $1, $3}' | tr '\n' ' ')" \
	"67108864 0 201326592 3 "
rm "$T/back"
check "nbdsh trims it" trim
equal "and all memory is back" "$(stored)" 0

# ---- QEMU ----

check "qemu-img converts a qcow2 image into it" bash -c "
	qemu-img convert -n -f raw -O qcow2 $T/random $T/random.qcow2 2>/dev/null ||
		qemu-img convert -f raw -O qcow2 $T/random $T/random.qcow2
	qemu-img convert -n -p -m 16 -W -f qcow2 -O raw $T/random.qcow2 $tcp"
check "qemu-img finds it identical" qemu-img compare -f raw -F raw "$T/random" "$unix"
equal "qemu-img maps it" "$(qemu-img map --output=json -f raw "$tcp" | /usr/bin/python3 -c '
import json, sys
print([(e["start"] >> 20, e["length"] >> 20, e["zero"], e["data"]) for e in json.load(sys.stdin)])')" \
	"[(0, 64, False, True), (64, 192, True, False)]"
check "qemu-img converts it back" qemu-img convert -f raw -O raw "$tcp" "$T/back"
check "it is the same" cmp "$T/random" "$T/back"
rm -f "$T"/back "$T"/random*
check "qemu-io writes, zeroes, discards, reads and verifies" qemu-io -f raw "$tcp" \
	-c 'write -P 0xa5 0 1M' -c 'write -P 0x5a 512k 4k' -c 'write -z 64k 64k' -c 'write -z -u 256k 64k' \
	-c 'write -f -P 0x77 1234560 512' -c 'read -P 0x77 1234560 512' -c 'flush' \
	-c 'read -P 0xa5 0 64k' -c 'read -P 0 64k 64k' -c 'read -P 0 256k 64k' -c 'read -P 0x5a 512k 4k' \
	-c 'discard 0 64k' -c 'aio_write -P 3 2M 1M' -c 'aio_write -P 4 3M 1M' -c 'aio_flush' \
	-c 'read -P 3 2M 1M' -c 'read -P 4 3M 1M'
refuses "qemu-io gets an error beyond the end" 1 'Input/output error|Invalid argument|No space' \
	qemu-io -f raw "$tcp" -c 'write 256M 4k'
trim

# ---- fio ----

# fio_verify SENTENCE OPTION...
fio_verify() {
	local sentence=$1

	shift
	check "$sentence" timeout 300 fio --name=verify --ioengine=nbd --rw=randrw --verify=crc32c \
		--verify_fatal=1 --do_verify=1 --verify_state_save=0 --size=16m --offset_increment=16m \
		--time_based=0 --norandommap=0 --aux-path="$T" "$@"
}
for bs in 512 4k 16k 128k 1m; do
	for depth in 1 32; do
		fio_verify "fio verifies $bs at depth $depth" --uri="$tcp" --bs=$bs --iodepth=$depth \
			--io_size=$([ $bs = 512 ] && echo 2m || echo 16m)
	done
done
fio_verify "fio verifies mixed sizes on 8 connections at once" --uri="$tcp" --numjobs=8 --iodepth=16 \
	--bsrange=512-64k --bs_unaligned=0
fio_verify "fio verifies the unix socket" --uri="$unix" --numjobs=4 --iodepth=64 --bs=4k
fio_verify "fio verifies among trims" --uri="$tcp" --rw=randtrim --bs=4k --iodepth=32 --verify=0
check "what fio left is trimmed" trim
equal "and all memory is back" "$(stored)" 0

stop_server memserver
equal "it ends in good order" $? 0
