#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
# The guest runner itself: what goes in, what comes out, and every way it can end.
. "$(dirname "$0")/../lib.sh"
plan 36

run=$TOP/tests/vm/guest-run
export REMEM_GUEST_LOGS=$T/logs
mkdir "$REMEM_GUEST_LOGS"

# guest ARG...: its output in $T/out and $T/err, its status in $status.
guest() {
	"$run" "$@" >"$T/out" 2>"$T/err" </dev/null
	status=$?
}
says() {
	grep -Eq -- "$1" "$T/err"
}

# One guest, small, in a folder below /tmp: status, streams, files, programs.
mkdir "$T/clone"
echo 'from the host' >"$T/clone/file"
cd "$T/clone" || exit
cat >script <<'END'
cat file
pwd
printf 'cr\r\nno newline'
echo 'an error' >&2
echo 'another' >/dev/stderr
echo written >file
modprobe nbd && [ -b /dev/nbd0 ] || echo 'no nbd'
mountpoint -q /sys/fs/cgroup && grep -q memory /sys/fs/cgroup/cgroup.subtree_control || echo 'no cgroup'
cat /proc/pressure/memory >/dev/null || echo 'no PSI'
[ "$(cat /proc/self/oom_score_adj)" = 0 ] || echo 'not an ordinary process'
[ "$(cat /proc/1/oom_score_adj)" = -1000 ] || echo 'PID 1 can be killed'
ping -c 1 -W 30 10.0.2.2 >/dev/null || echo 'no host'
sleep 1000 &
exit 7
END
guest --mem 96M -- sh script
equal "the command's status comes through, whatever it left running" $status 7
equal "stdout comes through, byte for byte, in the caller's folder" "$(base64 -w0 "$T/out")" \
	"$(printf 'from the host\n%s\ncr\r\nno newline' "$T/clone" | base64 -w0)"
equal "stderr comes through, apart" "$(cat "$T/err")" "$(printf 'an error\nanother')"
equal "what the guest writes stays in the guest" "$(cat file)" 'from the host'
cd "$T" || exit

mkdir "$T/share"
truncate -s 8M "$T/disk" "$T/disk2"
guest --cpus 2 --share "$T/share" --disk "$T/disk,throttle-iops=1000" --disk "$T/disk2,ro" \
	--module loop --net none --append guesttest=1 --strict-dmesg -- sh -c "
		echo seen >$T/share/file; echo data >/dev/vda; blockdev --getro /dev/vdb; nproc
		ls /sys/class/net; ls -d /sys/module/loop; grep -o guesttest=1 /proc/cmdline; kill -9 \$\$"
equal "a share is written through" "$(cat "$T/share/file")" seen
equal "a disk is written to" "$(head -c 4 "$T/disk")" data
equal "disks, CPUs, nets, modules and kernel arguments are as wished" "$(tr '\n' ' ' <"$T/out")" \
	"1 2 lo /sys/module/loop guesttest=1 "
equal "a command killed by a signal is 128 and its number" $status 137
guest -- /nosuch
equal "a command that isn't there is 127" $status 127
check "and is said" says '^guest: /nosuch: No such file'

# Every way to fail.
guest --timeout 1 -- sleep 1000
equal "a time-out is 124" $status 124
check "a time-out is told" says '^guest-run: time-out after [0-9]+ s \(console: .*\)$'
log=$(sed -n 's/.*(console: \(.*\))$/\1/p' "$T/err")
check "the console log is kept, with the tasks that were stuck" grep -q 'Show Blocked State' "$log"

guest -- sh -c 'echo c >/proc/sysrq-trigger; sleep 1000'
equal "a panic is 126" $status 126
check "a panic is told" says '^guest-run: panic: .*sysrq triggered crash \(console: '

guest --boot-timeout 0.2 -- true
equal "no boot is 125" $status 125
check "no boot is told" says '^guest-run: no boot within [0-9]+ s'

guest -- sh -c 'echo o >/proc/sysrq-trigger; sleep 1000'
equal "a silent death is 127" $status 127
check "a silent death is told" says '^guest-run: QEMU ended .* without a word from the command'

guest --cpu nosuch -- true
equal "a QEMU that doesn't start is 127" $status 127
check "what QEMU said is told" says "^guest-run: QEMU failed: .*'nosuch'"

guest --strict-dmesg -- sh -c 'echo "<4>WARNING: CPU: 0 PID: 1 at test" >/dev/kmsg'
equal "a kernel that complains is 128 with --strict-dmesg" $status 128
check "what it complains about is told" says '^guest-run: the kernel complained: .*PID: 1 at test'

refuses "a wrong net is refused" 2 "net wrong: user, none or pair:NAME" "$run" --net wrong -- true
refuses "a disk that isn't there is refused" 2 "no such file" "$run" --disk /nosuch -- true
refuses "no command is refused" 2 "a command is needed" "$run" --mem 96M

# Two guests, linked; the first waits for the second's word.
guest --mem 96M --mtu 9000 --two \
	'until [ -e /guest/peer/ready ]; do sleep 0.1; done
	 ping -c 1 -W 30 -M do -s 8000 10.9.0.2 >/dev/null && echo hello from a; exit 3' \
	'touch /guest/peer/ready; echo hello from b; sleep 1000'
equal "of two guests the first's status counts" $status 3
equal "two guests reach each other" "$(cat "$T/out")" "hello from a"
equal "the second's output is on stderr" "$(cat "$T/err")" "b| hello from b"

# Two at a time: both places are taken here, then one is given back.
export REMEM_GUEST_LOCKS=$T/places
exec 7>"$T/places-0.lock" 8>"$T/places-1.lock"
flock 7
flock 8
mkdir "$T/third"
TMPDIR=$T/third start_server third "waiting: 2 guests at a time" "$run" -v --mem 96M --timeout 600 -- \
	sh -c 'echo it runs; sleep 1000' 7>&- 8>&-
check "a third guest waits" alive third
exec 8>&-
check "and runs once there is room" wait_for 200 grep -q 'it runs' "$T/third.log"

# qemu FOLDER: is there one that uses it?
qemu() {
	grep -qs -- "$1" /proc/[0-9]*/cmdline
}
no_qemu() {
	! qemu "$1"
}
stop_server third
equal "a runner that is told to end does" $? 143
check "and takes its QEMU with it" no_qemu "$T/third/"
equal "and leaves no folder" "$(ls "$T/third")" ""

mkdir "$T/fourth"
TMPDIR=$T/fourth start_server fourth '' "$run" --mem 96M -- sleep 1000 7>&- 8>&-
check "a guest is started" wait_for 200 qemu "$T/fourth/"
stop_server fourth KILL
check "a runner that is killed takes its QEMU with it, too" wait_for 60 no_qemu "$T/fourth/"
