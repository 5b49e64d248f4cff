#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 1200
# Linux's NVMe/TCP host over TLS 1.3: keys right and wrong, both versions of identities, discovery,
# authentication within TLS, a server that is killed, keys that change, memswap. The guest's kernel
# is Debian's 6.12 of its backports (6.1 has no TLS here); nvme-cli 2.13 and tlshd 1.0.0 are Debian
# 13's, unpacked beside the machine's. GnuTLS there has binders of SHA-256 only: SHA-384's suite is
# in tests/hostile/nvme_tls.py. One boot; see _nvme-tls.sh.
. "$(dirname "$0")/../lib.sh"
kernel=linux-image-amd64/bookworm-backports
{ "$TOP/tests/vm/kernel" --package $kernel && userland=$("$TOP/tests/vm/userland" trixie nvme-cli ktls-utils); } \
	>"$T/kernel" 2>&1 || {
	diag <"$T/kernel"
	plan_skip "Debian's backports kernel can't be fetched here"
}
plan 52

PATH=$userland:$PATH "$TOP/tests/vm/guest-run" --kernel $kernel --mem 768M --timeout 900 --strict-dmesg -- \
	bash "$TOP/tests/vm/_nvme-tls.sh" >"$T/out" 2>"$T/err"
status=$?
grep -E '^(ok|not ok|#)' "$T/out"
tap_count=$(grep -cE '^(ok|not ok) ' "$T/out")
tap_failed=$(grep -c '^not ok ' "$T/out")
equal "the guest's kernel had nothing to complain about" $status 0 || tail -n 80 "$T/err" | diag
