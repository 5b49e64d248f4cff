#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
# Linux's NVMe/TCP host in a guest, memserver on this host: every byte verified, at block sizes
# with the data in the capsule and by R2T, at depths of 1 and 32, with two I/O queues, without
# and with digests. One boot.
. "$(dirname "$0")/../lib.sh"
plan 20

port=$(free_port)
new_pool
start_server memserver 'ready: nvme' "$B/memserver" --export 96M --pool "$POOL" --control "$T/ctl" \
	--nvme "127.0.0.1:$port" --discovery off --nbd off --metrics off || exit

cat >"$T/guest" <<'END'
modprobe nvme-tcp
result() { # STATUS SENTENCE
	[ "$1" = 0 ] && echo "ok $2" || { echo "not ok $2"; cat /tmp/fio.out; dmesg | tail -n 20; }
}
run() { # SENTENCE FIO-ARGUMENT...
	local sentence=$1
	shift
	fio --name=verify --filename=/dev/nvme0n1 --direct=1 --ioengine=libaio --verify=crc32c \
		--verify_fatal=1 --group_reporting "$@" >/tmp/fio.out 2>&1
	result $? "$sentence, $digests"
}
for digests in 'no digests' 'header digests' 'data digests' 'both digests'; do
	case $digests in
	no*) flags= ;; header*) flags=-g ;; data*) flags=-G ;; both*) flags='-g -G' ;;
	esac
	nvme connect -t tcp -a 10.0.2.2 -s "$1" -n nqn.2026-11.io.remem:default -i 2 $flags || exit
	until [ -b /dev/nvme0n1 ]; do sleep 0.1; done
	if [ "$digests" != 'header digests' ]; then
		run '4 KiB, depth 1' --rw=randwrite --bs=4k --size=2M
	fi
	run '4 KiB, depth 32, two jobs' --rw=randwrite --bs=4k --iodepth=32 --numjobs=2 --size=12M \
		--offset_increment=12M
	if [ "$digests" != 'header digests' ]; then
		run '16 KiB to 128 KiB' --rw=randwrite --bsrange=16k-128k --iodepth=8 --size=32M
	fi
	run '1 MiB, by R2T' --rw=write --bs=1M --iodepth=4 --size=32M
	[ "$digests" = 'no digests' ] || [ "$digests" = 'both digests' ] &&
		run 'trims among writes' --rw=randtrimwrite --bs=4k --iodepth=16 --size=4M
	nvme disconnect -n nqn.2026-11.io.remem:default >/dev/null
done
dmesg | grep -i nvme | grep -Ei 'err|fail|warn|invalid|time.?out|digest' && result 1 'the log' || result 0 \
	"the kernel's NVMe host had nothing to complain about"
END
"$TOP/tests/vm/guest-run" --mem 384M --cpus 2 --timeout 600 --strict-dmesg -- \
	bash "$T/guest" "$port" >"$T/out" 2>"$T/err"
status=$?
while read -r verdict sentence; do
	case $verdict in
	ok) ok "$sentence" ;;
	not) not_ok "${sentence#ok }" ;;
	*) diag "$verdict $sentence" ;;
	esac
done <"$T/out"
equal "the guest's kernel saw no warning" $status 0 || tail -n 60 "$T/err" | diag
check "the server is alive" alive memserver
check "the server had nothing to warn of, but that it runs as root" \
	sh -c "! grep warning: '$T/memserver.log' | grep -v 'runs as root'"
