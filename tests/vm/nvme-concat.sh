#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 1200
# Linux's NVMe/TCP host and secure channel concatenation: it logs in, and comes back over TLS with
# the key of that login, by itself after outages, too; required and off; memswap. The guest's kernel
# is Debian 13's newest of its backports (concat is in Linux since 6.15); nvme-cli 2.13 and tlshd
# 1.0.0 are Debian 13's, unpacked beside the machine's. SHA-384, which GnuTLS there has not, is in
# tests/hostile/nvme_concat.py. One boot; see _nvme-concat.sh.
. "$(dirname "$0")/../lib.sh"
kernel=linux-image-amd64/trixie-backports
{ "$TOP/tests/vm/kernel" --package $kernel && userland=$("$TOP/tests/vm/userland" trixie nvme-cli ktls-utils); } \
	>"$T/kernel" 2>&1 || {
	diag <"$T/kernel"
	plan_skip "Debian's backports kernel can't be fetched here"
}
plan 45

PATH=$userland:$PATH "$TOP/tests/vm/guest-run" --kernel $kernel --mem 768M --timeout 900 --strict-dmesg -- \
	bash "$TOP/tests/vm/_nvme-concat.sh" >"$T/out" 2>"$T/err"
status=$?
grep -E '^(ok|not ok|#)' "$T/out"
tap_count=$(grep -cE '^(ok|not ok) ' "$T/out")
tap_failed=$(grep -c '^not ok ' "$T/out")
equal "the guest's kernel had nothing to complain about" $status 0 || tail -n 80 "$T/err" | diag
