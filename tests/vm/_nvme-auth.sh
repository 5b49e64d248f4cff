#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The guest's part of nvme-auth.sh: a memserver, and the kernel's host on the same loopback.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib_nvme.sh"

key=$(nvme gen-dhchap-key -m 1 -n $host)
ctrl_key=$(nvme gen-dhchap-key -l 48)
new_key=$(nvme gen-dhchap-key -l 64)
wrong_key=$(nvme gen-dhchap-key -m 1 -n $host)
usual="host $host key=$key controller=$ctrl_key exports=default,swap
host $other key=$new_key exports=nothing"

server() { # FLAG...
	start_nvme_server --log-level info --nvme-auth $hosts "$@"
}

write_hosts "$usual"
modprobe nvme-tcp || exit
server --nvme-auth-group null || exit
dd if=/dev/urandom of="$T/data" bs=1M count=8 2>/dev/null

# ---- keys right and wrong ----

refuses "a host without a secret does not get in" 1 . connect default
refuses "nor one with a wrong secret" 1 . connect default -S "$wrong_key"
check "which memserver logs" wait_for 60 logged "host $host: login .* key is not the one"
refuses "nor one whose secret is that of another host" 1 . connect default -S "$new_key"
refuses "nor one that memserver does not know" 1 . \
	nvme connect -t tcp -a 127.0.0.1 -s 4420 -n $nqn:default -q nqn.2014-08.org.nvmexpress:mallory -S "$key"
refuses "nor one for an export that is not its own" 1 . \
	nvme connect -t tcp -a 127.0.0.1 -s 4420 -n $nqn:default -q $other -S "$new_key"
check "nothing of them is left" gone
check "discovery tells a host its exports" sh -c "
	nvme discover -t tcp -a 127.0.0.1 -s 8009 -q $host >$T/d && cat $T/d && grep $nqn:default $T/d"
check "and the other host none" sh -c "
	nvme discover -t tcp -a 127.0.0.1 -s 8009 -q $other >$T/d; cat $T/d; ! grep $nqn: $T/d"
check "a host with its secret gets in" connect default -S "$key"
check "what it writes" dd if="$T/data" of="$(device default)" bs=1M oflag=direct
check "it reads" same
check "memserver knows by what it proved itself" logged "host $host proved itself by sha256 and null"
check "the kernel says so too" sh -c "dmesg | grep 'qid 0: authenticated'"
disconnect
check "both prove themselves to each other" connect default -S "$key" -C "$ctrl_key"
check "memserver says so" logged "proved itself, and we ourselves, by"
check "the bytes are there" same
disconnect
refuses "a host does not believe a server with another secret" 1 . connect default -S "$key" -C "$wrong_key"
check "and tells it" wait_for 60 logged "host $host gives up its login"
disconnect

# ---- the other hashes ----

# No group: Linux raises to the power of the whole group's length, for seconds on an emulated
# CPU, and beyond a login's minute on a loaded machine. tests/hostile/nvme_auth.py has them all.
for pair in sha384:null sha512:null; do
	stop
	server --nvme-auth-hash ${pair%:*} --nvme-auth-group ${pair#*:}
	check "both ways by ${pair%:*} and ${pair#*:}" connect default -S "$key" -C "$ctrl_key"
	check "what was chosen, and the bytes" sh -c "grep 'by ${pair%:*} and ${pair#*:}' $T/memserver.log &&
		dd if=$(device default) bs=1M count=8 iflag=direct | cmp - $T/data"
	disconnect
done

# ---- a server that is killed, keys that change ----

stop
server --nvme-auth-group null
connect default -S "$key" -C "$ctrl_key"
fio --name=verify --filename="$(device default)" --direct=1 --ioengine=libaio --iodepth=8 --rw=randwrite \
	--bsrange=4k-64k --offset=8M --size=16M --rate=,4M --verify=crc32c --verify_fatal=1 \
	--output="$T/fio.out" &
fio=$!
busy() {
	[ "$(awk '{print $5}' /sys/block/"$(basename "$(device default)")"/stat)" -gt 20 ]
}
wait_for 120 busy
stop
server --nvme-auth-group null
check "after kill -9 the host logs in again by itself" wait_for 240 logged "host $host proved itself, and we"
check "and goes on where it was" wait $fio
check "with its bytes" same
write_hosts "$usual" "host $host key=$new_key controller=$ctrl_key exports=default"
check "memserver learns a second secret" ctl reload
ctrl=$(basename "$(ls -d /sys/class/nvme/nvme*)")
check "the kernel is told of it, and proves itself anew" sh -c "
	echo '$new_key' >/sys/class/nvme/$ctrl/dhchap_secret"
check "while it is connected" wait_for 120 logged "host $host proved again itself"
write_hosts "host $host key=$new_key controller=$ctrl_key exports=default,swap"
kill -HUP "${server_pid[memserver]}"
check "the old secret is forgotten" wait_for 60 logged 'read again, 1 hosts'
check "nobody was dropped" same
stop
server --nvme-auth-group null
check "the host comes back with the new one" wait_for 240 logged "host $host proved itself, and we"
check "and its bytes are there" same
disconnect

# ---- memswap ----

mkdir -p /etc/nvme
echo $host >/etc/nvme/hostnqn
echo $id >/etc/nvme/hostid
(umask 077 && echo "$new_key" >"$T/secret" && echo "$ctrl_key" >"$T/ctrl" && echo "$wrong_key" >"$T/wrong")
on() {
	"$B/memswap" on nvme-tcp://127.0.0.1/swap "$@"
}
refuses "memswap without a secret says how to give one" 1 'dhchap-secret-file' on
refuses "with a wrong one, where to look" 1 'compare the secrets' on --dhchap-secret-file "$T/wrong"
chmod 644 "$T/wrong"
refuses "with a file that others can read, what to do" 1 'chmod 600' on --dhchap-secret-file "$T/wrong"
check "with the right ones it swaps" on --dhchap-secret-file "$T/secret" --dhchap-ctrl-secret-file "$T/ctrl"
check "on that device" grep "$(basename "$(device swap)")" /proc/swaps
check "and takes it back" "$B/memswap" off --all
check "no secret is in a log" sh -c "! cat $T/memserver.log | grep DHHC && ! dmesg | grep DHHC"
kill "${server_pid[memserver]}"
wait "${server_pid[memserver]}"
equal "memserver ends cleanly" $? 0
dmesg | grep -i nvme | tail -60 | sed 's/^/# /' >/dev/stderr
