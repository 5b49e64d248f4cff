#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The guest's part of nvme-tls.sh: a memserver, tlshd, and the kernel's host on the same loopback.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib_nvme.sh"

key=$(nvme gen-tls-key)
wrong_key=$(nvme gen-tls-key)
new_key=$(nvme gen-tls-key)
bare_key=$(nvme gen-tls-key | sed 's/:01:/:00:/')
secret=$(nvme gen-dhchap-key -m 1 -n $host)
usual="host $host key=$key exports=default,swap
host $other key=$new_key exports=nothing
host $bare key=$bare_key"

server() { # FLAG...
	start_nvme_server --log-level debug --nvme-tls-keys $hosts "$@"
}
serial() { # NAME, as /proc/keys has it
	grep -F " $1: " /proc/keys | cut -d' ' -f1
}
# nvme tls-key --revoke may not; and of several keys the kernel takes any.
forget() { # KEY HOST SUBSYSTEM VERSION: KEYCTL_UNLINK
	python3 -c 'import ctypes, sys
sys.exit(ctypes.CDLL(None).syscall(250, 9, *(int(n, 16) for n in sys.argv[1:])) < 0)' \
		"$(serial "$(nvme check-tls-key -d "$1" -n "$2" -c "$3" -I "$4" | grep ^NVMe)")" "$(serial .nvme)"
}
insert() { # KEY HOST SUBSYSTEM VERSION: into the kernel's keyring
	nvme check-tls-key -d "$1" -n "$2" -c "$3" -I "$4" --insert
}

write_hosts "$usual"
modprobe nvme-tcp && modprobe tls || exit
printf '[debug]\nloglevel=1\ntls=1\n[authenticate]\nkeyrings=.nvme;\n' >"$T/tlshd.conf"
tlshd -s -c "$T/tlshd.conf" >"$T/tlshd.log" 2>&1 &
tlshd=$!
check "tlshd runs" wait_for 60 grep -q "Keyring '.nvme' linked" "$T/tlshd.log"
server || exit
dd if=/dev/urandom of="$T/data" bs=1M count=8 2>/dev/null

# ---- keys right and wrong ----

refuses "a host that comes in the clear does not get in" 1 . connect default
check "which memserver logs" wait_for 60 logged 'it begins in the clear'
refuses "nor one without a key" 1 . connect default --tls
insert "$wrong_key" $host $nqn:default 0 >/dev/null
refuses "nor one with a wrong key" 1 . connect default --tls
check "which memserver logs" wait_for 60 logged 'it has another key: compare the two'
insert "$wrong_key" $host $nqn:default 1 >/dev/null
refuses "nor one whose identity names a wrong key" 1 . connect default --tls
check "which memserver logs" wait_for 60 logged 'no key of the name .*it is not in the file'
insert "$new_key" $other $nqn:default 1 >/dev/null
refuses "nor one with a key for another export" 1 . \
	nvme connect -t tcp -a 127.0.0.1 -s 4420 -n $nqn:default -q $other --tls
check "nothing of them is left" gone

insert "$key" $host $nqn:default 1 >/dev/null
forget "$wrong_key" $host $nqn:default 0
forget "$wrong_key" $host $nqn:default 1
check "a host with its key gets in" connect default --tls
check "by TLS 1.3" logged "TLSv1.3 TLS_AES_128_GCM_SHA256, PSK:NVMe1R01 $host"
check "the kernel says so too" grep -q '[0-9a-f]' /sys/class/nvme/nvme*/tls_key
check "what it writes" dd if="$T/data" of="$(device default)" bs=1M oflag=direct
check "it reads" same
check "memctl who shows what is encrypted" sh -c "$B/memctl -s /run/ctl who >$T/who && cat $T/who && grep TLSv1.3 $T/who"
equal "all of it is" "$(grep -c '^ *[0-9].*TLSv1.3' "$T/who")" "$(($(wc -l <"$T/who") - 1))"
disconnect

insert "$key" $host $nqn:swap 0 >/dev/null
check "a host with an identity of version 0 gets in" connect swap --tls
check "by it" logged "PSK:NVMe0R01 $host"
disconnect
insert "$bare_key" $bare $nqn:default 1 >/dev/null
check "a host whose key is used as it is gets in" \
	nvme connect -t tcp -a 127.0.0.1 -s 4420 -n $nqn:default -q $bare -i 1 --tls
check "by that" wait_for 60 logged "host $bare uses default"
disconnect

# ---- discovery ----

insert "$key" $host nqn.2014-08.org.nvmexpress.discovery 1 >/dev/null
insert "$new_key" $other nqn.2014-08.org.nvmexpress.discovery 1 >/dev/null
refuses "discovery in the clear is refused" 1 . nvme discover -t tcp -a 127.0.0.1 -s 8009 -q $host
check "over TLS it tells a host its exports" sh -c "
	nvme discover -t tcp -a 127.0.0.1 -s 8009 -q $host --tls >$T/d && cat $T/d && grep $nqn:default $T/d"
check "that they want TLS" sh -c "grep 'treq:.*required' $T/d && ! grep 'treq:.*not' $T/d"
check "and that it is 1.3" grep 'sectype: *tls13' "$T/d"
check "and the other host none" sh -c "
	nvme discover -t tcp -a 127.0.0.1 -s 8009 -q $other --tls >$T/d; cat $T/d; ! grep $nqn: $T/d"

# ---- a server that is killed, keys that change ----

connect default --tls
fio --name=verify --filename="$(device default)" --direct=1 --ioengine=libaio --iodepth=8 --rw=randwrite \
	--bsrange=4k-64k --offset=8M --size=16M --rate=,4M --verify=crc32c --verify_fatal=1 \
	--output="$T/fio.out" &
fio=$!
busy() {
	[ "$(awk '{print $5}' /sys/block/"$(basename "$(device default)")"/stat)" -gt 20 ]
}
wait_for 120 busy
stop
server
check "after kill -9 the host shakes hands again by itself" wait_for 240 logged "host $host uses default"
check "and goes on where it was" wait $fio
check "with its bytes" same
write_hosts "$usual" "host $host key=$new_key exports=default,swap"
check "memserver learns a second key" ctl reload
check "nobody was dropped" same
disconnect
forget "$key" $host $nqn:default 1
insert "$new_key" $host $nqn:default 1 >/dev/null
check "the host comes with the new one" connect default --tls
write_hosts "host $host key=$new_key exports=default,swap"
kill -HUP "${server_pid[memserver]}"
check "the old key is forgotten" wait_for 60 logged 'read again, 1 keys'
check "nobody was dropped by that" same
disconnect

# ---- authentication within TLS ----

(umask 077 && echo "host $host key=$secret exports=default" >/run/secrets)
stop
server --nvme-auth /run/secrets --nvme-auth-group null
refuses "with --nvme-auth too TLS alone does not get in" 1 . connect default --tls
check "with the secret the host gets in" connect default --tls -S "$secret"
check "proved both ways" logged "host $host proved itself by sha256 and null"
check "its bytes are there" same
disconnect

# ---- memswap ----

mkdir -p /etc/nvme
echo $host >/etc/nvme/hostnqn
echo $id >/etc/nvme/hostid
(umask 077 && echo "$new_key" >"$T/key" && echo "$wrong_key" >"$T/wrong")
on() {
	"$B/memswap" on nvme-tcp://127.0.0.1/swap "$@"
}
stop
server
forget "$key" $host $nqn:swap 0
refuses "memswap in the clear says how to use TLS" 1 '--tls-key-file FILE' on
refuses "without a key that the kernel has, too" 1 'no key for .*--tls-key-file FILE' on --tls
refuses "with a wrong one, where to look" 1 'compare the keys' on --tls-key-file "$T/wrong"
chmod 644 "$T/wrong"
refuses "with a file that others can read, what to do" 1 'chmod 600' on --tls-key-file "$T/wrong"
# Few requests and few bytes: an emulated CPU encrypts a megabyte a second or less when the machine
# is loaded, and the kernel gives a request and a keep-alive 30 s.
check "with the right one it swaps" on --tls-key-file "$T/key" --queue-size 16
check "on that device" grep "$(basename "$(device swap)")" /proc/swaps
check "over TLS, by a key as RFC 8446 derives it" logged "PSK:NVMe1R01 $host $nqn:swap"
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
refuses "without tlshd memswap says what is missing" 1 'tlshd must run' on --tls-key-file "$T/key"

check "no key is in a log" sh -c "! cat $T/memserver.log $T/tlshd.log | grep -E 'NVMeTLSkey|DHHC' && ! dmesg | grep -E 'NVMeTLSkey|DHHC'"
kill "${server_pid[memserver]}"
wait "${server_pid[memserver]}"
equal "memserver ends cleanly" $? 0
{
	tail -40 "$T/tlshd.log"
	dmesg | grep -i nvme | tail -60
} | sed 's/^/# /' >/dev/stderr
