#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 300
# TLS sent by the kernel: a guest loads its module tls, which this host may not have. Clients of
# GnuTLS (libnbd) and of OpenSSL read what memserver stores, and the kernel's counters say who
# encrypted it. One boot; the file runs twice.
. "$(dirname "$0")/../lib.sh"

if [ -z "${KTLS_GUEST:-}" ]; then
	mkdir "$T/share"
	"$TOP/tests/make-pki" "$T/share/pki" || exit 1
	tap_planned=0 # the guest speaks
	KTLS_GUEST=$T/share "$TOP/tests/vm/guest-run" --mem 512M --cpus 2 --timeout 200 \
		--share "$T/share" --strict-dmesg -- bash "$0"
	exit $?
fi
plan 17

pki=$KTLS_GUEST/pki
port=10809
serve() { # FLAG...
	start_server memserver "ready: nbd on 127.0.0.1:$port" "$B/memserver" --export 64M \
		--pool /dev/shm --reserve 16M --nbd "127.0.0.1:$port" --nvme off --discovery off \
		--metrics off --control /run/control --log-level debug \
		--tls-cert "$pki/server-cert.pem" --tls-key "$pki/server-key.pem" "$@"
}
uri="nbds://localhost:$port/default?tls-certificates=$pki/alice"
counter() {
	awk -v name="$1" '$1 == name { print $2 }' /proc/net/tls_stat
}
load() {
	"$B/bench/load" --proto nbd --connect "127.0.0.1:$port" --tls-ca "$pki/ca-cert.pem" \
		--op mix --prefill --verify-all --count 3000 --span 16M "$@" | grep '"errors": 0}'
}
copies() { # FILE...
	nbdcopy "$KTLS_GUEST/bytes" "$uri" && nbdcopy "$uri" "$1" && cmp "$KTLS_GUEST/bytes" "$1"
}

mount -t tmpfs none /dev/shm
head -c 64M /dev/urandom >"$KTLS_GUEST/bytes"

# A server with all rights has the kernel load it.
echo 'install tls /bin/false' >/etc/modprobe.d/no-tls.conf
serve || exit 1
refuses "without the module OpenSSL sends" 0 ' 67108864' sh -c "echo ' '\$(nbdinfo --size '$uri')"
check "and the log does not say otherwise" sh -c "! grep 'sent by the kernel' '$T/memserver.log'"

rm /etc/modprobe.d/no-tls.conf
check "the module is loaded" modprobe tls
check "GnuTLS: 64 MiB there and back are what they were" copies "$KTLS_GUEST/copy"
refuses "the log says who sends" 0 'TLSv1.3 TLS_AES_128_GCM_SHA256, sent by the kernel' \
	cat "$T/memserver.log"
sent=$(counter TlsTxSw)
check "the kernel's counter, too ($sent sessions)" test "$sent" -gt 0
equal "which receives nothing" "$(counter TlsRxSw)" 0
check "OpenSSL: 4 connections, reads and writes of 4 KiB, every byte verified" \
	load --connections 4 --depth 32
check "blocks of 1 MiB" load --block 1M --depth 4 --count 100
check "one request at a time" load --count 500
check "all of them by the kernel" test "$(counter TlsTxSw)" -ge $((sent + 6))
refuses "metadata contexts" 0 'base:allocation' nbdinfo "$uri"
equal "nothing that was sent could not be read" "$(counter TlsDecryptError)" 0
check "memserver's TLS by itself: bytes, goodbyes, changed keys" \
	env EXPECT_KTLS=1 "$B/tests/unit/lib/tls_ktls"

check "a client that does not read its answers is waited for" sh -c "
	nbdcopy '$KTLS_GUEST/bytes' '$uri' && nbdcopy --requests=64 '$uri' - | { sleep 2; cat; } | cmp - '$KTLS_GUEST/bytes'"
stop_server memserver TERM
serve --tls-psk "$pki/keys.psk" || exit 1
refuses "a shared key, too" 0 '67108864' \
	nbdinfo --size "nbds://carol@localhost:$port/default?tls-psk-file=$pki/keys.psk"
stop_server memserver TERM
equal "no session is left behind" "$(counter TlsCurrTxSw)" 0
