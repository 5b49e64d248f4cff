#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The bench programs tell the truth: the load client verifies what memserver stores, by
# every protocol, and both it and hog notice a wrong byte.
# flavour: plain
. "$(dirname "$0")/../lib.sh"
plan 13

LOAD=$B/bench/load
HOG=$B/bench/swap/hog

new_pool
nbd=$(free_port) nvme=$(free_port)
start_server memserver "127.0.0.1:$nvme" "$B/memserver" --export 256M --pool "$POOL" \
	--nbd "127.0.0.1:$nbd" --nbd "unix:$T/nbd" --nvme "127.0.0.1:$nvme" \
	--discovery off --metrics off --control "$T/control" || exit 1

# load_ok ARGUMENTS...: a verified mix of reads and writes, then all of it read again.
load_ok() {
	"$LOAD" --op mix --prefill --verify-all --seconds 0.7 --span 32M --wait 10 "$@" |
		tee "$T/load.json"
	[ "${PIPESTATUS[0]}" = 0 ] && grep -q '"errors": 0}' "$T/load.json" &&
		! grep -q '"cells_verified": 0,' "$T/load.json"
}

check "NBD by TCP, 4 connections, 4 KiB: all that is read is what was written" \
	load_ok --proto nbd --connect "127.0.0.1:$nbd" --export default --connections 4 --depth 16
check "NBD by a unix socket, 128 KiB" \
	load_ok --proto nbd --connect "unix:$T/nbd" --export default --block 128K --depth 8
check "NVMe/TCP, 4 queues, 4 KiB inside the capsule" \
	load_ok --proto nvme --connect "127.0.0.1:$nvme" --connections 4 --depth 32
check "NVMe/TCP, 128 KiB by R2T, a polling client" \
	load_ok --proto nvme --connect "127.0.0.1:$nvme" --block 128K --depth 4 --r2t --spin

# The same with keys: what the client is told to prove, it has to.
mkdir "$T/pki"
"$TOP/tests/make-pki" "$T/pki" || exit 1
secret_of() { /usr/bin/python3 -c '
import base64, struct, sys, zlib
key = sys.argv[1].encode() * 32
print("DHHC-1:00:%s:" % base64.b64encode(key + struct.pack("<I", zlib.crc32(key))).decode())' "$1"; }
(
	umask 077
	secret_of a >"$T/secret"
	secret_of b >"$T/wrong"
	echo "host nqn.2026-11.io.remem:bench key=$(cat "$T/secret")" >"$T/hosts"
)
nbds=$(free_port) nvmes=$(free_port)
mkdir "$POOL-secure"
tap_folders+=("$POOL-secure")
start_server secure "127.0.0.1:$nvmes" "$B/memserver" --export 256M --pool "$POOL-secure" \
	--nbd "127.0.0.1:$nbds" --nvme "127.0.0.1:$nvmes" --discovery off --metrics off \
	--tls-cert "$T/pki/server-cert.pem" --tls-key "$T/pki/server-key.pem" \
	--nvme-auth "$T/hosts" --control "$T/control-secure" || exit 1
check "NBD by TLS, 4 connections" load_ok --proto nbd --connect "127.0.0.1:$nbds" \
	--tls-ca "$T/pki/ca-cert.pem" --connections 4 --depth 32
check "NVMe/TCP with a login on every queue" load_ok --proto nvme --connect "127.0.0.1:$nvmes" \
	--secret "$T/secret" --connections 2 --depth 32
refuses "a server whose certificate is another authority's is not spoken to" 1 'certificate' \
	"$LOAD" --proto nbd --connect "127.0.0.1:$nbds" --tls-ca "$T/pki/other-ca-cert.pem" --count 1
refuses "a wrong secret is refused" 1 'the login is refused' \
	"$LOAD" --proto nvme --connect "127.0.0.1:$nvmes" --secret "$T/wrong" --count 1

limits() {
	local engine port

	for engine in epoll uring; do
		port=$(free_port)
		start_server "limit-$engine" ready "$B/bench/limit" --listen "127.0.0.1:$port" \
			--engine $engine --spin 50 || return 1
		for op in randread randwrite; do
			"$LOAD" --proto limit --connect "127.0.0.1:$port" --op $op --depth 16 \
				--connections 3 --count 2000 | grep '"ios": 20' || return 1
		done
	done
}
check "the bare limit answers by epoll and by io_uring" limits

# Stores nothing, reads zeros: what a server that loses data looks like.
forgetful=$(free_port)
start_server nbdkit '' nbdkit -f -i 127.0.0.1 -p "$forgetful" null 256M
refuses "the load client notices a server that lost its data" 1 'wrong byte at offset' \
	"$LOAD" --proto nbd --connect "127.0.0.1:$forgetful" --op mix --prefill --verify \
	--span 32M --count 1000 --wait 10
refuses "an operation it does not know is named" 2 '--op scribble' \
	"$LOAD" --proto nbd --connect "127.0.0.1:$forgetful" --op scribble

check "hog verifies what it touches" \
	"$HOG" --data 32M --touch seq:read:1K --touch rand:write:64K --passes 1 --verify-all

# One bit of its memory is turned over between filling and reading.
cat >"$T/flip.py" <<'END'
import subprocess, sys
hog = subprocess.Popen([sys.argv[1], "--data", "32M", "--touch", "seq:read:4K", "--passes", "1",
                        "--events", "--step"],
                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
hog.stdout.readline()  # filled
for line in open(f"/proc/{hog.pid}/maps"):
    first, last = (int(x, 16) for x in line.split()[0].split("-"))
    if last - first >= 32 << 20:
        break
with open(f"/proc/{hog.pid}/mem", "r+b", buffering=0) as memory:
    memory.seek(first + 12345678)
    byte = memory.read(1)[0]
    memory.seek(first + 12345678)
    memory.write(bytes([byte ^ 1]))
hog.communicate("\n")
sys.exit(hog.returncode)
END
refuses "hog notices a bit turned over in its memory, and says where" 1 \
	'hog: wrong byte at offset 12345672 ' /usr/bin/python3 "$T/flip.py" "$HOG"
