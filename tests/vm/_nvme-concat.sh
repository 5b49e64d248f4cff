#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The guest's part of nvme-concat.sh: a memserver, tlshd, and the kernel's host on one loopback.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib_nvme.sh"

key=$(nvme gen-dhchap-key -m 1 -n $host)
ctrl_key=$(nvme gen-dhchap-key -l 48)
wrong_key=$(nvme gen-dhchap-key -m 1 -n $host)
other_key=$(nvme gen-dhchap-key -m 1 -n $other)
usual="host $host key=$key controller=$ctrl_key exports=default,swap
host $other key=$other_key exports=default concat=required"

server() { # FLAG...
	start_nvme_server --log-level debug --nvme-auth $hosts "$@"
}
made() { # how many logins have made a key
	grep -c 'it has a key to come back over TLS' "$T/memserver.log"
}
made_more() { # THAN
	[ "$(made)" -gt "$1" ]
}
encrypted() { # all its connections
	ctl who >"$T/who" && cat "$T/who" && grep -q TLSv1.3 "$T/who" &&
		[ "$(grep -c '^ *[0-9].*TLSv1.3' "$T/who")" = $(($(wc -l <"$T/who") - 1)) ]
}
mode() {
	cat /sys/class/nvme/nvme*/tls_mode
}

write_hosts "$usual"
modprobe nvme-tcp && modprobe tls || exit
printf '[debug]\nloglevel=1\ntls=1\n[authenticate]\nkeyrings=.nvme;\n' >"$T/tlshd.conf"
tlshd -s -c "$T/tlshd.conf" >"$T/tlshd.log" 2>&1 &
tlshd=$!
check "tlshd runs" wait_for 60 grep -q "Keyring '.nvme' linked" "$T/tlshd.log"
server || exit
dd if=/dev/urandom of="$T/data" bs=1M count=8 2>/dev/null

# ---- it logs in, and comes back over TLS ----

refuses "a host with a wrong secret gets no key" 1 . connect default --concat -S "$wrong_key"
check "which memserver logs" wait_for 60 logged "host $host: login .* key is not the one"
equal "and made none" "$(made)" 0
check "nothing of it is left" gone
check "a host with its secret gets in" connect default --concat -S "$key"
check "its login made a key" logged "proved itself by sha256 and ffdhe2048: it has a key to come back over TLS"
check "by which its queues came" logged "TLSv1.3 TLS_AES_128_GCM_SHA256, PSK:NVMe1G01 $host $nqn:default"
equal "they were two" "$(grep -c PSK:NVMe1G01 "$T/memserver.log")" 2
equal "after one login" "$(grep -c 'proved itself' "$T/memserver.log")" 1
equal "the kernel says so too" "$(mode)" concat
check "what it writes" dd if="$T/data" of="$(device default)" bs=1M oflag=direct
check "it reads" same
check "memctl who shows that all is encrypted" encrypted

# ---- other keys ----

before=$(cat /sys/class/nvme/nvme*/tls_configured_key)
ctrl=$(basename "$(ls -d /sys/class/nvme/nvme*)")
new_key=$(nvme gen-dhchap-key -m 1 -n $host)
write_hosts "$usual" "host $host key=$new_key exports=default,swap"
check "memserver learns a second secret" ctl reload
check "the kernel is told of it, and proves itself anew, over TLS" sh -c "echo '$new_key' >/sys/class/nvme/$ctrl/dhchap_secret"
check "which makes another key" wait_for 120 logged "host $host proved again itself .*: it has another key for TLS"
changed() {
	[ "$(cat /sys/class/nvme/nvme*/tls_configured_key)" != "$before" ]
}
check "the kernel has it, too" wait_for 60 changed
check "what runs goes on" same
n=$(made)
check "a controller that is reset" sh -c "echo 1 >/sys/class/nvme/$ctrl/reset_controller"
check "logs in for a key of its own" wait_for 240 made_more "$n"
wait_for 240 live
check "and its bytes are there" same
check "encrypted" encrypted
stop
server
check "after kill -9 the host logs in again by itself" wait_for 240 made_more 0
wait_for 240 logged "host $host uses default"
check "and reads its bytes" same
check "encrypted, too" encrypted
disconnect
check "a host that wants our proof, too, gets in" connect default --concat -S "$key" -C "$ctrl_key"
check "and reads them" same
disconnect

# ---- required, and off ----

refuses "a host whose line has concat=required does not get in without" 1 . \
	nvme connect -t tcp -a 127.0.0.1 -s 4420 -n $nqn:default -q $other -S "$other_key"
check "as its kernel says" sh -c "dmesg | grep 'secure concatenation is not supported'"
check "another does" connect default -S "$key"
equal "in the clear" "$(grep -c TLSv1.3 <(ctl who))" 0
disconnect
stop
write_hosts "host $host key=$key exports=default,swap"
server --nvme-concat off
refuses "where it is off nobody gets a key" 1 . connect default --concat -S "$key"
check "which memserver logs" wait_for 60 logged 'concatenation mismatch: --nvme-concat is off'

# ---- memswap ----

mkdir -p /etc/nvme
echo $host >/etc/nvme/hostnqn
echo $id >/etc/nvme/hostid
(umask 077 && echo "$key" >"$T/secret")
on() {
	"$B/memswap" on nvme-tcp://127.0.0.1/swap --dhchap-secret-file "$T/secret" "$@"
}
refuses "memswap where it is off says where to look" 1 'its --nvme-concat is not off' on --concat
stop
server --nvme-concat required
refuses "memswap without --concat says that it is needed" 1 'add --concat' on
# Few requests and few bytes, as in _nvme-tls.sh.
check "with it it swaps" on --concat --queue-size 16
equal "over TLS" "$(mode)" concat
dd if=/dev/urandom of=/dev/shm/filler bs=1M count=16 2>/dev/null
mkdir /sys/fs/cgroup/small && echo 8M >/sys/fs/cgroup/small/memory.max
check "what is swapped out over it comes back whole" sh -c "
	echo \$\$ >/sys/fs/cgroup/small/cgroup.procs
	cp /dev/shm/filler /dev/shm/copy && cmp /dev/shm/filler /dev/shm/copy"
check "it was swapped out" awk 'NR > 1 && $4 > 1024 { found = 1 } END { exit !found }' /proc/swaps
rm /dev/shm/filler /dev/shm/copy
check "and memswap takes it back" "$B/memswap" off --all
kill $tlshd
wait $tlshd
refuses "without tlshd memswap says what is missing" 1 'tlshd must run' on --concat

check "no secret is in a log" sh -c "! cat $T/memserver.log $T/tlshd.log | grep DHHC && ! dmesg | grep DHHC"
kill "${server_pid[memserver]}"
wait "${server_pid[memserver]}"
equal "memserver ends cleanly" $? 0
{
	cat $T/memserver.log
	tail -40 "$T/tlshd.log"
	dmesg | grep -i nvme | tail -60
} | sed 's/^/# /' >/dev/stderr
